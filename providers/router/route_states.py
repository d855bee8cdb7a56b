"""Hold the state of every route in memory, ahead of the rows.

A call must not wait for the database, and the next call must already see what the last one showed.
So a result changes the state here at once, and its row a moment later. The rows also carry the
results of other processes; whenever they are read again, they replace the states here, and the
results that are not written yet are applied on top. Synchronous throughout: no I/O, no locks.
"""

from collections.abc import Iterable
from dataclasses import replace

from providers.domain.errors import ErrorKind
from providers.domain.tuning import Rules
from providers.policy import domains
from providers.policy.breaker import Domain, DomainState, Scope, Weight
from providers.policy.domains import Domains
from providers.policy.route_state import Outcome, RouteState, Windows, is_plain
from providers.router.breaker_rows import RouteChanges
from providers.router.snapshot import RouteSnapshot


class RouteStates:
    """The routes of every provider, and the breakers of the models and keys that have failed."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._states: dict[int, RouteState] = {}
        self._domains = Domains()
        self._route_ids: dict[int, tuple[int, ...]] = {}  # by provider
        self._windows = Windows(rules)

    def has_provider(self, provider_id: int) -> bool:
        return provider_id in self._route_ids

    def routes(self, provider_id: int, model_id: str = "") -> tuple[RouteState, ...]:
        """A provider's routes, each with the breakers of this model and of its key."""
        states = [self.route(pk, model_id) for pk in self._route_ids.get(provider_id, ())]
        return tuple([state for state in states if state])

    def route(self, route_id: int, model_id: str = "") -> RouteState | None:
        """One route, with the breakers of this model and of its key."""
        state = self._states.get(route_id)
        return self._domains.attach_breakers(state, model_id) if state else None

    def apply(self, outcome: Outcome) -> bool:
        """Apply one outcome; return whether it changed a breaker."""
        state = self._states.get(outcome.route_id)
        # A plain success only feeds the averages, which come back with the row. It matters at once
        # only while something has failed: whether the route is to blame depends on it.
        if state is None or (not len(self._domains) and is_plain(state, outcome)):
            return False
        moved = domains.apply_outcome(state, self._domains, outcome, self._rules)
        self._put(moved.route, moved.others)
        return bool(moved.others) or moved.route.breaker != state.breaker

    def take_claim(self, claimed: RouteState) -> None:
        """Take over the half-open breakers of a route whose probe this process has claimed."""
        if current := self._states.get(claimed.route_id):
            self._put(replace(current, breaker=claimed.breaker), claimed.others)

    def _put(self, route: RouteState, others: Iterable[DomainState]) -> None:
        self._states[route.route_id] = route
        for other in others:
            self._domains.put(other)

    def mark_half_failed(self, outcome: Outcome) -> Outcome:
        """The outcome, marked where it is the failure with which half of the calls of the last
        half minute have failed: those of its model, or those of its route."""
        if outcome.kind == ErrorKind.STOPPED or not outcome.judges:
            return outcome
        failed = _counts_as_failure(outcome)
        route = Domain(outcome.route_id, "", "")
        model = Domain(outcome.route_id, "", outcome.model_id)
        half_of_route = self._windows.add(
            route, outcome.at, failed=failed and outcome.scope == Scope.ROUTE
        )
        half_of_model = outcome.model_id and self._windows.add(
            model, outcome.at, failed=failed and outcome.scope == Scope.MODEL
        )
        return replace(outcome, half_failed=True) if half_of_route or half_of_model else outcome

    def load(self, rows: RouteSnapshot, pending: Iterable[Outcome]) -> bool:
        """Replace every state by its row, and apply the pending outcomes on top.

        Return whether one of them changed a breaker.
        """
        self._domains = rows.domains
        self._states = {
            route.route_id: route for routes in rows.routes.values() for route in routes
        }
        self._route_ids = {
            pk: tuple(route.route_id for route in routes) for pk, routes in rows.routes.items()
        }
        return self._apply_all(pending)

    def load_written(self, changes: RouteChanges, pending: Iterable[Outcome]) -> bool:
        """Replace the states that a batch wrote, and apply the pending outcomes of its routes.

        Return whether one of them changed a breaker.
        """
        current = {pk: state for pk in changes.after if (state := self._states.get(pk))}
        self._domains.drop(changes.after, {state.key for state in current.values()})
        for domain in changes.domains:
            self._domains.put(domain)
        for pk, state in current.items():
            self._states[pk] = replace(
                changes.after[pk], is_fallback=state.is_fallback, key=state.key
            )
        return self._apply_all(each for each in pending if each.route_id in changes.after)

    def _apply_all(self, outcomes: Iterable[Outcome]) -> bool:
        changed = [self.apply(outcome) for outcome in outcomes]
        return any(changed)


def _counts_as_failure(outcome: Outcome) -> bool:
    if outcome.kind is None or outcome.kind in domains.ANSWERED:
        return False
    return domains.weight_of(outcome.kind, outcome.scope) in (Weight.COUNTS, Weight.HALF)
