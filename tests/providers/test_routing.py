"""Plans and health, from policy and route states alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import routing
from providers.breaker import Breaker, State
from providers.errors import CallError, ErrorKind, GatewayError
from providers.routing import Policy, RouteState
from providers.types import AttemptRecord, Method

NOW = datetime(2026, 1, 2, 12, 1, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PROVEN = Breaker(proven=True)
DIRECT = RouteState(route_id=1, method=Method.DIRECT, breaker=PROVEN)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, breaker=PROVEN)
RESTING = Breaker(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.NETWORK,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
    proven=True,
)
SET_ASIDE = replace(RESTING, retry_at=None, last_kind=ErrorKind.AUTH)
DUE = replace(RESTING, retry_at=NOW - timedelta(seconds=1))


def methods(policy: Policy, *routes: RouteState) -> list[str]:
    plan = routing.plan(policy, routes, NOW, DAY)
    return [step.route.method.value for step in plan.routes]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), ["direct", "gateway"]),
        (Policy(prefer_direct=False), ["gateway", "direct"]),
        (Policy(fallback_enabled=False), ["direct"]),
        (Policy(routing_method="direct"), ["direct", "gateway"]),
        (Policy(routing_method="gateway"), ["gateway", "direct"]),
        (Policy(routing_method="gateway", fallback_enabled=False), ["gateway"]),
        (Policy(provider_type="gateway-required"), ["gateway"]),
        (Policy(provider_type="legacy", routing_method="gateway"), ["direct"]),
    ],
)
def test_the_policy_orders_the_routes(policy: Policy, expected: list[str]) -> None:
    """Preferred first, the other one behind it where falling back is allowed."""
    assert methods(policy, DIRECT, GATEWAY) == expected


def test_a_resting_route_is_left_out_and_the_reason_says_why() -> None:
    """The sentence names the failures, their age, and when it is tried again."""
    direct = replace(DIRECT, breaker=RESTING, last_outcome_at=NOW - timedelta(seconds=40))
    plan = routing.plan(Policy(), (direct, GATEWAY), NOW, DAY)
    assert [step.route.route_id for step in plan.routes] == [2]
    assert plan.routes[0].reason == (
        "gateway: direct failed 5 times, last network error 40 s ago;"
        " direct is tried again at 12:01:30"
    )
    assert plan.preferred == Method.DIRECT


def test_a_due_route_is_tried_as_a_trial() -> None:
    """It keeps its place: a failure falls back unseen."""
    plan = routing.plan(Policy(), (replace(DIRECT, breaker=DUE), GATEWAY), NOW, DAY)
    assert [(step.route.route_id, step.trial) for step in plan.routes] == [(1, True), (2, False)]


def test_when_all_rest_the_one_due_soonest_still_goes_out() -> None:
    """The pool is never empty by breakers alone."""
    later = replace(GATEWAY, breaker=replace(RESTING, retry_at=NOW + timedelta(minutes=5)))
    plan = routing.plan(Policy(), (later, replace(DIRECT, breaker=RESTING)), NOW, DAY)
    assert [step.route.route_id for step in plan.routes] == [1]
    assert "every route rests" in plan.routes[0].reason


def test_a_route_set_aside_is_the_very_last_resort() -> None:
    """A refused key is not due at any time."""
    routes = (replace(DIRECT, breaker=SET_ASIDE), replace(GATEWAY, breaker=RESTING))
    assert methods(Policy(), *routes) == ["gateway"]


def test_a_learned_route_comes_first_for_a_day() -> None:
    """And is still no first choice: the answer says so."""
    learned = replace(GATEWAY, learned_at=NOW - timedelta(minutes=2))
    plan = routing.plan(Policy(), (DIRECT, learned), NOW, DAY)
    assert plan.routes[0].reason == "gateway: worked 2 min ago"
    assert plan.preferred == Method.DIRECT
    stale = replace(GATEWAY, learned_at=NOW - timedelta(hours=25))
    assert methods(Policy(), DIRECT, stale) == ["direct", "gateway"]


def error(kind: ErrorKind, code: str = "", sent: bool = True) -> CallError:
    return CallError(kind, "x", code=code, sent=sent)


OWN_KEY = replace(GATEWAY, own_key=True)


@pytest.mark.parametrize(
    ("kind", "same_key", "own_key"),
    [
        (ErrorKind.NETWORK, True, True),
        (ErrorKind.TIMEOUT, True, True),
        (ErrorKind.PROVIDER, True, True),
        (ErrorKind.OVERLOADED, False, False),
        (ErrorKind.RATE_LIMIT, False, True),
        (ErrorKind.QUOTA, False, True),
        (ErrorKind.AUTH, False, True),
        (ErrorKind.REQUEST, False, False),
    ],
)
def test_another_route_is_tried_only_where_it_can_help(
    kind: ErrorKind, same_key: bool, own_key: bool
) -> None:
    """The table of design: another road to the same account does not lift the account's limits."""
    assert routing.may_help(error(kind), DIRECT, GATEWAY) is same_key
    assert routing.may_help(error(kind), DIRECT, OWN_KEY) is own_key


def test_a_failed_gateway_leaves_direct() -> None:
    """The gateway's own failure says nothing about the provider."""
    assert routing.may_help(GatewayError("down"), GATEWAY, DIRECT)


def test_only_what_was_not_sent_is_repeated() -> None:
    """And not what will be so an instant later."""
    assert routing.may_repeat(error(ErrorKind.NETWORK, "reset", sent=False))
    assert not routing.may_repeat(error(ErrorKind.NETWORK, "reset", sent=True))
    assert not routing.may_repeat(error(ErrorKind.NETWORK, "connect_refused", sent=False))
    assert not routing.may_repeat(error(ErrorKind.TIMEOUT, sent=False))


def test_the_most_useful_error_is_the_one_somebody_can_mend() -> None:
    """A refused key beats a network error."""
    errors = [error(ErrorKind.NETWORK), error(ErrorKind.AUTH), GatewayError("down")]
    assert routing.most_useful(errors).kind == ErrorKind.AUTH


def test_a_fallback_says_what_happened_before_it() -> None:
    """In the failed attempt's own words."""
    failed = AttemptRecord(
        route_id=1,
        method=Method.DIRECT,
        endpoint="",
        outcome="network",
        reason="direct: preferred",
        started_at=NOW,
        duration_ms=3,
        error_message="The connection was refused.",
    )
    plan = routing.plan(Policy(), (DIRECT, GATEWAY), NOW, DAY)
    sentence = routing.fallback_reason(plan.routes[1], failed)
    assert sentence == "gateway: direct failed (The connection was refused)"


SHAKY = Breaker(proven=True, failures=1, last_kind=ErrorKind.NETWORK)


@pytest.mark.parametrize(
    ("direct", "gateway", "expected"),
    [
        (Breaker(), Breaker(), "unknown"),
        (PROVEN, Breaker(), "healthy"),
        (PROVEN, RESTING, "healthy"),
        (SHAKY, PROVEN, "degraded"),
        (SHAKY, Breaker(), "degraded"),
        (RESTING, PROVEN, "degraded"),
        (RESTING, RESTING, "failing"),
        (SET_ASIDE, SET_ASIDE, "failing"),
        (Breaker(), PROVEN, "degraded"),
    ],
)
def test_health_follows_from_the_routes(direct: Breaker, gateway: Breaker, expected: str) -> None:
    """One state; every view reads it."""
    routes = (replace(DIRECT, breaker=direct), replace(GATEWAY, breaker=gateway))
    assert routing.health_of(Policy(), routes, NOW, DAY) == expected


def test_a_learned_detour_is_degraded() -> None:
    """Answers come, but the road the operator wanted is closed."""
    learned = replace(GATEWAY, learned_at=NOW)
    routes = (replace(DIRECT, breaker=RESTING), learned)
    assert routing.health_of(Policy(), routes, NOW, DAY) == "degraded"


STATES = st.sampled_from([Breaker(), PROVEN, SHAKY, RESTING, SET_ASIDE, DUE])
POLICIES = st.builds(
    Policy,
    routing_method=st.sampled_from(["auto", "direct", "gateway"]),
    provider_type=st.sampled_from(["hybrid", "direct-api"]),
    prefer_direct=st.booleans(),
    fallback_enabled=st.booleans(),
)


@given(POLICIES, STATES, STATES)
def test_a_plan_is_never_empty_and_never_repeats_a_route(
    policy: Policy, direct: Breaker, gateway: Breaker
) -> None:
    """Whatever the breakers say, something goes out, with a reason."""
    routes = (replace(DIRECT, breaker=direct), replace(GATEWAY, breaker=gateway))
    steps = routing.plan(policy, routes, NOW, DAY).routes
    ids = [step.route.route_id for step in steps]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(step.reason for step in steps)
