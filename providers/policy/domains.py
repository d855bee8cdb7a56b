"""Which breaker a result belongs to, and what it changes there. No I/O.

A failure counts where its cause lies: on the route, on one model of the route, or on the key. One
model that fails never closes its route to the others; models that fail together do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from providers.domain.errors import MODERATED, NO_SUCH_MODEL, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules
from providers.policy import breaker, route_state
from providers.policy.breaker import BreakerState, Domain, DomainState, Scope, State, Weight
from providers.policy.route_state import Outcome, RouteState

# Where a failure of each kind lies, as far as its kind says.
SCOPES: dict[ErrorKind, Scope] = {
    ErrorKind.NETWORK: Scope.ROUTE,
    ErrorKind.TIMEOUT: Scope.MODEL,
    ErrorKind.PROVIDER: Scope.MODEL,
    ErrorKind.OVERLOADED: Scope.MODEL,
    ErrorKind.RATE_LIMIT: Scope.KEY,
    ErrorKind.QUOTA: Scope.KEY,
    ErrorKind.AUTH: Scope.MODEL,  # the key, once its list of models or a second model is refused
    ErrorKind.PERMISSION: Scope.MODEL,
    ErrorKind.REQUEST: Scope.NOTHING,
    ErrorKind.GATEWAY: Scope.ROUTE,
    ErrorKind.UNREADABLE: Scope.ROUTE,
    ErrorKind.STOPPED: Scope.NOTHING,
}
# Time-outs before the provider had the request.
_NOT_CONNECTED = frozenset({"connect_timeout", "headers_timeout"})
# What an upstream that works may answer for one model or one key.
ANSWERED = frozenset({ErrorKind.AUTH, ErrorKind.PERMISSION, ErrorKind.REQUEST})


def scope_of(
    kind: ErrorKind,
    code: str = "",
    status: int | None = None,
    *,
    chat: bool = True,
    per_model: bool = False,
) -> Scope:
    """Where a failure lies. `chat` is false for a list of models, which is of no model.

    `per_model`: a rate limit is that of one model.
    """
    if code == MODERATED:
        return Scope.NOTHING
    if code in NO_SUCH_MODEL or (kind == ErrorKind.REQUEST and status == 404):
        return Scope.MODEL if chat else Scope.NOTHING
    if code in _NOT_CONNECTED:
        return Scope.ROUTE
    if kind == ErrorKind.RATE_LIMIT and per_model and chat:
        return Scope.KEY_AND_MODEL
    scope = SCOPES[kind]
    if scope == Scope.MODEL and not chat:
        refused = kind in (ErrorKind.AUTH, ErrorKind.PERMISSION)
        return Scope.KEY if refused else Scope.ROUTE
    return scope


def domain_of(scope: Scope, route_id: int, key: str, model_id: str) -> Domain | None:
    """The domain of one call that a scope means; None for the route itself, or for nothing."""
    return {
        Scope.MODEL: Domain(route_id, "", model_id),
        Scope.KEY: Domain(0, key, ""),
        Scope.KEY_AND_MODEL: Domain(0, key, model_id),
    }.get(scope)


def domains_of(route_id: int, key: str, model_id: str) -> tuple[Domain, ...]:
    """Every domain beside the route that a call belongs to."""
    key_domains = (Domain(0, key, ""),)
    if not model_id:
        return key_domains
    return (*key_domains, Domain(0, key, model_id), Domain(route_id, "", model_id))


class Domains:
    """The states of the domains beside the routes. Only what has failed is in it."""

    def __init__(self, states: Iterable[DomainState] = ()) -> None:
        self._states: dict[Domain, DomainState] = {}
        self._of_route: dict[int, set[Domain]] = {}
        self._keys: set[str] = set()  # those that failed, alone or with a model
        for state in states:
            self.put(state)

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[DomainState]:
        return iter(self._states.values())

    def get(self, domain: Domain) -> DomainState | None:
        return self._states.get(domain)

    def put(self, state: DomainState) -> None:
        self._states[state.domain] = state
        if state.domain.route_id:
            self._of_route.setdefault(state.domain.route_id, set()).add(state.domain)
        else:
            self._keys.add(state.domain.key)

    def drop(self, route_ids: Iterable[int], keys: Iterable[str]) -> None:
        """Forget every domain of these routes and keys."""
        ids, names = set(route_ids), set(keys)
        for domain in [d for d in self._states if d.route_id in ids or d.key in names]:
            del self._states[domain]
        for route_id in ids:
            self._of_route.pop(route_id, None)
        self._keys -= names

    def models(self, route_id: int) -> list[DomainState]:
        """The models of a route that have failed."""
        return [self._states[domain] for domain in self._of_route.get(route_id, ())]

    def open_models(self, routes: Iterable[RouteState]) -> list[DomainState]:
        """The models of these routes, and of their keys, whose breaker is open."""
        ids, keys = {route.route_id for route in routes}, {route.key for route in routes}
        return [
            state
            for state in self
            if state.breaker.state != State.CLOSED
            and state.domain.model_id
            and (state.domain.route_id in ids or state.domain.key in keys)
        ]

    def attach_breakers(self, route: RouteState, model_id: str) -> RouteState:
        """The route as a call for this model meets it: with the breakers of its model and key.

        The same object where nothing of the route or its key failed: each request comes by here.
        """
        if route.route_id not in self._of_route and route.key not in self._keys:
            return route
        concerned = domains_of(route.route_id, route.key, model_id)
        others = tuple(s for each in concerned if (s := self._states.get(each)))
        return replace(route, others=others) if others else route


@frozen
class Changes:
    """What a result changed: the route, and the domains beside it that are not as they were."""

    route: RouteState
    others: tuple[DomainState, ...] = ()


def apply_outcome(
    route: RouteState, states: Domains, outcome: Outcome, rules: Rules = RULES
) -> Changes:
    """What a result changes: the route, and the domains beside it."""
    target = domain_of(outcome.scope, outcome.route_id, outcome.key, outcome.model_id)
    before = states.get(target) if target else None
    others = [
        changed
        for state in _affected_states(states, outcome, target)
        if (changed := _apply_to_state(state, outcome, target, rules)) != state
    ]
    moved = route_state.apply_to_route(route, _for_route(route, outcome, before), rules)
    if outcome.kind and outcome.judges and target and target.route_id:
        failed = next((each for each in others if each.domain == target), before)
        together = _with_models(moved, states, failed, outcome, rules)
        moved, others = together.route, [*others, *together.others]
    return Changes(route=moved, others=tuple(others))


def may_claim(route: RouteState, now: datetime, *, early: bool = False) -> bool:
    """Whether a call may go out over this route now. `early`: also before the cooldown of a route
    or a model is over; that of a key is never broken."""
    if not early or route.is_leased(now):
        return route.admits(now)
    keys = [each for each in route.others if each.domain.scope != Scope.MODEL]
    dead = [each for each in route.breakers if each.state != State.CLOSED and not each.retry_at]
    return not dead and all(breaker.admits(each.breaker, now) for each in keys)


def claim_probe(route: RouteState, now: datetime, rules: Rules = RULES) -> RouteState:
    """Claim the half-open probe of each open breaker of the route."""

    def claim(each: BreakerState) -> BreakerState:
        return each if each.state == State.CLOSED else breaker.claim_probe(each, now, rules)

    others = tuple(replace(each, breaker=claim(each.breaker)) for each in route.others)
    return replace(route, breaker=claim(route.breaker), others=others)


def effective(route: RouteState, states: Domains) -> RouteState:
    """The route as its provider's health and learning judge it: open also while a model of it is
    open and nothing has gone well since."""
    if route.breaker.state != State.CLOSED:
        return route
    since = route.last_success_at
    models = [
        each.breaker
        for each in states.models(route.route_id)
        if each.breaker.state != State.CLOSED
        and each.breaker.last_kind not in ANSWERED
        and not (since and each.breaker.opened_at and each.breaker.opened_at < since)
    ]
    if not models:
        return route
    return replace(route, breaker=max(models, key=lambda each: each.failures))


def _affected_states(
    states: Domains, outcome: Outcome, target: Domain | None
) -> Iterator[DomainState]:
    """The states that a result may change; that of a first failure is made here."""
    for domain in domains_of(outcome.route_id, outcome.key, outcome.model_id):
        if state := states.get(domain):
            yield state
        elif domain == target and outcome.kind and outcome.judges:
            yield DomainState(domain=domain)


def _apply_to_state(
    state: DomainState, outcome: Outcome, target: Domain | None, rules: Rules
) -> DomainState:
    """One domain beside the route, after a result of a call that belonged to it."""
    epoch = outcome.epoch_of(state.domain)
    current = state.breaker
    if outcome.kind is None:
        return replace(state, breaker=_apply_success(current, outcome, epoch, rules))
    failed = state.domain == target and outcome.judges
    failure = breaker.Failure(
        kind=outcome.kind if failed else ErrorKind.STOPPED,
        retry_after=outcome.retry_after if failed else None,
        half_failed=outcome.half_failed,
        weight=weight_of(outcome.kind, outcome.scope) if failed else Weight.NOTHING,
    )
    if not breaker.accepts(current, epoch, retry_after=failure.retry_after):
        return state
    moved = breaker.on_failure(current, failure, outcome.at, rules)
    if not failed:
        return replace(state, breaker=moved)
    return replace(state, breaker=moved, last_error=outcome.message, last_failure_at=outcome.at)


def _apply_success(
    current: BreakerState, outcome: Outcome, epoch: int, rules: Rules
) -> BreakerState:
    if outcome.resets:
        return (
            BreakerState(proven=True, epoch=current.epoch + 1) if _is_marked(current) else current
        )
    if epoch != current.epoch or not _is_marked(current):
        return current
    # A list of models is no proof that the account may chat again.
    return breaker.on_success(current, rules) if outcome.model_id else current


def _is_marked(current: BreakerState) -> bool:
    return current.state != State.CLOSED or bool(current.failures)


def weight_of(kind: ErrorKind, scope: Scope) -> Weight:
    """What a failure weighs in its domain: a refusal of one model is a failure of that model."""
    weight = breaker.WEIGHTS[kind]
    if scope == Scope.MODEL and weight not in (Weight.COUNTS, Weight.HALF):
        return Weight.COUNTS
    return Weight.DISABLES if scope == Scope.KEY and kind == ErrorKind.PERMISSION else weight


def _for_route(route: RouteState, outcome: Outcome, before: DomainState | None) -> Outcome:
    """What a result says about the route. A model that is known to fail says nothing of it, so that
    its half-open probe is free for another model; one that is not known to fails the probe."""
    if outcome.kind is None or outcome.scope == Scope.ROUTE:
        return outcome
    model = before.breaker if before else BreakerState()
    if model.state != State.CLOSED:
        return replace(outcome, judges=False)
    probes = route.breaker.state == State.HALF_OPEN and not model.failures
    if probes and outcome.scope == Scope.MODEL and outcome.kind not in ANSWERED:
        return replace(outcome, scope=Scope.ROUTE)
    return outcome


def _with_models(
    route: RouteState, states: Domains, failed: DomainState | None, outcome: Outcome, rules: Rules
) -> Changes:
    """What follows from several models that fail together: they share the route, and its key."""
    if failed is None or outcome.kind is None:
        return Changes(route=route)
    models = [m for m in states.models(route.route_id) if m.domain != failed.domain]
    failing = _failing([*models, failed], route, outcome.at, rules)
    if outcome.kind == ErrorKind.AUTH:
        refused = [each for each in failing if each.breaker.last_kind == ErrorKind.AUTH]
        if len(refused) > 1:
            return Changes(route=route, others=_disable_key(states, outcome, rules))
        return Changes(route=route)
    broken = [each for each in failing if each.breaker.last_kind not in ANSWERED]
    if route.breaker.state == State.CLOSED and _is_route(broken, rules):
        opened = breaker.trip(route.breaker, outcome.kind, outcome.at, rules)
        return Changes(route=replace(route, breaker=opened))
    return Changes(route=route)


def _failing(
    models: Iterable[DomainState], route: RouteState, now: datetime, rules: Rules
) -> list[DomainState]:
    """The models that failed within the window, and after the route's last success."""
    since = now - timedelta(seconds=rules.window)
    if route.last_success_at:
        since = max(since, route.last_success_at)
    return [each for each in models if each.last_failure_at and each.last_failure_at > since]


def _is_route(failing: list[DomainState], rules: Rules) -> bool:
    """Whether it is the route that fails: as many failures as open a breaker, with no success
    between, and no more than half of them from one model."""
    most = (rules.failures_to_open + 1) // 2
    counted = sum(min(each.breaker.failures, most) for each in failing)
    return len(failing) > 1 and counted >= rules.failures_to_open


def _disable_key(states: Domains, outcome: Outcome, rules: Rules) -> tuple[DomainState, ...]:
    """The key, refused for two models."""
    domain = Domain(0, outcome.key, "")
    state = states.get(domain) or DomainState(domain=domain)
    failure = breaker.Failure(kind=ErrorKind.AUTH, weight=Weight.DISABLES)
    moved = breaker.on_failure(state.breaker, failure, outcome.at, rules)
    return (replace(state, breaker=moved, last_error=outcome.message, last_failure_at=outcome.at),)
