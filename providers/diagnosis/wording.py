"""What pages say about providers and their routes, in plain words. No I/O."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from providers.domain import base_url as base_url_module
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.policy import plan as planning
from providers.policy import reasons
from providers.policy.breaker import DomainState, State
from providers.policy.route_state import RouteState


@frozen
class RouteLine:
    """One route as a page shows it. `status` is a health word, for the shape beside it."""

    method: Method
    where: str
    status: str
    word: str
    sentence: str
    last_error: str = ""
    retry_at: datetime | None = None
    ttft_ms: float | None = None
    last_outcome_at: datetime | None = None


@frozen
class Active:
    """The route that the next request takes, and why."""

    method: str = ""
    reason: str = "No route to this provider is allowed by its settings."
    ttft_ms: float | None = None


def active(
    policy: planning.Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
) -> Active:
    plan = planning.plan(policy, routes, now, fresh)
    if not plan.routes:
        return Active()
    first = plan.routes[0]
    reason = first.reason.removeprefix(f"{first.route.method}: ")
    return Active(
        method=first.route.method.value, reason=_sentence(reason), ttft_ms=first.route.ttft_ms
    )


def line(route: RouteState, base_url: str, last_error: str, now: datetime) -> RouteLine:
    """A route's breaker in words."""
    status, word, sentence = _condition(route, now)
    resting = not route.is_closed
    return RouteLine(
        method=route.method,
        where=where(route.method, route.endpoint, base_url),
        status=status,
        word=word,
        sentence=sentence,
        last_error=last_error if status in ("failing", "degraded") else "",
        retry_at=reasons.retry_at(route, now) if resting else None,
        ttft_ms=route.ttft_ms,
        last_outcome_at=route.last_outcome_at,
    )


def where(method: Method, endpoint: str, base_url: str) -> str:
    """Where a route leads: host and port, or our own gateway process in words."""
    if method == Method.DIRECT:
        return base_url_module.host(base_url) if base_url else "the vendor's own address"
    return base_url_module.host(endpoint) if endpoint else "this program's gateway process"


def _condition(route: RouteState, now: datetime) -> tuple[str, str, str]:
    breaker = route.breaker
    if other := next((o for o in route.others if o.breaker.state != State.CLOSED), None):
        return domain_status(other, now)
    if breaker.state == State.HALF_OPEN:
        return "degraded", "Half-open probe", _sentence(reasons.resting_reason(route, now))
    if breaker.state == State.OPEN:
        word = "Cooling down" if breaker.retry_at else "Disabled until edited"
        return "failing", word, _sentence(reasons.resting_reason(route, now))
    if breaker.failures:
        times = "Once" if breaker.failures <= 1 else f"{breaker.failures:g} times in a row"
        return "degraded", "Unstable", f"Failed {times.lower()}; paused after more failures."
    if breaker.proven:
        return "healthy", "Works", "The last request succeeded."
    return "unknown", "Not tried yet", "Not used yet."


@frozen
class ModelLine:
    """A model that fails, as a page shows it: over which method, or with which key."""

    model_id: str
    where: str
    status: str
    word: str
    sentence: str


def model_lines(
    states: Iterable[DomainState], routes: Iterable[RouteState], now: datetime
) -> tuple[ModelLine, ...]:
    """The breakers of models in words, in the models' order."""
    methods = {route.route_id: route.method for route in routes}
    return tuple(
        _model_line(state, methods.get(state.domain.route_id), now)
        for state in sorted(states, key=lambda each: (each.domain.model_id, each.domain.route_id))
    )


def _model_line(state: DomainState, method: Method | None, now: datetime) -> ModelLine:
    status, word, sentence = domain_status(state, now)
    return ModelLine(
        model_id=state.domain.model_id,
        where=f"{method} only" if method else "every connection with this key",
        status=status,
        word=word,
        sentence=sentence,
    )


def domain_status(state: DomainState, now: datetime) -> tuple[str, str, str]:
    """Health word, word and sentence for a model or a key that has failed."""
    breaker = state.breaker
    if breaker.state == State.CLOSED:
        times = "once" if breaker.failures <= 1 else f"{breaker.failures:g} times in a row"
        return "degraded", "Unstable", f"It failed {times}; it is paused after more failures."
    # The model stands beside it, and no capital letter belongs to its name.
    reason = reasons.domain_reason(state, now).removeprefix(f"{state.domain.model_id} ")
    sentence = _sentence(reason)
    if breaker.state == State.HALF_OPEN:
        return "degraded", "Half-open probe", sentence
    if breaker.retry_at is None:
        return "failing", "Disabled until edited", sentence
    return "failing", "Cooling down", sentence


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."


def ago(now: datetime, then: datetime | None) -> str:
    if then is None:
        return "never"
    if (now - then).total_seconds() < 1:
        return "just now"
    return f"{reasons.elapsed(now, then)} ago"


def lasting(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def tokens(count: int | None) -> str:
    if not count:
        return ""
    if count >= 1_000_000:
        return f"{count / 1_000_000:.3g}M"
    return f"{round(count / 1000)}k" if count >= 1000 else str(count)


def dollars(amount: Decimal | None) -> str:
    """Two digits of a cent where there is less than ten cents, else cents; empty where unknown."""
    if amount is None:
        return ""
    if amount == 0:
        return "$0"
    return f"${amount:.2f}" if amount >= Decimal("0.1") else f"${amount:.4f}"


def waiting(seconds: float | None) -> str:
    """How long to wait, rounded up; empty where nobody said."""
    if not seconds or seconds <= 0:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
