"""What the calls of client keys used in one process: tokens for limits, costs for budgets."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date
from decimal import Decimal

from providers.router.results import Entry, Result

type DayCosts = dict[date, Decimal]  # in US dollars, by the day (UTC) when the attempt started


def costs_of(results: Iterable[Entry]) -> dict[int, DayCosts]:
    """What these results cost each client key by day."""
    costs: dict[int, DayCosts] = {}
    for each in results:
        if isinstance(each, Result) and each.client_key and each.attempt.cost:
            day = each.attempt.started_at.astimezone(UTC).date()
            of_key = costs.setdefault(each.client_key, defaultdict(Decimal))
            of_key[day] += each.attempt.cost
    return costs


class KeyUsage:
    """The usage of the calls that ended in one event loop, failed ones included.

    `costs` are only those that the last reading of the rows did not show.
    """

    def __init__(self) -> None:
        self._tokens: Counter[int] = Counter()
        self._costs: dict[int, DayCosts] = {}

    def add(self, entry: Entry) -> None:
        """Count a result of a client key."""
        if not isinstance(entry, Result) or not entry.client_key:
            return
        if usage := entry.attempt.usage:
            self._tokens[entry.client_key] += usage.input_tokens + usage.output_tokens
        for key, costs in costs_of([entry]).items():
            own = self._costs.setdefault(key, defaultdict(Decimal))
            for day, cost in costs.items():
                own[day] += cost

    def tokens(self, client_key: int) -> int:
        """Input and output tokens of all the key's calls so far."""
        return self._tokens[client_key]

    def costs(self, client_key: int) -> Mapping[date, Decimal]:
        """What the key's calls cost beyond the rows, by day."""
        return self._costs.get(client_key, {})

    def restart_costs(self, unwritten: Iterable[Entry]) -> None:
        """The rows were just read: only these results are not among them."""
        self._costs = costs_of(unwritten)
