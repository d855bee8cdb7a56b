"""When a budget renews, and what is left of it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.budgets import MAX_PERIOD_DAYS, Action, KeyBudget, Period, first_day, renewal, spent_in


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "now", "first", "renews"),
    [
        ("day", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        ("day", "2028-02-28T12:00", "2028-02-28", "2028-02-29"),
        ("day", "2026-02-28T12:00", "2026-02-28", "2026-03-01"),
        ("week", "2026-11-30T00:00", "2026-11-30", "2026-12-07"),  # a Monday
        ("week", "2027-01-03T23:59", "2026-12-28", "2027-01-04"),  # a Sunday
        ("month", "2026-12-01T00:00", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29T23:59", "2028-02-01", "2028-03-01"),
        ("month", "2026-01-31T10:00", "2026-01-01", "2026-02-01"),
        ("month", "2026-04-30T10:00", "2026-04-01", "2026-05-01"),
    ],
)
def test_periods_end_with_the_calendar(period: str, now: str, first: str, renews: str) -> None:
    """At midnight UTC, also at the end of a year and in a leap year."""
    assert first_day(Period(period), at(now).date()) == date.fromisoformat(first)
    assert renewal(Period(period), at(now)) == at(renews)


def test_a_moment_of_another_zone_is_of_utcs_day() -> None:
    """Half past midnight in Paris is still the day before."""
    now = datetime.fromisoformat("2027-01-01T00:30+01:00")
    assert renewal(Period.DAY, now) == at("2027-01-01")


@given(st.sampled_from(Period), st.integers(0, 5_000_000_000))
def test_a_period_holds_its_moment_and_ends_where_the_next_begins(
    period: Period, timestamp: int
) -> None:
    """And is never longer than what is loaded of the costs."""
    now = datetime.fromtimestamp(timestamp, UTC)
    first, end = first_day(period, now.date()), renewal(period, now)
    assert first <= now.date() < end.date()
    assert first_day(period, end.date()) == end.date()
    assert end.date() - first <= timedelta(days=MAX_PERIOD_DAYS)
    assert first_day(period, (end - timedelta(seconds=1)).date()) == first


@given(
    st.sampled_from(Period),
    st.dates(date(2027, 1, 1), date(2030, 12, 31)),
    st.dictionaries(st.integers(0, 62), st.decimals(0, 100, places=4)),
)
def test_only_this_periods_costs_count(
    period: Period, today: date, ages: dict[int, Decimal]
) -> None:
    """By the day of each."""
    costs = {today - timedelta(days=age): cost for age, cost in ages.items()}
    now = datetime.combine(today, datetime.min.time(), UTC)
    first = first_day(period, today)
    same = [cost for day, cost in costs.items() if first_day(period, day) == first]
    assert spent_in(period, costs, now) == sum(same)


@pytest.mark.parametrize(
    ("action", "spent", "left", "is_spent", "refuses"),
    [
        (Action.REFUSE, "0", "2", False, False),
        (Action.REFUSE, "1.99", "0.01", False, False),
        (Action.REFUSE, "2", "0", True, True),
        (Action.REFUSE, "5", "0", True, True),
        (Action.WARN, "5", "0", True, False),
    ],
)
def test_a_spent_budget_refuses_unless_it_only_warns(
    action: Action, spent: str, left: str, is_spent: bool, refuses: bool
) -> None:
    """From its last cent on; nothing is left, not less."""
    budget = KeyBudget(limit=Decimal(2), period=Period.DAY, action=action)
    now = at("2026-12-01T10:00")
    half = {now.date(): Decimal(spent) / 2}
    state = budget.state(now, half, half)
    assert (state.left, state.is_spent, state.refuses) == (Decimal(left), is_spent, refuses)
