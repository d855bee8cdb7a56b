"""What the calls of budgeted keys have cost, as the rows show it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from api.budgets import MAX_PERIOD_DAYS, BudgetState
from api.models import ClientKey
from providers.models import KeySpend

type DayCosts = dict[date, Decimal]


def load_costs(key_ids: Iterable[int], now: datetime) -> dict[int, DayCosts]:
    """The stored costs of these keys by day (UTC), as far back as a period can reach."""
    costs: dict[int, DayCosts] = {}
    if ids := list(key_ids):
        since = now.astimezone(UTC).date() - timedelta(days=MAX_PERIOD_DAYS)
        rows = KeySpend.objects.filter(client_key__in=ids, day__gte=since)
        for key_id, day, cost in rows.values_list("client_key", "day", "cost").iterator():
            costs.setdefault(key_id, {})[day] = cost
    return costs


def load_budgets(keys: Iterable[ClientKey], now: datetime) -> dict[int, BudgetState]:
    """The budgets of these keys as the rows show them; keys without one are left out."""
    terms = {key.pk: budget for key in keys if (budget := key.budget_terms)}
    costs = load_costs(terms, now)
    return {pk: budget.state(now, costs.get(pk, {})) for pk, budget in terms.items()}
