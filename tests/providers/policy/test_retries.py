"""Which cooldown may be waited for: a rate limit's, where nothing else is in the way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.policy import retries
from providers.policy.breaker import BreakerState, Domain, DomainState, State
from providers.policy.retries import PROBE_SECONDS
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
CLOSED = BreakerState(proven=True)
LIMITED = BreakerState(
    state=State.OPEN, last_kind=ErrorKind.RATE_LIMIT, retry_at=NOW + timedelta(seconds=2)
)
PROBED = replace(LIMITED, state=State.HALF_OPEN, retry_at=NOW + timedelta(seconds=70))
DUE = replace(LIMITED, retry_at=NOW - timedelta(seconds=1))
BROKEN = replace(LIMITED, last_kind=ErrorKind.NETWORK)
REFUSED = replace(LIMITED, last_kind=ErrorKind.AUTH, retry_at=None)


def route(own: BreakerState, key: BreakerState | None = None) -> RouteState:
    others = (DomainState(domain=Domain(0, "k", ""), breaker=key),) if key else ()
    return RouteState(route_id=1, method=Method.DIRECT, breaker=own, others=others)


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (route(CLOSED), 0.0),
        (route(CLOSED, LIMITED), 2.0),
        (route(CLOSED, PROBED), PROBE_SECONDS),
        (route(CLOSED, DUE), PROBE_SECONDS),
        (route(LIMITED, replace(LIMITED, retry_at=NOW + timedelta(seconds=5))), 5.0),
        (route(BROKEN), None),
        (route(BROKEN, LIMITED), None),
        (route(CLOSED, REFUSED), None),
    ],
)
def test_the_wait_is_the_longest_rate_limit_of_a_route(
    found: RouteState, seconds: float | None
) -> None:
    """None where an outage or a refused key is in the way: no queue helps there."""
    limited = retries.next_limited([found], NOW)
    assert (limited and limited[1]) == seconds


def test_of_several_routes_the_one_that_is_free_first_counts() -> None:
    """Whatever holds back the others."""
    later = route(replace(LIMITED, retry_at=NOW + timedelta(seconds=9)))
    assert retries.next_limited([route(BROKEN), later, route(LIMITED)], NOW) == (
        route(LIMITED),
        2.0,
    )
    assert retries.next_limited([], NOW) is None
