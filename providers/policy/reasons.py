"""Failures and cooldowns in words, as traces, pages and errors show them. No I/O."""

import re
from datetime import datetime

from providers.domain.errors import ErrorKind
from providers.policy.breaker import DomainState, Scope, State, admits
from providers.policy.route_state import RouteState

_WORDS = {
    ErrorKind.NETWORK: "network error",
    ErrorKind.TIMEOUT: "time-out",
    ErrorKind.PROVIDER: "provider error",
    ErrorKind.OVERLOADED: "overload",
    ErrorKind.RATE_LIMIT: "rate limit",
    ErrorKind.QUOTA: "used-up balance or plan",
    ErrorKind.AUTH: "refused key",
    ErrorKind.PERMISSION: "missing permission",
    ErrorKind.REQUEST: "refused request",
    ErrorKind.GATEWAY: "gateway error",
    ErrorKind.UNREADABLE: "unreadable key",
    ErrorKind.STOPPED: "stop",
}


def words(kind: ErrorKind | None) -> str:
    return _WORDS[kind] if kind else "failure"


# An upstream's code is shown where it looks like one, and not like a sentence.
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,60}")


def failure_words(outcome: str, status: int | None, code: str) -> str:
    """A failure as anybody may read it: its kind, HTTP status and code, never its message."""
    kind = words(ErrorKind(outcome)) if outcome in ErrorKind else outcome
    parts = [kind, f"HTTP {status}" if status else "", code if _CODE.fullmatch(code) else ""]
    return ", ".join(filter(None, parts))


def format_elapsed(now: datetime, then: datetime | None) -> str:
    """The time between, in its largest unit."""
    seconds = max(0, int((now - then).total_seconds())) if then else 0
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def cooldown_reason(route: RouteState, now: datetime) -> str:
    """Why a route is not tried now, and when it is tried again."""
    if other := next((each for each in route.others if not admits(each.breaker, now)), None):
        return f"{route.method}: {domain_reason(other, now)}"
    breaker = route.breaker
    kind = words(breaker.last_kind)
    if breaker.state == State.HALF_OPEN:
        return f"{route.method} has a half-open probe under way after a {kind}"
    if breaker.retry_at is None:
        return f"{route.method} is disabled after a {kind} until it is edited or tested"
    times = f"{breaker.failures:g} times, last " if breaker.failures > 1 else ""
    since = f" {format_elapsed(now, route.last_outcome_at)} ago" if route.last_outcome_at else ""
    again = f"{breaker.retry_at:%H:%M:%S}"
    return f"{route.method} failed {times}{kind}{since}; {route.method} is tried again at {again}"


def domain_reason(state: DomainState, now: datetime) -> str:
    """Why nothing is sent for a model or with a key, and until when."""
    breaker, kind = state.breaker, words(state.breaker.last_kind)
    subject = state.domain.model_id or "the key"
    if breaker.state == State.HALF_OPEN:
        return f"a half-open probe of {subject} is under way after a {kind}"
    if breaker.retry_at is None:
        return f"{subject} is disabled after a {kind} until it is edited or tested"
    again = f"{subject} is tried again at {breaker.retry_at:%H:%M:%S}"
    if state.domain.scope == Scope.KEY:
        return f"the key is in a cooldown after a {kind}; {again}"
    times = f"{breaker.failures:g} times, last " if breaker.failures > 1 else ""
    since = f" {format_elapsed(now, state.last_failure_at)} ago" if state.last_failure_at else ""
    return f"{subject} failed {times}{kind}{since}; {again}"


def retry_at(route: RouteState, now: datetime) -> datetime | None:
    """When every breaker on its way lets a call through again; None where one never does."""
    blocked = [each for each in route.breakers if not admits(each, now)]
    times = [each.retry_at for each in blocked if each.retry_at]
    return max(times) if times and len(times) == len(blocked) else None
