"""When the same route is tried again, and which cooldown may be waited for. No I/O."""

from collections.abc import Iterable
from datetime import datetime

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES, Rules
from providers.policy.breaker import BreakerState, State
from providers.policy.route_state import RouteState

# What is so an instant later as well.
_STEADY = frozenset(
    {"connect_refused", "dns", "tls", "tls_certificate", "unreachable", "html", "json"}
)

# Refusals of the key's own queue, where the request has waited its time already.
_WAITED = frozenset({"too_many_at_once", "rate_limited"})


def repeats_first(error: CallError) -> bool:
    """Whether the same route is tried again before any other: the request never went out."""
    return error.kind == ErrorKind.NETWORK and not error.sent and error.code not in _STEADY


def repeat_after(error: CallError, rules: Rules = RULES) -> float | None:
    """After how many seconds the same route may be tried once more, where no other one can help.

    None: never. An overload is waited for as long as it says, if that is short.
    """
    if error.code in _STEADY or error.code in _WAITED:
        return None
    if error.kind == ErrorKind.PROVIDER or repeats_first(error):
        return 0.0
    if error.kind != ErrorKind.OVERLOADED:  # a rate limit has its own waits: limited, limits.Gate
        return None
    wait = error.retry_after or 0.0
    return wait if wait <= rules.longest_wait else None


PROBE_SECONDS = 0.1  # after which to see what a half-open probe under way has shown


def limited(routes: Iterable[RouteState], now: datetime) -> tuple[RouteState, float] | None:
    """The route that is free first, of those which a rate limit alone holds back or held back a
    moment ago, and in how many seconds."""
    waits = [(wait, route) for route in routes if (wait := _limit_wait(route, now)) is not None]
    wait, route = min(waits, key=lambda each: each[0], default=(0.0, None))
    return (route, wait) if route else None


def _limit_wait(route: RouteState, now: datetime) -> float | None:
    """The longest of its cooldowns; 0 where it has none, None where one is no rate limit's."""
    waits = [_cooldown(each, now) for each in route.breakers if each.state != State.CLOSED]
    return None if None in waits else max(filter(None, waits), default=0.0)


def _cooldown(breaker: BreakerState, now: datetime) -> float | None:
    """The seconds of a rate limit's cooldown that are left; None of any other."""
    if breaker.last_kind != ErrorKind.RATE_LIMIT or breaker.retry_at is None:
        return None
    if breaker.state == State.HALF_OPEN:
        return PROBE_SECONDS
    return max(PROBE_SECONDS, (breaker.retry_at - now).total_seconds())
