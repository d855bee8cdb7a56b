"""From a policy, the state of the routes and now: the plan, each route with its reason. No I/O.

Level 1 is the preferred route, 2 the other method, 3 what stands in: another gateway, our own
gateway process, then other providers of the same model. The plan is never empty by breakers alone:
where every route rests, one that is not dead by key is named as the last resort.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord, Method
from providers.policy.breaker import Scope, State, admits
from providers.policy.reasons import elapsed, failure_words, resting_reason, retry_at, words
from providers.policy.route_state import RouteState


@frozen
class Policy:
    """What the operator decided. `routing_method` is auto, direct or gateway."""

    routing_method: str = "auto"
    provider_type: str = "hybrid"
    prefer_direct: bool = True
    fallback_enabled: bool = True


@frozen
class Alternative:
    """Another provider that the operator lets answer with the same model."""

    name: str
    policy: Policy
    routes: tuple[RouteState, ...]


@frozen
class PlannedRoute:
    """One step of a plan. `trial`: its breaker is open and due; the call must claim the trial."""

    route: RouteState
    reason: str
    trial: bool = False


@frozen
class Plan:
    """The routes in the order they are tried; `preferred` is what the policy would have liked.

    Where all rest, `routes` is empty, and `resting` tells why and until when. `last_resort` is the
    one that may still go out now and then: None where the key is refused, used up or limited.
    `soonest` is the one that is due first, should this copy of the routes be behind.
    """

    routes: tuple[PlannedRoute, ...]
    preferred: Method
    last_resort: PlannedRoute | None = None
    resting: CallError | None = None
    soonest: PlannedRoute | None = None


def plan(
    policy: Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
    alternatives: tuple[Alternative, ...] = (),
) -> Plan:
    """The ordered routes of one request. `fresh` is how long a learned route is believed."""
    ordered = in_order(policy, routes, now, fresh)
    why = _why(policy, routes, now, fresh)
    resting = [route for route in ordered if not route.admits(now)]
    planned = [_step(r, _reason(r, why, resting, now)) for r in ordered if r not in resting]
    for other in alternatives:
        planned += _steps_elsewhere(other, now, fresh)
    if planned or not resting:
        return Plan(routes=tuple(planned), preferred=wanted(policy))
    return Plan(
        routes=(),
        preferred=wanted(policy),
        last_resort=_last_resort([route for route in resting if _may_go_early(route, now)], now),
        resting=_all_rest(resting, now),
        soonest=_soonest([route for route in resting if retry_at(route, now)], now),
    )


def is_timeless(routes: Iterable[RouteState]) -> bool:
    """Whether a plan of these routes is the same at any time: none rests, none was learned."""
    return all(route.is_closed and route.learned_at is None for route in routes)


def _step(route: RouteState, reason: str) -> PlannedRoute:
    return PlannedRoute(route=route, reason=reason, trial=not route.is_closed)


def _steps_elsewhere(other: Alternative, now: datetime, fresh: timedelta) -> list[PlannedRoute]:
    """Another provider's routes that admit a call, as its own policy orders them."""
    ordered = in_order(other.policy, other.routes, now, fresh)
    reason = f"{other.name} answers as the fallback"
    return [_step(route, reason) for route in ordered if route.admits(now)]


def in_order(
    policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta
) -> list[RouteState]:
    """The routes that the policy allows, best first."""
    if policy.provider_type == "legacy":
        return [route for route in routes if route.method == Method.DIRECT]
    if policy.provider_type == "gateway-required":
        return [route for route in routes if route.method == Method.GATEWAY]
    first = _first(policy, routes, now, fresh)
    ordered = sorted(routes, key=lambda route: (route.spare, route.method != first))
    return ordered if policy.fallback_enabled else ordered[:1]


def _first(policy: Policy, routes: Sequence[RouteState], now: datetime, fresh: timedelta) -> Method:
    """The learned method, but for the request that is the preferred one's half-open probe."""
    best, preferred = _learned(policy, routes, now, fresh), wanted(policy)
    ours = [route for route in routes if route.method == preferred]
    probe = policy.fallback_enabled and any(_is_due(route, now) for route in ours)
    return preferred if best is None or probe else best.method


def _is_due(route: RouteState, now: datetime) -> bool:
    """Whether a half-open probe would show that the route is back; fallbacks wait."""
    return not (route.spare or route.is_closed) and route.admits(now)


def _last_kind(route: RouteState) -> ErrorKind | None:
    """Of the first breaker on its way that is not closed."""
    return next((each.last_kind for each in route.breakers if each.state != State.CLOSED), None)


def _learned(
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
    if best := _learned(policy, routes, now, fresh):
        worked = f"worked {elapsed(now, best.learned_at)} ago{_figures(best)}"
        return worked + _instead_of(wanted(policy), best, routes, now)
    return "preferred"


def _instead_of(
    preferred: Method, best: RouteState, routes: Sequence[RouteState], now: datetime
) -> str:
    """Why a learned route is taken and not the preferred one."""
    other = next((route for route in routes if route.method == preferred), None)
    if best.method == preferred or other is None:
        return ""
    kind, last = other.breaker.last_kind, other.last_outcome_at
    since = f" {elapsed(now, last)} ago" if last else ""
    failed = f" after a {words(kind)}{since}" if kind else ""
    return f"; {preferred} is preferred, and used again when several checks succeed{failed}"


def _figures(route: RouteState) -> str:
    """How well a route does, where enough is known to say so."""
    if route.judged < _ENOUGH or route.ttft_ms is None:
        return ""
    return f", {100 * (1 - route.error_share):.1f} % good, {route.ttft_ms / 1000:.2f} s"


_ENOUGH = 20  # results before a share is worth telling


def wanted(policy: Policy) -> Method:
    """The method the operator would like best, whatever has been learned since."""
    if policy.provider_type == "legacy":
        return Method.DIRECT
    if policy.provider_type == "gateway-required":
        return Method.GATEWAY
    if policy.routing_method != "auto":
        return Method(policy.routing_method)
    return Method.DIRECT if policy.prefer_direct else Method.GATEWAY


def _reason(route: RouteState, why: str, resting: list[RouteState], now: datetime) -> str:
    if _is_due(route, now):
        return f"{route.method}: half-open probe after a {words(_last_kind(route))}"
    others = "; ".join(resting_reason(other, now) for other in resting)
    return f"{route.method}: {others}" if others else f"{route.method}: {why}"


# No waiting and no other route helps with these.
_DEAD = frozenset({ErrorKind.AUTH, ErrorKind.QUOTA})


def _may_go_early(route: RouteState, now: datetime) -> bool:
    """Whether a call may go out before the cooldown is over: never with a key that is in one."""
    keys = [each for each in route.others if each.domain.scope != Scope.MODEL]
    free = all(admits(each.breaker, now) for each in keys)
    return free and retry_at(route, now) is not None and route.breaker.last_kind not in _DEAD


def _last_resort(resting: list[RouteState], now: datetime) -> PlannedRoute | None:
    """Every route is in a cooldown: the one that is due first.

    A request that passes beside a trial under way is none itself: it would void the other's result.
    """
    if not resting:
        return None
    soonest = min(resting, key=lambda route: retry_at(route, now) or now)
    reasons = "; ".join(resting_reason(route, now) for route in resting)
    return PlannedRoute(
        route=soonest,
        reason=f"{soonest.method}: every route is in a cooldown ({reasons})",
        trial=not soonest.is_leased(now),
    )


def _soonest(resting: list[RouteState], now: datetime) -> PlannedRoute | None:
    """The one that is due first, whose probe may be free by now."""
    found = _last_resort(resting, now)
    return replace(found, trial=True) if found else None


def _all_rest(resting: list[RouteState], now: datetime) -> CallError:
    """What a caller is told whose request goes nowhere: why, and when to come back."""
    reasons = "; ".join(resting_reason(route, now) for route in resting)
    # A trial is over long before its lease is.
    ends = [now if r.is_leased(now) else retry_at(r, now) for r in resting]
    due = [end for end in ends if end]
    wait = max(1.0, (min(due) - now).total_seconds()) if due else None
    kinds = {_steady_kind(route, now) for route in resting}
    kind = kinds.pop() if len(kinds) == 1 else None
    return CallError(
        kind or ErrorKind.OVERLOADED,
        f"All routes to this provider are temporarily unavailable: {reasons}.",
        status=_STATUS_OF.get(kind) if kind else None,
        code="routes_resting",
        retry_after=wait,
        sent=False,
    )


def nowhere(plan: Plan) -> CallError:
    """What a caller hears for whom no route is left, though none of them is in a cooldown."""
    if not plan.routes:
        problem = "No route to this provider is allowed by its settings."
        return CallError(ErrorKind.REQUEST, problem, code="no_route", sent=False)
    problem = "A half-open probe of the only route is under way; try again in a moment."
    return CallError(
        ErrorKind.OVERLOADED, problem, code="routes_resting", retry_after=1.0, sent=False
    )


# What stays so until somebody does something about it: the caller hears of it, not of a cooldown.
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


def may_help(error: CallError, failed: RouteState, other: RouteState) -> bool:
    """Whether the other route is worth trying after this failure."""
    if other.provider_id != failed.provider_id:
        return error.kind not in (ErrorKind.REQUEST, ErrorKind.STOPPED)
    if error.kind in _ANY_ROUTE:
        return True
    return error.kind in _OTHER_KEY and other.key != failed.key


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
