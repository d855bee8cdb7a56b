"""From a policy, the state of the routes and now: the plan, each route with its reason. No I/O.

Level 1 is the preferred route, 2 the other method, 3 the fallbacks: another gateway, the
gateway process, then other providers of the same model. The plan is never empty by breakers alone:
where every route is in a cooldown, one whose key is good is named as the last resort.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from providers.domain.errors import (
    CONTEXT_FULL,
    ENDPOINT_MISSING,
    NO_SUCH_MODEL,
    CallError,
    ErrorKind,
)
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord, Method
from providers.policy.breaker import Scope, State, admits
from providers.policy.reasons import cooldown_reason, failure_words, format_elapsed, retry_at, words
from providers.policy.route_state import RouteState


@frozen
class Policy:
    """The operator's settings. `routing_method` is auto, direct or gateway."""

    routing_method: str = "auto"
    provider_type: str = "hybrid"
    prefer_direct: bool = True
    fallback_enabled: bool = True


@frozen
class FallbackProvider:
    """Another provider, or another model, that may answer where the routes before it fail."""

    name: str
    policy: Policy
    routes: tuple[RouteState, ...]


@frozen
class PlannedRoute:
    """One step of a plan. `trial`: its breaker is open and due; the call must claim the trial.
    `place`: 0 for the provider and model that the plan is made for, then that of the fallback."""

    route: RouteState
    reason: str
    trial: bool = False
    place: int = 0


@frozen
class Plan:
    """The routes in the order they are tried; `preferred` is the policy's own choice.

    Where all are in a cooldown, `routes` is empty, and `refusal` says why and until when.
    `last_resort` may still be called now and then: None where the key is refused, used up or
    limited. `soonest` is due first, in case this copy of the routes is behind.
    """

    routes: tuple[PlannedRoute, ...]
    preferred: Method
    last_resort: PlannedRoute | None = None
    refusal: CallError | None = None
    soonest: PlannedRoute | None = None


def plan(
    policy: Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
    fallbacks: tuple[FallbackProvider, ...] = (),
) -> Plan:
    """The ordered routes of one request. `fresh` is how long a learned route is believed."""
    ordered = in_order(policy, routes, now, fresh)
    why = _why(policy, routes, now, fresh)
    cooling = [route for route in ordered if not route.admits(now)]
    planned = [_step(r, _reason(r, why, cooling, now)) for r in ordered if r not in cooling]
    for place, other in enumerate(fallbacks, 1):
        planned += _steps_elsewhere(other, place, now, fresh)
    if planned or not cooling:
        return Plan(routes=tuple(planned), preferred=preferred_method(policy))
    return Plan(
        routes=(),
        preferred=preferred_method(policy),
        last_resort=_last_resort([route for route in cooling if _may_go_early(route, now)], now),
        refusal=_cooldown_error(cooling, now),
        soonest=_soonest([route for route in cooling if retry_at(route, now)], now),
    )


def is_timeless(routes: Iterable[RouteState]) -> bool:
    """Whether a plan of these routes is the same at any time: none is open, none was learned."""
    return all(route.is_closed and route.learned_at is None for route in routes)


def _step(route: RouteState, reason: str, place: int = 0) -> PlannedRoute:
    return PlannedRoute(route=route, reason=reason, trial=not route.is_closed, place=place)


def _steps_elsewhere(
    other: FallbackProvider, place: int, now: datetime, fresh: timedelta
) -> list[PlannedRoute]:
    """Another provider's routes that admit a call, as its own policy orders them."""
    ordered = in_order(other.policy, other.routes, now, fresh)
    reason = f"{other.name} answers as the fallback"
    return [_step(route, reason, place) for route in ordered if route.admits(now)]


def in_order(
    policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta
) -> list[RouteState]:
    """The routes that the policy allows, best first."""
    if policy.provider_type == "legacy":
        return [route for route in routes if route.method == Method.DIRECT]
    if policy.provider_type == "gateway-required":
        return [route for route in routes if route.method == Method.GATEWAY]
    first = _first(policy, routes, now, fresh)
    ordered = sorted(routes, key=lambda route: (route.is_fallback, route.method != first))
    return ordered if policy.fallback_enabled else ordered[:1]


def _first(policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta) -> Method:
    """The learned method, but for the request that is the preferred one's half-open probe."""
    best, preferred = _learned_route(policy, routes, now, fresh), preferred_method(policy)
    ours = [route for route in routes if route.method == preferred]
    probe = policy.fallback_enabled and any(_is_due(route, now) for route in ours)
    return preferred if best is None or probe else best.method


def _is_due(route: RouteState, now: datetime) -> bool:
    """Whether a half-open probe would show that the route is back; fallbacks wait."""
    return not (route.is_fallback or route.is_closed) and route.admits(now)


def _last_kind(route: RouteState) -> ErrorKind | None:
    """Of the first breaker on its way that is not closed."""
    return next((each.last_kind for each in route.breakers if each.state != State.CLOSED), None)


def _learned_route(
    policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta
) -> RouteState | None:
    """The route that worked when the preferred one did not, while that is remembered."""
    if policy.routing_method != "auto":
        return None
    believed = [r for r in routes if r.learned_at and now - r.learned_at < fresh]
    return max(believed, key=lambda route: route.learned_at or now, default=None)


def _why(policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta) -> str:
    """Why the first route is first."""
    if policy.provider_type == "legacy":
        return "a legacy provider goes direct"
    if policy.provider_type == "gateway-required":
        return "this provider needs a gateway"
    if policy.routing_method != "auto":
        return "set for this provider"
    if best := _learned_route(policy, routes, now, fresh):
        worked = f"worked {format_elapsed(now, best.learned_at)} ago{_figures(best)}"
        return worked + _instead_of(preferred_method(policy), best, routes, now)
    return "preferred"


def _instead_of(
    preferred: Method, best: RouteState, routes: Sequence[RouteState], now: datetime
) -> str:
    """Why a learned route is taken and not the preferred one."""
    other = next((route for route in routes if route.method == preferred), None)
    if best.method == preferred or other is None:
        return ""
    kind, last = other.breaker.last_kind, other.last_outcome_at
    since = f" {format_elapsed(now, last)} ago" if last else ""
    failed = f" after a {words(kind)}{since}" if kind else ""
    return f"; {preferred} is preferred, and used again when several checks succeed{failed}"


def _figures(route: RouteState) -> str:
    """How well a route does, where enough is known to say so."""
    if route.judged < _ENOUGH or route.ttft_ms is None:
        return ""
    return f", {100 * (1 - route.error_share):.1f} % good, {route.ttft_ms / 1000:.2f} s"


_ENOUGH = 20  # results before a share says anything


def preferred_method(policy: Policy) -> Method:
    """The method that the operator's settings prefer, whatever was learned since."""
    if policy.provider_type == "legacy":
        return Method.DIRECT
    if policy.provider_type == "gateway-required":
        return Method.GATEWAY
    if policy.routing_method != "auto":
        return Method(policy.routing_method)
    return Method.DIRECT if policy.prefer_direct else Method.GATEWAY


def _reason(route: RouteState, why: str, cooling: list[RouteState], now: datetime) -> str:
    if _is_due(route, now):
        return f"{route.method}: half-open probe after a {words(_last_kind(route))}"
    others = "; ".join(cooldown_reason(other, now) for other in cooling)
    return f"{route.method}: {others}" if others else f"{route.method}: {why}"


# No waiting and no other route helps with these.
_DEAD = frozenset({ErrorKind.AUTH, ErrorKind.QUOTA})


def _may_go_early(route: RouteState, now: datetime) -> bool:
    """Whether a call may go out before the cooldown is over: never with a key that is in one."""
    keys = [each for each in route.others if each.domain.scope != Scope.MODEL]
    free = all(admits(each.breaker, now) for each in keys)
    return free and retry_at(route, now) is not None and route.breaker.last_kind not in _DEAD


def _last_resort(cooling: list[RouteState], now: datetime) -> PlannedRoute | None:
    """Every route is in a cooldown: the one that is due first.

    A request that passes beside a trial under way is none itself: it would void the other's result.
    """
    if not cooling:
        return None
    soonest = min(cooling, key=lambda route: retry_at(route, now) or now)
    reasons = "; ".join(cooldown_reason(route, now) for route in cooling)
    return PlannedRoute(
        route=soonest,
        reason=f"{soonest.method}: every route is in a cooldown ({reasons})",
        trial=not soonest.is_leased(now),
    )


def _soonest(cooling: list[RouteState], now: datetime) -> PlannedRoute | None:
    """The one that is due first, whose probe may be free by now."""
    first = _last_resort(cooling, now)
    return replace(first, trial=True) if first else None


def _cooldown_error(cooling: list[RouteState], now: datetime) -> CallError:
    """The error of a request that cannot be sent: why, and when to send it again."""
    reasons = "; ".join(cooldown_reason(route, now) for route in cooling)
    # A trial is over long before its lease is.
    ends = [now if r.is_leased(now) else retry_at(r, now) for r in cooling]
    due = [end for end in ends if end]
    wait = max(1.0, (min(due) - now).total_seconds()) if due else None
    kinds = {_steady_kind(route, now) for route in cooling}
    kind = kinds.pop() if len(kinds) == 1 else None
    return CallError(
        kind or ErrorKind.OVERLOADED,
        f"All routes to this provider are temporarily unavailable: {reasons}.",
        status=_STATUS_OF.get(kind) if kind else None,
        code="routes_resting",
        retry_after=wait,
        sent=False,
    )


def no_route_error(plan: Plan) -> CallError:
    """The error where no route is left, though none of them is in a cooldown."""
    if not plan.routes:
        problem = "No route to this provider is allowed by its settings."
        return CallError(ErrorKind.REQUEST, problem, code="no_route", sent=False)
    problem = "A half-open probe of the only route is under way; try again in a moment."
    return CallError(
        ErrorKind.OVERLOADED, problem, code="routes_resting", retry_after=1.0, sent=False
    )


# What lasts until somebody changes something: the caller gets this error, not a cooldown.
_STATUS_OF = {
    ErrorKind.AUTH: None,
    ErrorKind.QUOTA: None,
    ErrorKind.PERMISSION: 403,
    ErrorKind.REQUEST: 404,  # of the model: nothing else of a request is remembered
}


def _steady_kind(route: RouteState, now: datetime) -> ErrorKind | None:
    """Why a route is closed, where waiting does not help."""
    kinds = [each.last_kind for each in route.breakers if not admits(each, now)]
    return next((kind for kind in kinds if kind in _STATUS_OF), None)


def fallback_reason(planned: PlannedRoute, failed: AttemptRecord) -> str:
    """Why this route answers: what happened on the one before it, a moment ago.

    Without the upstream's message, in which a prompt may be repeated: others read this as well.
    """
    return f"{planned.route.method}: {failed_reason(failed)}"


def failed_reason(failed: AttemptRecord) -> str:
    """What happened on the route before, without the upstream's message."""
    problem = failure_words(failed.outcome, failed.status, failed.error_code)
    return f"{failed.method} failed ({problem})"


# Failures after which another route to the same provider can help. Overload, limits, balance and
# refused keys are the account's own: another route leads to the same door, unless the gateway there
# shows a key of its own.
_ANY_ROUTE = frozenset(
    {ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.PROVIDER, ErrorKind.GATEWAY}
)
_OTHER_KEY = frozenset(
    {
        ErrorKind.RATE_LIMIT,
        ErrorKind.QUOTA,
        ErrorKind.AUTH,
        ErrorKind.PERMISSION,
        ErrorKind.UNREADABLE,
    }
)


# Failures of a key: nothing else that carries the same one helps.
_KEY_KINDS = _OTHER_KEY - {ErrorKind.PERMISSION}


def may_help(
    error: CallError,
    failed: PlannedRoute,
    other: PlannedRoute,
    windows: Sequence[int | None] | None = None,
) -> bool:
    """Whether the other route is worth trying after this failure. `windows`: the contexts of a
    virtual model's members by place, whose models differ; None for one model's routes."""
    if error.code == ENDPOINT_MISSING:
        return True
    if other.place != failed.place:
        if error.kind == ErrorKind.REQUEST and windows is not None:
            return _other_model_helps(error, windows[failed.place], windows[other.place])
        return _other_account_helps(error, failed.route, other.route)
    if error.kind in _ANY_ROUTE:
        return True
    return error.kind in _OTHER_KEY and other.route.key != failed.route.key


def _other_model_helps(error: CallError, failed: int | None, other: int | None) -> bool:
    """Of a refused request: with a larger context, where that was full, or where the provider does
    not have the first model at all."""
    if error.code == CONTEXT_FULL:
        return other is not None and other > (failed or 0)
    return error.code in NO_SUCH_MODEL


def _other_account_helps(error: CallError, failed: RouteState, other: RouteState) -> bool:
    """Its key, its balance and its limits are its own, and its models fail by themselves."""
    if error.kind in (ErrorKind.REQUEST, ErrorKind.STOPPED):
        return False
    if error.kind in _KEY_KINDS and not error.per_model:
        return other.key != failed.key or not other.key
    is_route_failure = error.kind in (ErrorKind.NETWORK, ErrorKind.GATEWAY)
    return not is_route_failure or other.route_id != failed.route_id


_USEFULNESS = (
    ErrorKind.UNREADABLE,
    ErrorKind.AUTH,
    ErrorKind.QUOTA,
    ErrorKind.PERMISSION,
    ErrorKind.REQUEST,
    ErrorKind.RATE_LIMIT,
    ErrorKind.OVERLOADED,
    ErrorKind.PROVIDER,
    ErrorKind.TIMEOUT,
    ErrorKind.NETWORK,
    ErrorKind.GATEWAY,
    ErrorKind.STOPPED,
)


def most_useful(errors: Sequence[CallError]) -> CallError:
    """The failure a caller can do most about."""
    return min(errors, key=lambda error: _USEFULNESS.index(error.kind))
