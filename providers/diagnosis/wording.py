"""Describe providers, routes and figures for pages. No I/O."""

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
    """One route for a page. `status` is a health value, which chooses the icon."""

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
class ActiveRoute:
    """The route of the next request, and why."""

    method: str = ""
    reason: str = "The provider's settings allow no route."
    ttft_ms: float | None = None


def describe_active_route(
    policy: planning.Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
) -> ActiveRoute:
    plan = planning.plan(policy, routes, now, fresh)
    if not plan.routes:
        return ActiveRoute()
    first = plan.routes[0]
    reason = first.reason.removeprefix(f"{first.route.method}: ")
    return ActiveRoute(
        method=first.route.method.value, reason=_sentence(reason), ttft_ms=first.route.ttft_ms
    )


def describe_route(route: RouteState, base_url: str, last_error: str, now: datetime) -> RouteLine:
    """A route and its breaker in words."""
    status, word, sentence = _describe_breaker(route, now)
    return RouteLine(
        method=route.method,
        where=describe_destination(route.method, route.endpoint, base_url),
        status=status,
        word=word,
        sentence=sentence,
        last_error=last_error if status in ("failing", "degraded") else "",
        retry_at=reasons.retry_at(route, now) if not route.is_closed else None,
        ttft_ms=route.ttft_ms,
        last_outcome_at=route.last_outcome_at,
    )


def describe_destination(method: Method, endpoint: str, base_url: str) -> str:
    """Host and port of a route; the gateway process by its name."""
    if method == Method.DIRECT:
        return base_url_module.host(base_url) if base_url else "the vendor's own address"
    return base_url_module.host(endpoint) if endpoint else "the gateway process"


def _describe_breaker(route: RouteState, now: datetime) -> tuple[str, str, str]:
    breaker = route.breaker
    if other := next((o for o in route.others if o.breaker.state != State.CLOSED), None):
        return describe_domain(other, now)
    if breaker.state == State.HALF_OPEN:
        return "degraded", "Half-open probe", _sentence(reasons.cooldown_reason(route, now))
    if breaker.state == State.OPEN:
        word = "Cooling down" if breaker.retry_at else "Disabled until edited"
        return "failing", word, _sentence(reasons.cooldown_reason(route, now))
    if breaker.failures:
        times = "Once" if breaker.failures <= 1 else f"{breaker.failures:g} times in a row"
        return "degraded", "Unstable", f"Failed {times.lower()}; paused after more failures."
    if breaker.proven:
        return "healthy", "Works", "The last request succeeded."
    return "unknown", "Not tried yet", "Not used yet."


@frozen
class ModelLine:
    """A failing model for a page, with the method or key it fails with."""

    model_id: str
    where: str
    status: str
    word: str
    sentence: str


def describe_failing_models(
    states: Iterable[DomainState], routes: Iterable[RouteState], now: datetime
) -> tuple[ModelLine, ...]:
    """The breakers of models in words, ordered by model."""
    methods = {route.route_id: route.method for route in routes}
    return tuple(
        _model_line(state, methods.get(state.domain.route_id), now)
        for state in sorted(states, key=lambda each: (each.domain.model_id, each.domain.route_id))
    )


def _model_line(state: DomainState, method: Method | None, now: datetime) -> ModelLine:
    status, word, sentence = describe_domain(state, now)
    return ModelLine(
        model_id=state.domain.model_id,
        where=f"{method} only" if method else "all connections with this key",
        status=status,
        word=word,
        sentence=sentence,
    )


def describe_domain(state: DomainState, now: datetime) -> tuple[str, str, str]:
    """Health value, word and sentence for a model or key that has failed."""
    breaker = state.breaker
    if breaker.state == State.CLOSED:
        times = "once" if breaker.failures <= 1 else f"{breaker.failures:g} times in a row"
        return "degraded", "Unstable", f"Failed {times}; paused after more failures."
    # The page shows the model's name beside it, and names are not capitalized.
    reason = reasons.domain_reason(state, now).removeprefix(f"{state.domain.model_id} ")
    sentence = _sentence(reason)
    if breaker.state == State.HALF_OPEN:
        return "degraded", "Half-open probe", sentence
    if breaker.retry_at is None:
        return "failing", "Disabled until edited", sentence
    return "failing", "Cooling down", sentence


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def format_age(now: datetime, then: datetime | None) -> str:
    if then is None:
        return "never"
    if (now - then).total_seconds() < 1:
        return "just now"
    return f"{reasons.format_elapsed(now, then)} ago"


def format_duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def format_tokens(count: int | None) -> str:
    if not count:
        return ""
    if count >= 1_000_000:
        return f"{count / 1_000_000:.3g}M"
    return f"{round(count / 1000)}k" if count >= 1000 else str(count)


def format_usd(amount: Decimal | None) -> str:
    """Four decimals below ten cents, else two; empty where unknown."""
    if amount is None:
        return ""
    if amount == 0:
        return "$0"
    return f"${amount:.2f}" if amount >= Decimal("0.1") else f"${amount:.4f}"


def format_wait(seconds: float | None) -> str:
    """How long to wait; empty where it is unknown."""
    if not seconds or seconds <= 0:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
