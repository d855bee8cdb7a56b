"""When the same route is called again, and which cooldown or probe a request waits for. No I/O."""

from collections.abc import Iterable
from datetime import datetime

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES, Rules
from providers.policy.breaker import BreakerState, Scope, State, admits
from providers.policy.reasons import retry_at
from providers.policy.route_state import RouteState

# Failures that an immediate retry meets again.
_STEADY = frozenset(
    {"connect_refused", "dns", "tls", "tls_certificate", "unreachable", "html", "json"}
)

# Refusals of the key's queue, in which the request has waited already.
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
    if error.kind != ErrorKind.OVERLOADED:  # a rate limit has waits of its own
        return None
    wait = error.retry_after or 0.0
    return wait if wait <= rules.longest_wait else None


PROBE_SECONDS = 0.1  # after which to see what a half-open probe under way has shown
RECHECK_SECONDS = 0.25  # after which a request that waits for a probe looks at the routes again


def next_limited(routes: Iterable[RouteState], now: datetime) -> tuple[RouteState, float] | None:
    """The route that is free first, of those in a rate limit's cooldown or in none, and in how many
    seconds."""
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


def next_probe(
    routes: Iterable[RouteState], now: datetime, last_resort_in: float, rules: Rules = RULES
) -> tuple[RouteState, float] | None:
    """The route whose half-open probe comes first, and in how many seconds it may be claimed, or
    may have shown something. `last_resort_in`: seconds until a call may go out before its time.

    None where no route has one: a disabled route, or a key in a cooldown, which is never broken.
    """
    waits = [
        (wait, route)
        for route in routes
        if (wait := _probe_wait(route, now, last_resort_in, rules)) is not None
    ]
    wait, route = min(waits, key=lambda each: each[0], default=(0.0, None))
    return (route, max(PROBE_SECONDS, wait)) if route else None


def _probe_wait(
    route: RouteState, now: datetime, last_resort_in: float, rules: Rules
) -> float | None:
    keys = [each.breaker for each in route.others if each.domain.scope != Scope.MODEL]
    if not all(admits(each, now) for each in keys):
        return None
    if route.admits(now) or route.is_leased(now):
        return PROBE_SECONDS
    due = retry_at(route, now)
    if due is None:
        return None
    wait = (due - now).total_seconds()
    return min(wait, last_resort_in) if _is_short_outage(route, now, rules) else wait


def _is_short_outage(route: RouteState, now: datetime, rules: Rules) -> bool:
    """Whether it began a moment ago, without an overload: that one is not to be called early."""
    opened = [each for each in route.breakers if each.state != State.CLOSED]
    if any(each.last_kind == ErrorKind.OVERLOADED for each in opened):
        return False
    since = min((each.opened_at for each in opened if each.opened_at), default=None)
    return since is not None and (now - since).total_seconds() < rules.short_outage
