"""What a request does next, as a table, and what holds over any sequence of results."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES
from providers.domain.types import AttemptRecord, Method
from providers.policy import domains
from providers.policy import plan as planning
from providers.policy.breaker import BreakerState, Domain, DomainState, Scope, State
from providers.policy.domains import Domains
from providers.policy.next_step import GiveUp, Progress, RetryAfter, Step, Try, next_step
from providers.policy.plan import PlannedRoute, Policy
from providers.policy.route_state import Outcome, RouteState

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = "k1"
DIRECT = RouteState(
    route_id=1, method=Method.DIRECT, provider_id=1, key=KEY, breaker=BreakerState(proven=True)
)
GATEWAY = replace(DIRECT, route_id=2, method=Method.GATEWAY)
FALLBACK = replace(DIRECT, route_id=3, provider_id=2, key="k2")
COOLING = BreakerState(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.NETWORK,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
    proven=True,
)
LIMITED = replace(COOLING, last_kind=ErrorKind.RATE_LIMIT, retry_at=NOW + timedelta(seconds=2))
LONG = replace(LIMITED, retry_at=NOW + timedelta(seconds=20))


def planned(route: RouteState) -> PlannedRoute:
    return PlannedRoute(route=route, reason="x", trial=not route.is_closed)


def limited(breaker: BreakerState, route: RouteState = DIRECT) -> RouteState:
    """The route with that breaker on its key."""
    return replace(route, others=(DomainState(domain=Domain(0, KEY, ""), breaker=breaker),))


def attempt(route: RouteState, kind: ErrorKind | None) -> AttemptRecord:
    return AttemptRecord(
        route_id=route.route_id,
        method=route.method,
        endpoint="",
        outcome=kind.value if kind else "ok",
        reason="x",
        started_at=NOW,
        duration_ms=3,
    )


def progress(*routes: RouteState, **fields: object) -> Progress:
    """Of a request that has only just been planned over these routes."""
    policy = Policy()
    plan = planning.plan(policy, routes, NOW, DAY)
    ready = Progress(
        plan=plan,
        policy=policy,
        fresh=DAY,
        routes=routes,
        left=plan.routes,
        retry_budget=5,
        seconds_left=600,
        wait_left=30,
    )
    return replace(ready, **fields)  # type: ignore[arg-type]


def failed(
    error: CallError, *left: RouteState, route: RouteState = DIRECT, **fields: object
) -> Progress:
    """Of a request whose last call, over that route, ended with this error."""
    return progress(
        route,
        **{
            "left": tuple(planned(each) for each in left),
            "attempts": (attempt(route, error.kind),),
            "errors": (error,),
            "failed": planned(route),
            "failed_at": NOW,
        }
        | fields,
    )


RESET = CallError(ErrorKind.NETWORK, "x", code="reset", sent=False)
BROKEN = CallError(ErrorKind.PROVIDER, "x", status=500)
BUSY = CallError(ErrorKind.OVERLOADED, "x", status=503, retry_after=2)
THROTTLED = CallError(ErrorKind.RATE_LIMIT, "x", status=429)
WAIT = CallError(ErrorKind.RATE_LIMIT, "x", status=429, retry_after=2)
REFUSED = CallError(ErrorKind.AUTH, "x", status=401)
WRONG = CallError(ErrorKind.REQUEST, "x", status=400)


def brief(step: Step) -> tuple[object, ...]:
    """A step in few words."""
    if isinstance(step, Try):
        flags = ("early", "is_retry", "is_repeat")
        return ("try", step.route.route.route_id, *(f for f in flags if getattr(step, f)))
    if isinstance(step, RetryAfter):
        return ("wait", round(step.seconds, 3), step.cooldown and step.cooldown.route_id)
    return ("give up", step.error.code or step.error.kind.value)


LEASED = replace(COOLING, state=State.HALF_OPEN, retry_at=NOW + timedelta(seconds=70))
HOUR = timedelta(hours=1)
SHORT = replace(COOLING, retry_at=NOW + timedelta(seconds=3), opened_at=NOW - HOUR)
OLD = replace(COOLING, opened_at=NOW - HOUR)
BUSY_FOR_30 = replace(COOLING, last_kind=ErrorKind.OVERLOADED)


def cooled(breaker: BreakerState = OLD, **fields: object) -> Progress:
    """Of a request whose only route has this breaker, and whose last resort is another's."""
    route = replace(DIRECT, breaker=breaker)
    return progress(route, **{"last_resort_in": 0.7, "unclaimed": {1}} | fields)


COOLED = replace(DIRECT, breaker=COOLING)
THRICE = tuple(attempt(DIRECT, ErrorKind.NETWORK) for _ in range(3))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(progress(DIRECT, GATEWAY), ("try", 1), id="the first planned route"),
        pytest.param(failed(BROKEN, GATEWAY), ("try", 2), id="another route after a 500"),
        pytest.param(failed(REFUSED, GATEWAY, FALLBACK), ("try", 3), id="401: another key"),
        pytest.param(
            failed(WRONG, GATEWAY, FALLBACK), ("give up", "request"), id="a wrong request"
        ),
        pytest.param(failed(RESET, GATEWAY), ("try", 1, "is_retry"), id="not sent: the same route"),
        pytest.param(failed(RESET, GATEWAY, retry_budget=0.9), ("try", 2), id="no retry to spend"),
        pytest.param(
            failed(RESET, GATEWAY, failed_route=COOLED), ("try", 2), id="its breaker opened"
        ),
        pytest.param(failed(RESET, GATEWAY, unclaimed={1}), ("try", 2), id="its probe is taken"),
        pytest.param(failed(BROKEN, jitter=0.3), ("wait", 0.3, None), id="a moment before a retry"),
        pytest.param(
            failed(BROKEN, failed_at=NOW - timedelta(seconds=1)),
            ("try", 1, "is_retry"),
            id="the moment is over",
        ),
        pytest.param(failed(BUSY), ("wait", 2, None), id="an overload that states its wait"),
        pytest.param(failed(BUSY, seconds_left=1.5), ("give up", "overloaded"), id="no time left"),
        pytest.param(
            failed(BROKEN, attempts=THRICE[:2]), ("give up", "provider"), id="retried already"
        ),
        pytest.param(
            failed(BROKEN, GATEWAY, attempts=THRICE), ("give up", "provider"), id="three attempts"
        ),
        pytest.param(
            failed(THROTTLED, attempts=THRICE, repeats=1),
            ("try", 1, "is_repeat"),
            id="repeats after a 429 are no attempts",
        ),
        pytest.param(failed(THROTTLED), ("try", 1, "is_repeat"), id="429: back to the queue"),
        pytest.param(
            failed(THROTTLED, key_pause=math.inf), ("give up", "rate_limit"), id="429: hopeless"
        ),
        pytest.param(failed(THROTTLED, FALLBACK), ("try", 3), id="429: another key first"),
        pytest.param(
            failed(THROTTLED, repeats=RULES.throttles - 1, attempts=THRICE[:1] * RULES.throttles),
            ("give up", "rate_limit"),
            id="429: the last repeat",
        ),
        pytest.param(
            failed(WAIT, routes=(limited(LIMITED),), jitter=0.1), ("wait", 2.1, 1), id="429: a wait"
        ),
        pytest.param(
            failed(WAIT, routes=(limited(LIMITED),), wait_left=1),
            ("give up", "rate_limit"),
            id="429: a wait beyond patience",
        ),
        pytest.param(
            failed(WAIT, DIRECT, failed=None), ("try", 1, "is_repeat"), id="429: the wait is over"
        ),
        pytest.param(progress(COOLED), ("try", 1, "early"), id="the last resort"),
        pytest.param(cooled(OLD, unclaimed=set()), ("try", 1), id="perhaps the rows allow it"),
        pytest.param(cooled(OLD), ("give up", "routes_resting"), id="a long outage"),
        pytest.param(cooled(SHORT), ("wait", 0.25, 1), id="a cooldown that ends within patience"),
        pytest.param(cooled(SHORT, waited=2), ("give up", "routes_resting"), id="not any more"),
        pytest.param(cooled(SHORT, seconds_left=2), ("give up", "routes_resting"), id="no time"),
        pytest.param(cooled(LEASED), ("wait", 0.1, 1), id="a half-open probe is under way"),
        pytest.param(cooled(COOLING), ("wait", 0.25, 1), id="a short outage: the last resort"),
        pytest.param(cooled(COOLING, last_resort_in=0.2), ("wait", 0.2, 1), id="its turn is near"),
        pytest.param(
            cooled(COOLING, waited=3.5), ("give up", "routes_resting"), id="patience is used up"
        ),
        pytest.param(
            cooled(BUSY_FOR_30), ("give up", "routes_resting"), id="an overload that states a wait"
        ),
        pytest.param(
            progress(limited(LIMITED), unclaimed={1}),
            ("wait", 2, 1),
            id="a short limit",
        ),
        pytest.param(
            progress(
                limited(replace(LIMITED, retry_at=NOW + timedelta(seconds=20))), unclaimed={1}
            ),
            ("give up", "routes_resting"),
            id="a long limit",
        ),
        pytest.param(progress(), ("give up", "no_route"), id="no route is allowed"),
    ],
)
def test_the_next_step(given: Progress, expected: tuple[object, ...]) -> None:
    """One row for each rule of the module's table."""
    assert brief(next_step(given, NOW)) == expected


def test_routes_that_cannot_help_are_dropped_for_good() -> None:
    """What failed with one key is not tried again after another one failed."""
    step = next_step(failed(REFUSED, GATEWAY, FALLBACK), NOW)
    assert isinstance(step, Try)
    assert step.left == ()


# Properties


class World:
    """A provider of two routes with one key, a fallback provider, and a request that runs."""

    def __init__(self, errors: list[tuple[int, CallError | None]], policy: Policy) -> None:
        self.script = iter(errors)
        self.policy = policy
        self.now = NOW
        self.routes = {each.route_id: each for each in (DIRECT, GATEWAY, FALLBACK)}
        self.domains = Domains()
        empty = Progress(
            plan=planning.Plan(routes=(), preferred=Method.DIRECT),
            policy=policy,
            fresh=DAY,
            retry_budget=2,
            seconds_left=600,
            wait_left=RULES.queue_patience,
        )
        self.state = self.replanned(empty)
        self.calls: list[Try] = []
        self.waited = 0.0
        self.answered = False

    def route(self, pk: int) -> RouteState:
        return self.domains.attach_breakers(self.routes[pk], "m")

    def replanned(self, state: Progress) -> Progress:
        routes = (self.route(1), self.route(2))
        other = planning.FallbackProvider(name="B", policy=Policy(), routes=(self.route(3),))
        plan = planning.plan(self.policy, routes, self.now, DAY, () if state.attempts else (other,))
        return replace(state, plan=plan, left=plan.routes, routes=routes, failed=None)

    def run(self) -> GiveUp | None:
        while not self.answered:
            step = next_step(self.state, self.now)
            if isinstance(step, GiveUp):
                return step
            if isinstance(step, RetryAfter):
                self.wait(step)
            else:
                self.call(step)
        return None

    def wait(self, step: RetryAfter) -> None:
        assert step.seconds >= 0
        if step.cooldown:
            self.waited += step.seconds
        self.now += timedelta(seconds=step.seconds)
        if step.cooldown:
            self.state = replace(
                self.state,
                waited=self.waited,
                wait_left=max(0.0, RULES.queue_patience - self.waited),
                last_resort_in=max(0.0, self.state.last_resort_in - step.seconds),
                unclaimed=frozenset(),
            )
            self.state = self.replanned(self.state)

    def call(self, step: Try) -> None:
        pk = step.route.route.route_id
        budget = self.state.retry_budget - step.is_retry
        resort = RULES.last_resort_every if step.early else self.state.last_resort_in
        self.state = replace(self.state, left=step.left, retry_budget=budget, last_resort_in=resort)
        assert budget >= 0
        route = self.route(pk)
        if step.route.trial and not domains.may_claim(route, self.now, early=step.early):
            self.state = replace(self.state, unclaimed=self.state.unclaimed | {pk})
            return
        assert step.early or route.admits(self.now)
        self.calls.append(step)
        weight, error = next(self.script, (1, None))
        self.end(step, route, error, weight)

    def end(self, step: Try, route: RouteState, error: CallError | None, weight: int) -> None:
        """The call ends, and so did `weight` others of the same route in the same way."""
        for _ in range(weight):
            scope = domains.scope_of(error.kind) if error else Scope.ROUTE
            seen = Outcome(
                route_id=route.route_id,
                epoch=route.breaker.epoch,
                epochs=route.epochs,
                at=self.now,
                kind=error.kind if error else None,
                retry_after=error.retry_after if error else None,
                scope=scope,
                model_id="m",
                key=route.key,
            )
            moved = domains.apply_outcome(self.routes[route.route_id], self.domains, seen)
            self.routes[route.route_id] = moved.route
            for each in moved.others:
                self.domains.put(each)
        kind = error.kind if error else None
        self.state = replace(
            self.state,
            attempts=(*self.state.attempts, attempt(route, kind)),
            errors=(*self.state.errors, *([error] if error else [])),
            repeats=self.state.repeats + step.is_repeat,
            failed=step.route,
            failed_route=self.route(route.route_id),
            failed_at=self.now,
            routes=(self.route(1), self.route(2)),
            unclaimed=frozenset(),
        )
        self.answered = error is None


ERRORS = st.sampled_from([None, RESET, BROKEN, BUSY, THROTTLED, WAIT, REFUSED, WRONG])
SCRIPTS = st.lists(st.tuples(st.integers(1, 6), ERRORS), max_size=12)
POLICIES = st.builds(
    Policy,
    routing_method=st.sampled_from(["auto", "direct", "gateway"]),
    fallback_enabled=st.booleans(),
)


@given(SCRIPTS, POLICIES)
def test_a_request_ends_within_its_attempts_its_retries_and_its_waits(
    script: list[tuple[int, CallError | None]], policy: Policy
) -> None:
    """Whatever its calls bring: an answer, or the most useful of its errors."""
    world = World(script, policy)
    gave_up = world.run()
    repeats = sum(each.is_repeat for each in world.calls)
    assert len(world.calls) - repeats <= RULES.max_attempts
    assert repeats < RULES.throttles
    assert sum(each.is_retry for each in world.calls) <= 2
    assert world.waited <= RULES.queue_patience
    if gave_up:
        assert gave_up.error in world.state.errors


@given(SCRIPTS, POLICIES)
def test_a_retry_after_is_never_broken(
    script: list[tuple[int, CallError | None]], policy: Policy
) -> None:
    """No call of any route goes out with a key whose stated wait is not over."""
    world = World(script, policy)
    until: dict[str, datetime] = {}
    original = world.call

    def call(step: Try) -> None:
        before = len(world.calls)
        key = step.route.route.key
        original(step)
        if len(world.calls) > before:
            assert until.get(key, world.now) <= world.now
            last = world.state.errors[-1] if world.state.errors and not world.answered else None
            if last and last.kind == ErrorKind.RATE_LIMIT and last.retry_after:
                until[key] = world.now + timedelta(seconds=last.retry_after)

    world.call = call  # type: ignore[method-assign]
    world.run()


@given(
    st.lists(
        st.tuples(st.sampled_from([OLD, SHORT, LEASED, COOLING, BUSY_FOR_30]), st.booleans()),
        min_size=2,
        max_size=2,
    ),
    st.floats(0, 10),
    st.booleans(),
)
def test_a_request_that_finds_no_open_route_waits_no_longer_than_its_patience(
    found: list[tuple[BreakerState, bool]], last_resort_in: float, probe: bool
) -> None:
    """It is the probe, or it gives up; no key in a cooldown is used early."""
    world = World([(1, BROKEN)] * 9, Policy())
    for route, (breaker, on_key) in zip((DIRECT, GATEWAY), found, strict=True):
        own = replace(route, breaker=route.breaker if on_key else breaker)
        world.routes[route.route_id] = own
        if on_key:
            world.domains.put(DomainState(domain=Domain(0, KEY, ""), breaker=breaker))
    world.routes[3] = replace(FALLBACK, breaker=OLD)
    world.state = world.replanned(replace(world.state, last_resort_in=last_resort_in))
    is_key_closed = not any(on_key for _, on_key in found)
    gave_up = world.run()
    assert world.waited <= RULES.cooldown_patience
    assert gave_up
    if not is_key_closed and world.calls:
        key = world.domains.get(Domain(0, KEY, ""))
        assert key
        assert not key.breaker.retry_at or key.breaker.retry_at <= world.now + timedelta(minutes=2)


@given(SCRIPTS, POLICIES)
def test_the_same_request_decides_the_same(
    script: list[tuple[int, CallError | None]], policy: Policy
) -> None:
    """Nothing but its arguments counts, and they are left as they were."""
    world = World(script, policy)
    before = replace(world.state)
    assert next_step(world.state, NOW) == next_step(world.state, NOW)
    assert world.state == before
