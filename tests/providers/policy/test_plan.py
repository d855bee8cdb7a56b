"""Plans and health, from policy and route states alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CONTEXT_FULL, CallError, ErrorKind, GatewayError
from providers.domain.types import AttemptRecord, Method
from providers.policy import health, retries
from providers.policy import plan as planning
from providers.policy.breaker import BreakerState, Domain, DomainState, State
from providers.policy.plan import Policy
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 1, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PROVEN = BreakerState(proven=True)
DIRECT = RouteState(route_id=1, method=Method.DIRECT, breaker=PROVEN)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, breaker=PROVEN)
COOLING = BreakerState(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.NETWORK,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
    proven=True,
)
DISABLED = replace(COOLING, retry_at=None, last_kind=ErrorKind.AUTH)
DUE = replace(COOLING, retry_at=NOW - timedelta(seconds=1))


def methods(policy: Policy, *routes: RouteState) -> list[str]:
    plan = planning.plan(policy, routes, NOW, DAY)
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
    direct = replace(DIRECT, breaker=COOLING, last_outcome_at=NOW - timedelta(seconds=40))
    plan = planning.plan(Policy(), (direct, GATEWAY), NOW, DAY)
    assert [step.route.route_id for step in plan.routes] == [2]
    assert plan.routes[0].reason == (
        "gateway: direct failed 5 times, last network error 40 s ago;"
        " direct is tried again at 12:01:30"
    )
    assert plan.preferred == Method.DIRECT


def test_a_due_route_is_tried_as_a_trial() -> None:
    """It keeps its place: a failure falls back unseen."""
    plan = planning.plan(Policy(), (replace(DIRECT, breaker=DUE), GATEWAY), NOW, DAY)
    assert [(step.route.route_id, step.trial) for step in plan.routes] == [(1, True), (2, False)]


def test_when_all_rest_the_one_due_soonest_is_the_last_resort() -> None:
    """The pool is never empty by breakers alone; the others get the time to come back."""
    later = replace(GATEWAY, breaker=replace(COOLING, retry_at=NOW + timedelta(minutes=5)))
    plan = planning.plan(Policy(), (later, replace(DIRECT, breaker=COOLING)), NOW, DAY)
    assert plan.routes == ()
    assert plan.last_resort is not None
    assert plan.last_resort.route.route_id == 1
    assert "every route is in a cooldown" in plan.last_resort.reason
    assert plan.refusal is not None
    assert (plan.refusal.kind, plan.refusal.retry_after) == (ErrorKind.OVERLOADED, 30)


def test_what_passes_beside_a_trial_is_none_itself() -> None:
    """And the others come back in a moment: the lease is for processes that die, and far longer
    than a trial."""
    lease = NOW + timedelta(seconds=70)
    trial = replace(DIRECT, breaker=replace(COOLING, state=State.HALF_OPEN, retry_at=lease))
    alone = planning.plan(Policy(fallback_enabled=False), (trial, GATEWAY), NOW, DAY)
    assert alone.last_resort is not None
    assert not alone.last_resort.trial
    assert alone.refusal is not None
    assert alone.refusal.retry_after == 1
    both = planning.plan(Policy(), (trial, replace(GATEWAY, breaker=COOLING)), NOW, DAY)
    assert both.last_resort is not None
    assert (both.last_resort.route.method, both.last_resort.trial) == (Method.GATEWAY, True)
    over = replace(trial, breaker=replace(trial.breaker, retry_at=NOW))
    assert planning.plan(Policy(), (over,), NOW, DAY).routes[0].trial


def test_a_dead_key_is_no_last_resort() -> None:
    """Waiting does not help; the error says what would."""
    routes = (replace(DIRECT, breaker=DISABLED), replace(GATEWAY, breaker=COOLING))
    plan = planning.plan(Policy(), routes, NOW, DAY)
    assert plan.last_resort is not None
    assert plan.last_resort.route.method == Method.GATEWAY
    dead = planning.plan(Policy(fallback_enabled=False), routes, NOW, DAY)
    assert dead.last_resort is None
    assert dead.refusal is not None
    assert dead.refusal.kind == ErrorKind.AUTH


def test_fallbacks_come_last() -> None:
    """Another gateway after both of the provider's own routes, then another provider."""
    is_fallback = replace(GATEWAY, route_id=3, endpoint="http://b", is_fallback=True)
    other = planning.FallbackProvider(
        name="Other", policy=Policy(), routes=(replace(DIRECT, route_id=4, provider_id=2),)
    )
    policy = Policy(routing_method="gateway")
    plan = planning.plan(policy, (DIRECT, GATEWAY, is_fallback), NOW, DAY, (other,))
    assert [step.route.route_id for step in plan.routes] == [2, 1, 3, 4]
    assert plan.routes[-1].reason == "Other answers as the fallback"


def test_another_provider_helps_where_no_other_route_to_the_same_one_would() -> None:
    """Its key, its balance and its limits are its own; a bad request is bad everywhere."""
    other = replace(DIRECT, route_id=4, provider_id=2)
    for kind in (ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.OVERLOADED, ErrorKind.RATE_LIMIT):
        assert helps(error(kind), DIRECT, other, place=1)
    assert not helps(error(ErrorKind.REQUEST), DIRECT, other, place=1)


MEMBERS = {
    "the same account": replace(DIRECT, key="k"),
    "another provider with the same key": replace(DIRECT, route_id=4, provider_id=2, key="k"),
    "another account": replace(DIRECT, route_id=5, provider_id=3, key="other"),
}


@pytest.mark.parametrize(
    ("kind", "per_model", "helping"),
    [
        (ErrorKind.NETWORK, False, [False, True, True]),
        (ErrorKind.GATEWAY, False, [False, True, True]),
        (ErrorKind.TIMEOUT, False, [True, True, True]),
        (ErrorKind.PROVIDER, False, [True, True, True]),
        (ErrorKind.OVERLOADED, False, [True, True, True]),
        (ErrorKind.PERMISSION, False, [True, True, True]),
        (ErrorKind.RATE_LIMIT, False, [False, False, True]),
        (ErrorKind.RATE_LIMIT, True, [True, True, True]),
        (ErrorKind.QUOTA, False, [False, False, True]),
        (ErrorKind.AUTH, False, [False, False, True]),
        (ErrorKind.UNREADABLE, False, [False, False, True]),
        (ErrorKind.REQUEST, False, [False, False, False]),
        (ErrorKind.STOPPED, False, [False, False, False]),
    ],
)
def test_which_member_of_a_virtual_model_may_help(
    kind: ErrorKind, per_model: bool, helping: list[bool]
) -> None:
    """Another account helps with what belongs to the key; another model with what is the model's;
    and no model with the route that both go over."""
    failed = MEMBERS["the same account"]
    problem = CallError(kind, "x", per_model=per_model)
    found = [helps(problem, failed, each, place=1, windows=(9, 9)) for each in MEMBERS.values()]
    assert dict(zip(MEMBERS, found, strict=True)) == dict(zip(MEMBERS, helping, strict=True))


@pytest.mark.parametrize(
    ("code", "windows", "expected"),
    [
        (CONTEXT_FULL, (8, 16), True),
        (CONTEXT_FULL, (16, 16), False),
        (CONTEXT_FULL, (16, 8), False),
        (CONTEXT_FULL, (8, None), False),  # only where it is known to be larger
        (CONTEXT_FULL, (None, 8), True),
        (CONTEXT_FULL, None, False),
        ("model_not_found", (8, 8), True),
        ("model_not_found", None, False),
        ("content_filter", (8, 16), False),
    ],
)
def test_a_refused_request_goes_on_only_to_a_model_that_can_take_it(
    code: str, windows: tuple[int | None, ...] | None, expected: bool
) -> None:
    """A larger context, or a model that exists; without a virtual model never."""
    other = MEMBERS["another account"]
    problem = error(ErrorKind.REQUEST, code)
    assert helps(problem, DIRECT, other, place=1, windows=windows) is expected


def test_a_learned_route_says_why_it_is_not_the_preferred_one() -> None:
    """What the preferred one failed by, and when."""
    learned = replace(GATEWAY, learned_at=NOW - timedelta(minutes=2))
    closed = replace(DIRECT.breaker, last_kind=ErrorKind.TIMEOUT)
    failed = replace(DIRECT, breaker=closed, last_outcome_at=NOW - timedelta(minutes=3))
    reason = planning.plan(Policy(), (failed, learned), NOW, DAY).routes[0].reason
    assert reason.endswith("when several checks succeed after a time-out 3 min ago")
    alone = planning.plan(Policy(), (learned,), NOW, DAY).routes[0].reason
    assert alone == "gateway: worked 2 min ago"


def test_a_learned_route_comes_first_for_a_day() -> None:
    """And is still no first choice: the answer says so."""
    learned = replace(GATEWAY, learned_at=NOW - timedelta(minutes=2))
    plan = planning.plan(Policy(), (DIRECT, learned), NOW, DAY)
    assert plan.routes[0].reason == (
        "gateway: worked 2 min ago; direct is preferred, and used again when several checks succeed"
    )
    assert plan.preferred == Method.DIRECT
    stale = replace(GATEWAY, learned_at=NOW - timedelta(hours=25))
    assert methods(Policy(), DIRECT, stale) == ["direct", "gateway"]


def helps(
    problem: CallError,
    failed: RouteState,
    other: RouteState,
    place: int = 0,
    windows: tuple[int | None, ...] | None = None,
) -> bool:
    """Whether a route of the candidate at this place is tried after the first one's failure."""
    first = planning.PlannedRoute(route=failed, reason="x")
    second = planning.PlannedRoute(route=other, reason="x", place=place)
    return planning.may_help(problem, first, second, windows)


def error(kind: ErrorKind, code: str = "", sent: bool = True) -> CallError:
    return CallError(kind, "x", code=code, sent=sent)


OWN_KEY = replace(GATEWAY, key="another")


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
        (ErrorKind.PERMISSION, False, True),
        (ErrorKind.UNREADABLE, False, True),
        (ErrorKind.REQUEST, False, False),
    ],
)
def test_another_route_is_tried_only_where_it_can_help(
    kind: ErrorKind, same_key: bool, own_key: bool
) -> None:
    """The table of design: another route to the same account does not lift the account's limits."""
    assert helps(error(kind), DIRECT, GATEWAY) is same_key
    assert helps(error(kind), DIRECT, OWN_KEY) is own_key


def test_a_failed_gateway_leaves_direct() -> None:
    """The gateway's own failure says nothing about the provider."""
    assert helps(GatewayError("down"), GATEWAY, DIRECT)


def test_only_what_was_not_sent_is_repeated() -> None:
    """And not what will be so an instant later."""
    assert retries.repeats_first(error(ErrorKind.NETWORK, "reset", sent=False))
    assert not retries.repeats_first(error(ErrorKind.NETWORK, "reset", sent=True))
    assert not retries.repeats_first(error(ErrorKind.NETWORK, "connect_refused", sent=False))
    assert not retries.repeats_first(error(ErrorKind.TIMEOUT, sent=False))


@pytest.mark.parametrize(
    ("kind", "code", "retry_after", "wait"),
    [
        (ErrorKind.PROVIDER, "", None, 0.0),
        (ErrorKind.PROVIDER, "html", None, None),
        (ErrorKind.OVERLOADED, "", None, 0.0),
        (ErrorKind.OVERLOADED, "", 2.0, 2.0),
        (ErrorKind.OVERLOADED, "", 60.0, None),
        (ErrorKind.RATE_LIMIT, "", None, None),
        (ErrorKind.RATE_LIMIT, "", 1.0, None),
        (ErrorKind.RATE_LIMIT, "", 30.0, None),
        (ErrorKind.TIMEOUT, "", None, None),
        (ErrorKind.QUOTA, "", 1.0, None),
        (ErrorKind.AUTH, "", None, None),
        (ErrorKind.REQUEST, "", None, None),
    ],
)
def test_the_same_route_again_only_where_the_table_says_so(
    kind: ErrorKind, code: str, retry_after: float | None, wait: float | None
) -> None:
    """Once, after what the upstream asked for, if that is short."""
    failed = CallError(kind, "x", code=code, retry_after=retry_after)
    assert retries.repeat_after(failed) == wait


def test_the_most_useful_error_is_the_one_somebody_can_mend() -> None:
    """A refused key beats a network error."""
    errors = [error(ErrorKind.NETWORK), error(ErrorKind.AUTH), GatewayError("down")]
    assert planning.most_useful(errors).kind == ErrorKind.AUTH


def test_a_fallback_says_what_happened_before_it() -> None:
    """By kind and code; a message may repeat a prompt."""
    failed = AttemptRecord(
        route_id=1,
        method=Method.DIRECT,
        endpoint="",
        outcome="network",
        reason="direct: preferred",
        started_at=NOW,
        duration_ms=3,
        error_code="refused",
        error_message="The connection was refused.",
    )
    plan = planning.plan(Policy(), (DIRECT, GATEWAY), NOW, DAY)
    sentence = planning.fallback_reason(plan.routes[1], failed)
    assert sentence == "gateway: direct failed (network error, refused)"


SHAKY = BreakerState(proven=True, failures=1, last_kind=ErrorKind.NETWORK)


@pytest.mark.parametrize(
    ("direct", "gateway", "expected"),
    [
        (BreakerState(), BreakerState(), "unknown"),
        (PROVEN, BreakerState(), "healthy"),
        (PROVEN, COOLING, "healthy"),
        (SHAKY, PROVEN, "degraded"),
        (SHAKY, BreakerState(), "degraded"),
        (COOLING, PROVEN, "degraded"),
        (COOLING, COOLING, "failing"),
        (DISABLED, DISABLED, "failing"),
        (BreakerState(), PROVEN, "degraded"),
    ],
)
def test_health_follows_from_the_routes(
    direct: BreakerState, gateway: BreakerState, expected: str
) -> None:
    """One state; every view reads it."""
    routes = (replace(DIRECT, breaker=direct), replace(GATEWAY, breaker=gateway))
    assert health.health(Policy(), routes, NOW, DAY).word == expected


def test_the_preferred_routes_probe_goes_before_the_learned_one() -> None:
    """So that its return is seen; whoever does not get the probe goes where it was learned."""
    learned = replace(GATEWAY, learned_at=NOW - timedelta(minutes=2))
    due = replace(DIRECT, breaker=DUE)
    plan = planning.plan(Policy(), (due, learned), NOW, DAY)
    assert [(step.route.method, step.trial) for step in plan.routes] == [
        (Method.DIRECT, True),
        (Method.GATEWAY, False),
    ]
    assert plan.routes[0].reason == "direct: half-open probe after a network error"
    assert plan.routes[1].reason.startswith("gateway: worked 2 min ago")


def test_the_probe_of_a_model_goes_before_the_learned_route_too() -> None:
    """Where one model alone timed out, its breaker is the one that a probe must close."""
    model = DomainState(
        domain=Domain(1, "", "m"), breaker=replace(DUE, last_kind=ErrorKind.TIMEOUT)
    )
    due = replace(DIRECT, others=(model,))
    plan = planning.plan(Policy(), (due, replace(GATEWAY, learned_at=NOW)), NOW, DAY)
    assert plan.routes[0].route.method == Method.DIRECT
    assert plan.routes[0].trial
    assert plan.routes[0].reason == "direct: half-open probe after a time-out"


def test_where_nothing_falls_back_no_request_is_risked_for_a_probe() -> None:
    """Checks alone show there that the preferred route is back."""
    learned = replace(GATEWAY, learned_at=NOW)
    policy = Policy(fallback_enabled=False)
    assert methods(policy, replace(DIRECT, breaker=DUE), learned) == ["gateway"]


def test_a_learned_detour_is_degraded() -> None:
    """Answers come, but the route the operator wanted is closed."""
    learned = replace(GATEWAY, learned_at=NOW)
    routes = (replace(DIRECT, breaker=COOLING), learned)
    assert health.health(Policy(), routes, NOW, DAY).word == "degraded"


STATES = st.sampled_from([BreakerState(), PROVEN, SHAKY, COOLING, DISABLED, DUE])
POLICIES = st.builds(
    Policy,
    routing_method=st.sampled_from(["auto", "direct", "gateway"]),
    provider_type=st.sampled_from(["hybrid", "direct-api"]),
    prefer_direct=st.booleans(),
    fallback_enabled=st.booleans(),
)


LEARNED = st.none() | st.just(NOW - timedelta(hours=1)) | st.just(NOW - 2 * DAY)


def _route(pk: int, method: Method, *, is_fallback: bool = False) -> st.SearchStrategy[RouteState]:
    made = RouteState(route_id=pk, method=method, is_fallback=is_fallback)
    return st.builds(
        lambda breaker, learned: replace(made, breaker=breaker, learned_at=learned), STATES, LEARNED
    )


OWN = st.tuples(
    _route(1, Method.DIRECT), _route(2, Method.GATEWAY), _route(3, Method.GATEWAY, is_fallback=True)
)
OTHERS = st.tuples(_route(11, Method.DIRECT), _route(12, Method.GATEWAY))


@given(POLICIES, OWN, st.none() | st.tuples(POLICIES, OTHERS))
def test_a_plan_is_never_empty_and_never_repeats_a_route(
    policy: Policy,
    routes: tuple[RouteState, ...],
    other: tuple[Policy, tuple[RouteState, ...]] | None,
) -> None:
    """Whatever the breakers say, something goes out, with a reason; fallbacks come last."""
    beta = (
        (planning.FallbackProvider(name="Beta", policy=other[0], routes=other[1]),) if other else ()
    )
    plan = planning.plan(policy, routes, NOW, DAY, beta)
    steps = plan.routes or ((plan.last_resort,) if plan.last_resort else ())
    ids = [step.route.route_id for step in steps]
    allowed = planning.in_order(policy, routes, NOW, DAY)
    dead = [r.breaker.retry_at is None and r.breaker.state == State.OPEN for r in allowed]
    assert ids or all(dead)
    assert len(ids) == len(set(ids))
    assert all(step.reason for step in steps)
    assert ids == sorted(ids, key=lambda pk: pk > 10)


@pytest.mark.parametrize(
    ("route", "timeless"),
    [
        (DIRECT, True),
        (replace(DIRECT, learned_at=NOW), False),
        (replace(DIRECT, breaker=COOLING), False),
    ],
)
def test_only_a_plan_without_a_past_may_be_kept(route: RouteState, timeless: bool) -> None:
    """A rest ends and what was learned grows old: such plans are made again."""
    assert planning.is_timeless([GATEWAY, route]) is timeless
