"""Route states in memory: applied at once, replaced by the rows, with pending outcomes on top."""

from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from providers.domain.errors import ErrorKind
from providers.domain.tuning import RULES
from providers.domain.types import Method
from providers.policy.breaker import BreakerState, Scope, State
from providers.policy.domains import Domains
from providers.policy.route_state import Outcome, RouteState
from providers.router.breaker_rows import RouteChanges
from providers.router.route_states import RouteStates
from providers.router.snapshot import RouteSnapshot

NOW = timezone.now()
ROUTE = RouteState(
    route_id=1, provider_id=7, method=Method.DIRECT, key="k", breaker=BreakerState(proven=True)
)


def loaded(*pending: Outcome) -> RouteStates:
    states = RouteStates(RULES)
    states.load(RouteSnapshot(routes={7: (ROUTE,)}, domains=Domains()), pending)
    return states


def outcome(kind: ErrorKind | None, scope: Scope = Scope.ROUTE) -> Outcome:
    return Outcome(route_id=1, epoch=0, at=NOW, kind=kind, scope=scope, model_id="m", key="k")


def test_a_success_changes_no_breaker() -> None:
    """It feeds the averages, which come back with the row."""
    states = loaded()
    assert not states.apply(outcome(None))
    assert states.route(1) is ROUTE


def test_a_refused_key_opens_at_once() -> None:
    """The next request already sees it, for every model."""
    states = loaded()
    assert states.apply(outcome(ErrorKind.QUOTA, Scope.KEY))
    assert not states.routes(7, "another")[0].is_closed


def test_an_outcome_of_an_unknown_route_is_ignored() -> None:
    """Its provider was deleted meanwhile."""
    assert not loaded().apply(replace(outcome(ErrorKind.NETWORK), route_id=2))


def test_rows_replace_states_and_pending_outcomes_stay_applied() -> None:
    """A reading must not undo what this process has not written yet."""
    states = loaded(outcome(ErrorKind.QUOTA, Scope.KEY))
    assert not states.routes(7)[0].is_closed


def test_written_rows_replace_the_states_of_their_routes_only() -> None:
    """The key and the place among the fallbacks are no columns, so they are kept."""
    states = loaded()
    written = replace(ROUTE, key="", breaker=BreakerState(state=State.OPEN, epoch=1))
    gone = replace(written, route_id=2)
    changes = RouteChanges(
        before={1: ROUTE, 2: gone},
        after={1: written, 2: gone},
        domains=Domains(),
        breakers_changed=True,
    )
    states.load_written(changes, ())
    assert states.route(1) == replace(written, key="k")
    assert states.route(2) is None


def test_marks_the_failure_with_which_half_of_the_calls_have_failed() -> None:
    """Ten calls within half a minute, five of them failures of the route."""
    states = loaded()
    marks = [
        states.mark_half_failed(
            replace(outcome(kind), at=NOW + timedelta(milliseconds=number))
        ).half_failed
        for number, kind in enumerate([ErrorKind.NETWORK, None] * 5 + [ErrorKind.NETWORK])
    ]
    assert marks == [False] * 10 + [True]
