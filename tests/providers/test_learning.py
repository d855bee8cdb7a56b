"""Which method is remembered, and when the preferred one comes back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import learning
from providers.breaker import Breaker, State
from providers.errors import CallError, ErrorKind, GatewayError
from providers.learning import Learned
from providers.routes import RouteState
from providers.rules import RULES
from providers.types import Method

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
PROVEN = Breaker(proven=True)
DOWN = Breaker(state=State.OPEN, opened_at=NOW, retry_at=NOW + timedelta(seconds=5))
DIRECT = RouteState(route_id=1, method=Method.DIRECT, breaker=PROVEN, last_success_at=NOW)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, breaker=PROVEN, last_success_at=NOW)
BROKEN = replace(DIRECT, breaker=DOWN)
LEARNED = Learned(method=Method.GATEWAY, at=NOW, switched_at=NOW)


def learn(known: Learned, *states: RouteState, after: float = 0) -> Learned:
    return learning.learn(known, Method.DIRECT, states, NOW + timedelta(seconds=after))


def test_the_other_method_is_remembered_when_the_preferred_one_trips() -> None:
    """And when it was."""
    assert learn(Learned(), BROKEN, GATEWAY) == LEARNED


@pytest.mark.parametrize(
    "gateway",
    [
        replace(GATEWAY, last_success_at=None),
        replace(GATEWAY, last_success_at=NOW - timedelta(minutes=1)),
        replace(GATEWAY, breaker=DOWN),
    ],
    ids=["never answered", "answered before the outage", "is down too"],
)
def test_nothing_is_learned_from_a_method_that_does_not_answer(gateway: RouteState) -> None:
    """It has to have answered since the other one tripped."""
    assert learn(Learned(), BROKEN, gateway) == Learned()


def test_the_preferred_method_returns_after_good_results_and_a_hold_down() -> None:
    """Neither alone is enough."""
    back = replace(DIRECT, good_streak=RULES.good_to_return)
    shy = replace(DIRECT, good_streak=RULES.good_to_return - 1)
    assert learn(LEARNED, shy, GATEWAY, after=700).method == Method.GATEWAY
    assert learn(LEARNED, back, GATEWAY, after=599).method == Method.GATEWAY
    returned = learn(LEARNED, back, GATEWAY, after=600)
    assert returned == Learned(switched_at=NOW + timedelta(seconds=600))


def test_a_return_that_fails_again_doubles_the_hold_down() -> None:
    """Never more than one switch in ten minutes, and fewer the more it flaps."""
    returned = Learned(switched_at=NOW, flaps=1)
    later = replace(GATEWAY, last_success_at=NOW + timedelta(seconds=700))
    assert learn(returned, BROKEN, GATEWAY, after=599) == returned
    flapped = learn(returned, BROKEN, later, after=700)
    assert (flapped.method, flapped.flaps) == (Method.GATEWAY, 2)
    assert learning.hold_down(2) == timedelta(seconds=2400)
    calm = learn(replace(returned, switched_at=NOW - timedelta(hours=2)), BROKEN, GATEWAY)
    assert calm.flaps == 0


def test_a_method_in_use_is_remembered_for_longer() -> None:
    """A day counts from its last use, written down every few minutes at most."""
    used = replace(GATEWAY, last_success_at=NOW + timedelta(minutes=6))
    assert learn(LEARNED, BROKEN, used, after=60) == LEARNED
    assert learn(LEARNED, BROKEN, used, after=400).at == NOW + timedelta(seconds=400)


NO_PAGE = CallError(ErrorKind.PROVIDER, "x", status=200, code="html")
REFUSED = CallError(ErrorKind.NETWORK, "x", code="connect_refused")
UNKNOWN = GatewayError("x", status=404, code="model_not_found")


@pytest.mark.parametrize(
    ("known", "direct", "gateway", "found"),
    [
        ("gateway-required", None, None, "hybrid"),
        ("hybrid", None, UNKNOWN, "direct-api"),
        ("hybrid", NO_PAGE, None, "gateway-required"),
        ("hybrid", REFUSED, None, "hybrid"),
        ("hybrid", None, GatewayError("x", code="connect_refused"), "hybrid"),
        ("direct-api", REFUSED, REFUSED, "direct-api"),
        ("legacy", None, None, "legacy"),
    ],
)
def test_a_test_of_both_roads_shows_what_sort_a_provider_is(
    known: str, direct: CallError | None, gateway: CallError | None, found: str
) -> None:
    """By failures that last, not by those of a bad day."""
    assert learning.provider_type(known, direct, gateway) == found


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 900)), max_size=60))
def test_two_switches_are_never_closer_than_the_hold_down(
    steps: list[tuple[bool, bool, int]],
) -> None:
    """However the roads flap."""
    known, now, switches = Learned(), NOW, []
    for direct_up, gateway_up, seconds in steps:
        now += timedelta(seconds=seconds)
        states = [
            replace(
                route,
                breaker=PROVEN if up else replace(DOWN, opened_at=now),
                last_success_at=now,
                good_streak=9 if up else 0,
            )
            for route, up in ((DIRECT, direct_up), (GATEWAY, gateway_up))
        ]
        new = learning.learn(known, Method.DIRECT, states, now)
        if new.method != known.method:
            switches.append(now)
        known = new
    gaps = [b - a for a, b in pairwise(switches)]
    assert all(gap >= timedelta(seconds=RULES.hold_down) for gap in gaps)
