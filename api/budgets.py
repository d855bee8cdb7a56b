"""The budget of a client key: US dollars a day, week or month, and what happens then. No I/O.

Periods are those of UTC; a week starts on Monday. A cost counts on the day its attempt started.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum

from providers.domain.frozen import frozen

MAX_PERIOD_DAYS = 31


class Period(StrEnum):
    """After which a budget renews."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Action(StrEnum):
    """What happens to requests once the budget is spent."""

    REFUSE = "refuse"
    WARN = "warn"


def first_day(period: Period, day: date) -> date:
    """The first day of the period that this day is in."""
    if period is Period.DAY:
        return day
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1)


def renewal(period: Period, now: datetime) -> datetime:
    """When the period of this moment ends, and the budget renews."""
    first = first_day(period, now.astimezone(UTC).date())
    if period is Period.MONTH:
        following = (first + timedelta(days=MAX_PERIOD_DAYS)).replace(day=1)
    else:
        following = first + timedelta(days=7 if period is Period.WEEK else 1)
    return datetime.combine(following, time(), UTC)


def spent_in(period: Period, costs: Mapping[date, Decimal], now: datetime) -> Decimal:
    """What these costs by day come to in the period of this moment."""
    first = first_day(period, now.astimezone(UTC).date())
    return sum((cost for day, cost in costs.items() if day >= first), Decimal())


@frozen
class BudgetState:
    """A budget at one moment; `renews` is when its period ends."""

    limit: Decimal
    spent: Decimal
    renews: datetime
    action: Action

    @property
    def left(self) -> Decimal:
        return max(Decimal(), self.limit - self.spent)

    @property
    def is_spent(self) -> bool:
        return self.spent >= self.limit

    @property
    def refuses(self) -> bool:
        """Whether requests are refused until the budget renews."""
        return self.is_spent and self.action is Action.REFUSE


@frozen
class KeyBudget:
    """The budget of one key."""

    limit: Decimal
    period: Period
    action: Action

    def state(self, now: datetime, *costs: Mapping[date, Decimal]) -> BudgetState:
        """The budget as it is now, after these costs by day."""
        spent = sum((spent_in(self.period, each, now) for each in costs), Decimal())
        renews = renewal(self.period, now)
        return BudgetState(limit=self.limit, spent=spent, renews=renews, action=self.action)
