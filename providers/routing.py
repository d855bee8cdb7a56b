"""From a policy, the state of the routes and now: the plan, each route with its reason. No I/O.

The plan is never empty by breakers alone: where every route rests, the one that is due soonest goes
out all the same, and says so.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from providers.breaker import Breaker, State, admits
from providers.errors import CallError, ErrorKind
from providers.types import AttemptRecord, Method

MAX_ATTEMPTS = 3  # of one request, all routes together

type Health = Literal["healthy", "degraded", "failing", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator decided. `routing_method` is auto, direct or gateway."""

    routing_method: str = "auto"
    provider_type: str = "hybrid"
    prefer_direct: bool = True
    fallback_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """What is known of one route. `own_key`: it shows the upstream another key than direct does."""

    route_id: int
    method: Method
    endpoint: str = ""
    breaker: Breaker = field(default_factory=Breaker)
    learned_at: datetime | None = None
    last_outcome_at: datetime | None = None
    ttft_ms: float | None = None
    own_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRoute:
    """One step of a plan. `trial`: its breaker is open and due; the call must claim the trial."""

    route: RouteState
    reason: str
    trial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The routes in the order they are tried; `preferred` is what the policy would have liked."""

    routes: tuple[PlannedRoute, ...]
    preferred: Method


def plan(policy: Policy, routes: tuple[RouteState, ...], now: datetime, fresh: timedelta) -> Plan:
    """The ordered routes of one request. `fresh` is how long a learned route is believed."""
    ordered, why = _ordered(policy, routes, now, fresh)
    preferred = wanted(policy)
    resting = [route for route in ordered if not admits(route.breaker, now)]
    admitted = [route for route in ordered if route not in resting]
    if not admitted and resting:
        return Plan(routes=(_last_resort(resting, now),), preferred=preferred)
    planned = [
        PlannedRoute(
            route=route,
            reason=_reason(route, why, resting, now),
            trial=route.breaker.state != State.CLOSED,
        )
        for route in admitted
    ]
    return Plan(routes=tuple(planned[:MAX_ATTEMPTS]), preferred=preferred)


def _ordered(
    policy: Policy, routes: tuple[RouteState, ...], now: datetime, fresh: timedelta
) -> tuple[list[RouteState], str]:
    """The routes the policy allows, best first, and why the first is first."""
    if policy.provider_type == "legacy":
        return [r for r in routes if r.method == Method.DIRECT], "a legacy provider goes direct"
    if policy.provider_type == "gateway-required":
        return [r for r in routes if r.method == Method.GATEWAY], "this provider needs a gateway"
    first, why = Method.DIRECT, "set for this provider"
    if policy.routing_method == "auto":
        first, why = _automatic(policy, routes, now, fresh)
    else:
        first = Method(policy.routing_method)
    ordered = sorted(routes, key=lambda route: route.method != first)
    return ordered if policy.fallback_enabled else ordered[:1], why


def _automatic(
    policy: Policy, routes: tuple[RouteState, ...], now: datetime, fresh: timedelta
) -> tuple[Method, str]:
    learned = [r for r in routes if r.learned_at and now - r.learned_at < fresh]
    if learned:
        best = max(learned, key=lambda route: route.learned_at or now)
        return best.method, f"worked {elapsed(now, best.learned_at)} ago"
    return wanted(policy), "preferred"


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
    others = "; ".join(resting_reason(other, now) for other in resting)
    return f"{route.method}: {others}" if others else f"{route.method}: {why}"


def resting_reason(route: RouteState, now: datetime) -> str:
    """Why a route is not tried now, and when it is tried again."""
    breaker = route.breaker
    kind = _words(breaker.last_kind)
    if breaker.state == State.HALF_OPEN:
        return f"{route.method} is on trial after a {kind}"
    if breaker.retry_at is None:
        return f"{route.method} is set aside after a {kind} until it is edited or tested"
    times = f"{breaker.failures:g} times, last " if breaker.failures > 1 else ""
    since = f" {elapsed(now, route.last_outcome_at)} ago" if route.last_outcome_at else ""
    again = f"{breaker.retry_at:%H:%M:%S}"
    return f"{route.method} failed {times}{kind}{since}; {route.method} is tried again at {again}"


def _last_resort(resting: list[RouteState], now: datetime) -> PlannedRoute:
    """Every route rests: the one due soonest; one that is set aside only where all are."""
    soonest = min(
        resting,
        key=lambda r: (r.breaker.retry_at is None, r.breaker.retry_at or now),
    )
    reasons = "; ".join(resting_reason(route, now) for route in resting)
    return PlannedRoute(route=soonest, reason=f"{soonest.method}: every route rests ({reasons})")


def fallback_reason(planned: PlannedRoute, failed: AttemptRecord) -> str:
    """Why this route answers: what happened on the one before it, a moment ago."""
    problem = failed.error_message.rstrip(".") or _words(ErrorKind(failed.outcome))
    return f"{planned.route.method}: {failed.method} failed ({problem})"


# Failures after which another route to the same provider can help. Overload, limits, balance and
# refused keys are the account's own: another road leads to the same door, unless the gateway there
# shows a key of its own.
_ANY_ROUTE = frozenset(
    {ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.PROVIDER, ErrorKind.GATEWAY}
)
_OTHER_KEY = frozenset({ErrorKind.RATE_LIMIT, ErrorKind.QUOTA, ErrorKind.AUTH})


def may_help(error: CallError, failed: RouteState, other: RouteState) -> bool:
    """Whether the other route is worth trying after this failure."""
    if error.kind in _ANY_ROUTE:
        return True
    return error.kind in _OTHER_KEY and other.own_key != failed.own_key


# What is so an instant later as well.
_STEADY = frozenset({"connect_refused", "dns", "tls", "tls_certificate", "unreachable"})


def may_repeat(error: CallError) -> bool:
    """Whether the same route is tried once more, at once: only where nothing was sent."""
    return error.kind == ErrorKind.NETWORK and not error.sent and error.code not in _STEADY


_USEFULNESS = (
    ErrorKind.AUTH,
    ErrorKind.QUOTA,
    ErrorKind.REQUEST,
    ErrorKind.RATE_LIMIT,
    ErrorKind.OVERLOADED,
    ErrorKind.PROVIDER,
    ErrorKind.TIMEOUT,
    ErrorKind.NETWORK,
    ErrorKind.GATEWAY,
    ErrorKind.STOPPED,
)


def most_useful(errors: list[CallError]) -> CallError:
    """The failure a caller can do most about."""
    return min(errors, key=lambda error: _USEFULNESS.index(error.kind))


def health_of(
    policy: Policy, routes: tuple[RouteState, ...], now: datetime, fresh: timedelta
) -> Health:
    """A provider's health, from its routes alone: the one truth that every view reads."""
    ordered, _ = _ordered(policy, routes, now, fresh)
    conditions = [_condition(route.breaker) for route in ordered]
    if not conditions:
        return "unknown"
    # A method learned after the preferred one failed is first in the order, and no sign of health.
    if conditions[0] == "working":
        return "degraded" if _fell_back(policy, ordered) else "healthy"
    if "working" in conditions:
        return "degraded"
    if all(condition == "down" for condition in conditions):
        return "failing"
    return "degraded" if "down" in conditions or "shaky" in conditions else "unknown"


def _fell_back(policy: Policy, ordered: list[RouteState]) -> bool:
    preferred = wanted(policy)
    if ordered[0].method == preferred:
        return False
    return any(r.method == preferred and _condition(r.breaker) == "down" for r in ordered)


def _condition(breaker: Breaker) -> Literal["working", "shaky", "down", "unproven"]:
    if breaker.state != State.CLOSED:
        return "down"
    if breaker.failures:
        return "shaky"
    return "working" if breaker.proven else "unproven"


_WORDS = {
    ErrorKind.NETWORK: "network error",
    ErrorKind.TIMEOUT: "time-out",
    ErrorKind.PROVIDER: "provider error",
    ErrorKind.OVERLOADED: "overload",
    ErrorKind.RATE_LIMIT: "rate limit",
    ErrorKind.QUOTA: "used-up balance or plan",
    ErrorKind.AUTH: "refused key",
    ErrorKind.REQUEST: "refused request",
    ErrorKind.GATEWAY: "gateway error",
    ErrorKind.STOPPED: "stop",
}


def _words(kind: ErrorKind | None) -> str:
    return _WORDS[kind] if kind else "failure"


def elapsed(now: datetime, then: datetime | None) -> str:
    """The time between, in its largest unit."""
    seconds = max(0, int((now - then).total_seconds())) if then else 0
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
