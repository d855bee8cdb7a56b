"""Which breaker a result belongs to: one model, one key, the whole route, or nobody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import MODERATED, ErrorKind
from providers.domain.tuning import RULES
from providers.domain.types import Method
from providers.policy import domains
from providers.policy.breaker import BreakerState, Domain, DomainState, Scope, State, Weight
from providers.policy.domains import Domains
from providers.policy.route_state import Outcome, RouteState

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
KEY = "k1"
DIRECT = RouteState(route_id=1, method=Method.DIRECT, key=KEY, breaker=BreakerState(proven=True))
GATEWAY = replace(DIRECT, route_id=2, method=Method.GATEWAY)
OWN_KINDS = [kind for kind in ErrorKind if kind != ErrorKind.STOPPED]


class World:
    """Two routes with one key, and what results have made of them."""

    def __init__(self) -> None:
        self.routes = {1: DIRECT, 2: GATEWAY}
        self.known = Domains()
        self.now = NOW

    def result(
        self,
        model: str,
        kind: ErrorKind | None = None,
        route_id: int = 1,
        retry_after: float | None = None,
        **hints: object,
    ) -> None:
        """One call over a route, and its end a moment later."""
        self.end(self.begin(model, route_id), kind, retry_after, **hints)

    def begin(self, model: str, route_id: int = 1) -> Outcome:
        route = self.known.attach_breakers(self.routes[route_id], model)
        if not route.is_closed:
            route = domains.claim_probe(route, self.now)
            self.routes[route_id] = replace(route, others=())
            for each in route.others:
                self.known.put(each)
        return Outcome(
            route_id=route_id,
            epoch=route.breaker.epoch,
            at=self.now,
            model_id=model,
            key=KEY,
            epochs=route.epochs,
        )

    def end(
        self,
        call: Outcome,
        kind: ErrorKind | None,
        retry_after: float | None = None,
        **hints: object,
    ) -> None:
        self.now += timedelta(milliseconds=10)
        scope = domains.scope_of(kind, **hints) if kind else Scope.ROUTE  # type: ignore[arg-type]
        seen = replace(call, at=self.now, kind=kind, scope=scope, retry_after=retry_after)
        moved = domains.apply_outcome(self.routes[call.route_id], self.known, seen)
        self.routes[call.route_id] = moved.route
        for each in moved.others:
            self.known.put(each)

    def state(self, route_id: int = 1) -> State:
        return self.routes[route_id].breaker.state

    def serves(self, model: str, route_id: int = 1) -> bool:
        return self.known.attach_breakers(self.routes[route_id], model).admits(self.now)


def test_every_kind_of_error_has_a_scope() -> None:
    """A kind that is added without a decision must not slip through."""
    assert set(domains.SCOPES) == set(ErrorKind)


@pytest.mark.parametrize(
    ("kind", "code", "status", "scope"),
    [
        (ErrorKind.NETWORK, "reset", None, Scope.ROUTE),
        (ErrorKind.NETWORK, "tls_certificate", None, Scope.ROUTE),
        (ErrorKind.GATEWAY, "", 502, Scope.ROUTE),
        (ErrorKind.GATEWAY, "model_not_found", 404, Scope.MODEL),
        (ErrorKind.TIMEOUT, "connect_timeout", None, Scope.ROUTE),
        (ErrorKind.TIMEOUT, "first_token_timeout", None, Scope.MODEL),
        (ErrorKind.PROVIDER, "", 500, Scope.MODEL),
        (ErrorKind.PROVIDER, "truncated", None, Scope.MODEL),
        (ErrorKind.OVERLOADED, "", 503, Scope.MODEL),
        (ErrorKind.REQUEST, "", 404, Scope.MODEL),
        (ErrorKind.REQUEST, "1211", 400, Scope.MODEL),
        (ErrorKind.REQUEST, "", 400, Scope.NOTHING),
        (ErrorKind.RATE_LIMIT, "", 429, Scope.KEY),
        (ErrorKind.QUOTA, "insufficient_quota", 429, Scope.KEY),
        (ErrorKind.AUTH, "", 401, Scope.MODEL),
        (ErrorKind.PERMISSION, "", 403, Scope.MODEL),
        (ErrorKind.PERMISSION, MODERATED, 403, Scope.NOTHING),
        (ErrorKind.STOPPED, "", None, Scope.NOTHING),
    ],
)
def test_a_failure_belongs_where_its_cause_lies(
    kind: ErrorKind, code: str, status: int | None, scope: Scope
) -> None:
    """By kind first, then by code and status; never by words."""
    assert domains.scope_of(kind, code, status) == scope


def test_a_list_of_models_knows_no_model() -> None:
    """What it shows belongs to the route, and a refusal to the key."""
    assert domains.scope_of(ErrorKind.PROVIDER, chat=False) == Scope.ROUTE
    assert domains.scope_of(ErrorKind.AUTH, chat=False) == Scope.KEY
    assert domains.scope_of(ErrorKind.PERMISSION, chat=False) == Scope.KEY
    assert domains.scope_of(ErrorKind.REQUEST, status=404, chat=False) == Scope.NOTHING


def test_a_limit_is_the_models_where_the_vendor_limits_models() -> None:
    """Otherwise it is the key's."""
    limited = ErrorKind.RATE_LIMIT
    assert domains.scope_of(limited, per_model=True) == Scope.KEY_AND_MODEL
    assert domains.scope_of(limited, per_model=True, chat=False) == Scope.KEY


def test_one_bad_model_stays_alone() -> None:
    """In turn with a good one, which is served every time."""
    world = World()
    served = 0
    for _ in range(12):
        if world.serves("bad"):
            world.result("bad", ErrorKind.PROVIDER)
        served += world.serves("good")
        world.result("good")
    assert served == 12
    assert world.state() == State.CLOSED
    assert not world.serves("bad")
    assert world.serves("bad", route_id=2)


def test_two_models_that_fail_together_open_the_route() -> None:
    """As soon as one model would have opened its own breaker: a third one is not called."""
    world = World()
    for model in ("m1", "m2", "m1", "m2"):
        world.result(model, ErrorKind.PROVIDER)
    assert world.state() == State.CLOSED
    world.result("m1", ErrorKind.PROVIDER)
    assert world.state() == State.OPEN
    assert not world.serves("m3")
    assert world.serves("m3", route_id=2)


def test_a_success_between_shows_that_the_route_works() -> None:
    """Two of three models fail, and the third answers: each of the two has its own breaker."""
    world = World()
    for _ in range(8):
        for model in ("m1", "m2"):
            if world.serves(model):
                world.result(model, ErrorKind.PROVIDER)
        world.result("m3")
    assert world.state() == State.CLOSED
    assert (world.serves("m1"), world.serves("m2"), world.serves("m3")) == (False, False, True)


def test_one_failure_of_a_second_model_does_not_open_the_route() -> None:
    """One model alone counts for no more than half of what opens a route."""
    world = World()
    for _ in range(5):
        world.result("m1", ErrorKind.PROVIDER)
    world.result("m2", ErrorKind.PROVIDER)
    assert world.state() == State.CLOSED
    world.result("m2", ErrorKind.PROVIDER)
    assert world.state() == State.OPEN


def test_failures_of_another_hour_are_not_together() -> None:
    """Only what failed within the window shows that the models share a cause."""
    world = World()
    for _ in range(5):
        world.result("m1", ErrorKind.PROVIDER)
    world.now += timedelta(seconds=RULES.window + 1)
    for _ in range(4):
        world.result("m2", ErrorKind.PROVIDER)
    assert world.state() == State.CLOSED


def test_a_limit_holds_on_every_route_of_the_key() -> None:
    """Whichever method carried it; its time is never cut short."""
    world = World()
    world.result("m1", ErrorKind.RATE_LIMIT, retry_after=20)
    for route_id in (1, 2):
        route = world.known.attach_breakers(world.routes[route_id], "m2")
        assert not route.admits(world.now)
        assert not domains.may_claim(route, world.now, early=True)
    world.now += timedelta(seconds=20)
    assert world.serves("m1", route_id=2)


def test_a_limit_of_one_model_leaves_the_others_alone() -> None:
    """Where the vendor says so."""
    world = World()
    world.result("m1", ErrorKind.RATE_LIMIT, retry_after=20, per_model=True)
    assert not world.serves("m1", route_id=2)
    assert world.serves("m2")


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.PERMISSION])
def test_a_refused_chat_is_no_refused_key(kind: ErrorKind) -> None:
    """Other models go on; repeated, it is that model's."""
    world = World()
    world.result("forbidden", kind)
    world.result("forbidden", kind)
    assert world.serves("forbidden")
    for _ in range(3):
        world.result("forbidden", kind)
    assert not world.serves("forbidden")
    assert world.serves("good")
    assert world.serves("good", route_id=2)
    assert world.state() == State.CLOSED


def test_a_key_refused_for_two_models_is_disabled_until_it_is_edited() -> None:
    """With no success between: on every route that carries it."""
    world = World()
    world.result("m1", ErrorKind.AUTH)
    world.result("m2", ErrorKind.AUTH)
    route = world.known.attach_breakers(world.routes[2], "m3")
    assert not route.admits(world.now + timedelta(days=365))


def test_a_key_that_works_for_one_model_is_not_disabled_by_two_others() -> None:
    """A success between shows that the key is good."""
    world = World()
    world.result("m1", ErrorKind.AUTH)
    world.result("good")
    world.result("m2", ErrorKind.AUTH)
    assert world.serves("good")


def test_two_forbidden_models_are_not_the_key() -> None:
    """A 403 says that the key is known."""
    world = World()
    for model in ("m1", "m2") * 3:
        world.result(model, ErrorKind.PERMISSION)
    assert world.serves("good")


def test_a_late_success_does_not_close_a_model_and_a_late_failure_does_not_open_it_again() -> None:
    """They began in an epoch that is over."""
    world = World()
    early = [world.begin("m1") for _ in range(2)]
    for _ in range(5):
        world.result("m1", ErrorKind.PROVIDER)
    world.end(early[0], None)
    assert not world.serves("m1")
    world.now += timedelta(minutes=1)
    for _ in range(2):
        world.result("m1")
    assert world.serves("m1")
    for _ in range(5):
        world.end(early[1], ErrorKind.PROVIDER)
    assert world.serves("m1")


def test_the_half_open_probe_of_a_route_is_free_for_another_model_where_a_bad_one_had_it() -> None:
    """A model that is known to fail says nothing new about its route."""
    world = World()
    for _ in range(5):
        world.result("bad", ErrorKind.PROVIDER)
    route = world.routes[1]
    opened = replace(
        route.breaker, state=State.OPEN, opened_at=NOW, retry_at=NOW, last_kind=ErrorKind.NETWORK
    )
    world.routes[1] = replace(route, breaker=opened)
    world.now += timedelta(minutes=1)
    world.result("bad", ErrorKind.PROVIDER)
    assert world.serves("good")
    assert not world.serves("bad")
    for _ in range(2):
        world.result("good")
    assert world.state() == State.CLOSED


def test_a_good_test_closes_the_key_and_the_model() -> None:
    """As an edit does."""
    world = World()
    world.result("m1", ErrorKind.AUTH)
    world.result("m2", ErrorKind.AUTH)
    call = replace(world.begin("m1"), resets=True)
    world.end(call, None)
    assert world.serves("m1")
    assert world.serves("m2")


def test_a_list_of_models_does_not_end_a_limit() -> None:
    """It shows that the key is known, not that it may chat again."""
    limited = DomainState(
        domain=Domain(0, KEY, ""),
        breaker=BreakerState(state=State.HALF_OPEN, retry_at=NOW, last_kind=ErrorKind.RATE_LIMIT),
    )
    world = World()
    world.known.put(limited)
    world.end(replace(world.begin(""), model_id=""), None)
    assert world.known.get(limited.domain).breaker.state != State.CLOSED  # type: ignore[union-attr]


# Properties

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2", "m3", "m4"]),
        st.sampled_from([None, *OWN_KINDS]),
        st.sampled_from([1, 2]),
        st.sampled_from([None, 1.0, 20.0]),
        st.floats(min_value=0, max_value=40),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_failure_moves_no_domain_that_it_does_not_belong_to(
    steps: list[tuple[str, ErrorKind | None, int, float | None, float]],
) -> None:
    """Other models, other routes and other keys are as they were; but for what fails together."""
    world = World()
    for model, kind, route_id, retry_after, pause in steps:
        world.now += timedelta(seconds=pause)
        before = {state.domain: state for state in world.known}
        routes = dict(world.routes)
        world.result(model, kind, route_id, retry_after)
        after = {state.domain: state for state in world.known}
        own = set(domains.domains_of(route_id, KEY, model))
        changed = {d for d in after if before.get(d) != after[d]}
        assert changed <= own
        other = 3 - route_id
        assert world.routes[other] == routes[other]


@given(STEPS)
def test_only_what_has_failed_has_a_state(
    steps: list[tuple[str, ErrorKind | None, int, float | None, float]],
) -> None:
    """Thousands of models that work take no memory and no rows."""
    world = World()
    failed = set()
    for model, kind, route_id, retry_after, pause in steps:
        world.now += timedelta(seconds=pause)
        world.result(model, kind, route_id, retry_after)
        if kind:
            failed |= set(domains.domains_of(route_id, KEY, model))
    assert {state.domain for state in world.known} <= failed


@given(st.sampled_from(OWN_KINDS), st.lists(st.sampled_from(["m1"]), min_size=1, max_size=40))
def test_one_model_alone_never_closes_the_others_out_by_its_own_failures(
    kind: ErrorKind, calls: list[str]
) -> None:
    """Whatever it answers, as often as it likes."""
    world = World()
    for model in calls:
        world.result(model, kind)
    if domains.scope_of(kind) in (Scope.MODEL, Scope.NOTHING):
        assert world.serves("m2")


@given(st.sampled_from(OWN_KINDS), st.sampled_from(list(Scope)))
def test_a_model_counts_its_refusals(kind: ErrorKind, scope: Scope) -> None:
    """Nothing that belongs to a model is without weight there, and no key is lost by a count."""
    weight = domains.weight_of(kind, scope)
    if scope == Scope.MODEL:
        assert weight in (Weight.COUNTS, Weight.HALF)


FAILED = st.sampled_from(
    [
        Domain(route_id, key, model)
        for route_id, key in ((1, ""), (2, ""), (0, KEY), (0, "other"))
        for model in ("", "m1", "m2")
        if model or not route_id
    ]
)


@given(
    st.lists(FAILED),
    st.sets(st.sampled_from([1, 2])),
    st.sets(st.sampled_from([KEY, "other"])),
    st.lists(FAILED),
    st.sampled_from(["", "m1", "m2"]),
)
def test_a_route_carries_exactly_what_failed_of_its_model_and_key(
    failed: list[Domain], routes: set[int], keys: set[str], later: list[Domain], model: str
) -> None:
    """Whatever failed, was forgotten and failed again; the same object where nothing did."""
    known = Domains(DomainState(domain=each) for each in failed)
    known.drop(routes, keys)
    for each in later:
        known.put(DomainState(domain=each))
    expected = [d for d in domains.domains_of(1, KEY, model) if known.get(d)]
    met = known.attach_breakers(DIRECT, model)
    assert [each.domain for each in met.others] == expected
    assert expected or met is DIRECT
