"""What a call reads from storage before it and writes after it, each in one synchronous function.

Before: the provider with its routes as frozen values and a target per route. After: the attempt's
row, the route's breaker and the provider's health. Real traffic, probes and tests all end in
`record`, so there is one truth about a route.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from providers import breaker, presets, routing
from providers.errors import CallError, ErrorKind
from providers.models import (
    Attempt,
    HealthStatus,
    LanguageModel,
    Provider,
    Purpose,
    Route,
    RoutingMethod,
)
from providers.types import AttemptRecord, Json, Kind, Method, Target, Timeouts, Upstream, Usage

TTFT_WEIGHT = 0.2  # of the newest figure in a route's moving average
# What a probe reports without a verdict on the route: its listing may need other rights than chat.
PROBE_SAYS_NOTHING = frozenset(
    {ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.RATE_LIMIT, ErrorKind.REQUEST}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per million tokens; None where unknown."""

    input: Decimal | None = None
    output: Decimal | None = None

    def cost(self, usage: Usage) -> Decimal | None:
        """USD of one call."""
        if self.input is None or self.output is None:
            return None
        return (self.input * usage.input_tokens + self.output * usage.output_tokens) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a provider is reached, stored or as typed into a form: addresses, keys, protocol."""

    preset: str
    kind: Kind
    base_url: str
    api_key: str = field(default="", repr=False)
    headers: Json = field(default_factory=dict, repr=False)
    gateway_endpoint: str = ""
    gateway_api_key: str = field(default="", repr=False)

    @property
    def endpoint(self) -> str:
        """The LiteLLM endpoint in force; empty for our own gateway process."""
        return self.gateway_endpoint or settings.LITELLM_ENDPOINT or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider as one call sees it: nothing here reaches back into storage."""

    provider_id: int
    name: str
    model_id: str
    policy: routing.Policy
    check_interval: timedelta
    routes: tuple[routing.RouteState, ...]
    targets: Mapping[int, Target]
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One finished attempt, as `record` takes it. `breaker` is the state in which it began."""

    candidate: Candidate
    attempt: AttemptRecord
    purpose: Purpose
    request_id: UUID
    breaker: breaker.Breaker
    error: CallError | None = None


def load(provider_id: int, model_id: str = "") -> Candidate | None:
    """The provider as a candidate; None where it is gone or switched off."""
    provider = Provider.objects.usable().filter(pk=provider_id).first()
    if provider is None:
        return None
    reached, routes = connection(provider), provider.ensure_routes()
    model = LanguageModel.objects.filter(provider=provider, model_id=model_id).first()
    return Candidate(
        provider_id=provider.pk,
        name=provider.name,
        model_id=model_id,
        policy=policy_of(provider),
        check_interval=timedelta(seconds=provider.health_check_interval),
        routes=tuple(state_of(route) for route in routes),
        targets={route.pk: target(reached, Method(route.method), model_id) for route in routes},
        prices=Prices(input=model.input_price, output=model.output_price) if model else Prices(),
    )


def connection(provider: Provider) -> Connection:
    """How a stored provider is reached."""
    return Connection(
        preset=provider.preset,
        kind=Kind(provider.kind),
        base_url=provider.base_url,
        api_key=provider.api_key,
        headers=_headers(provider),
        gateway_endpoint=provider.gateway_endpoint or "",
        gateway_api_key=provider.gateway_api_key,
    )


def _headers(provider: Provider) -> dict[str, str]:
    # An EncryptedJSONField reads as a dict; django-stubs sees the TextField below it.
    return cast(dict[str, str], provider.extra_headers or {})


def target(reached: Connection, method: Method, model_id: str = "") -> Target:
    """Where one attempt goes: the provider itself, a LiteLLM endpoint, or our gateway process."""
    times = timeouts(reached.preset)
    if method == Method.DIRECT:
        return Target(
            method=method,
            kind=reached.kind,
            base_url=reached.base_url,
            api_key=reached.api_key,
            model=model_id,
            timeouts=times,
            headers=reached.headers,
        )
    endpoint = reached.endpoint
    # The instance's key is for the instance's endpoint, not for one that somebody typed.
    is_instances = endpoint == settings.LITELLM_ENDPOINT
    key = reached.gateway_api_key or (settings.LITELLM_API_KEY if is_instances else "")
    return Target(
        method=method,
        kind=Kind.OPENAI,
        base_url=endpoint or settings.GATEWAY_URL,
        api_key=key if endpoint else settings.GATEWAY_TOKEN,
        model=model_id,
        timeouts=times,
        upstream=None if endpoint else _upstream(reached, model_id),
    )


def _upstream(reached: Connection, model_id: str) -> Upstream:
    prefix = presets.get(reached.preset).litellm_prefix
    return Upstream(
        litellm_model=f"{'anthropic' if reached.kind == Kind.ANTHROPIC else prefix}/{model_id}",
        base_url=reached.base_url,
        api_key=reached.api_key,
        headers=reached.headers,
    )


def timeouts(preset_slug: str) -> Timeouts:
    """The instance's time-outs, with the preset's own patience for the first token."""
    first_token = presets.get(preset_slug).first_token or settings.TIMEOUT_FIRST_TOKEN
    return Timeouts(
        connect=settings.TIMEOUT_CONNECT,
        first_token=first_token,
        silence=settings.TIMEOUT_SILENCE,
        total=settings.TIMEOUT_TOTAL,
    )


def claim_trial(route: routing.RouteState, now: datetime) -> breaker.Breaker | None:
    """The breaker under which a due trial may run; None where another process has it."""
    trial = breaker.on_trial(route.breaker, now)
    return trial if Route.objects.change(route.route_id, route.breaker, trial) else None


def record(result: Result) -> None:
    """Appends the attempt, moves the breaker, derives the health. Writes only what changed."""
    now = timezone.now()
    # None where the route was deleted while its call ran.
    route = Route.objects.filter(pk=result.attempt.route_id).first()
    _append(result, route)
    if route:
        _move_breaker(result, route, now)
    _refresh_health(result.candidate.provider_id, result.attempt, now)


def _append(result: Result, route: Route | None) -> None:
    attempt, usage = result.attempt, result.attempt.usage
    Attempt.objects.create(
        request_id=result.request_id,
        route=route,
        provider_id=result.candidate.provider_id,
        method=attempt.method.value,
        endpoint=attempt.endpoint,
        model_id=result.candidate.model_id,
        purpose=result.purpose,
        outcome=attempt.outcome,
        status=attempt.status,
        error_code=attempt.error_code[:100],
        error_message=attempt.error_message[:300],
        reason=attempt.reason[:300],
        ttft_ms=attempt.ttft_ms,
        duration_ms=attempt.duration_ms,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        usage_estimated=usage.estimated if usage else False,
        cost=attempt.cost,
        started_at=attempt.started_at,
    )


def _move_breaker(result: Result, route: Route, now: datetime) -> None:
    """Compare-and-set against the state now: a result of an earlier epoch changes nothing."""
    current = route.breaker
    if current.epoch == result.breaker.epoch:
        Route.objects.change(route.pk, current, _next(result, current, now))
    Route.objects.filter(pk=route.pk).update(**_last_seen(result, route, now))


def _next(result: Result, current: breaker.Breaker, now: datetime) -> breaker.Breaker:
    error = result.error
    if error is None:
        if result.attempt.outcome == ErrorKind.STOPPED:
            failure = breaker.Failure(kind=ErrorKind.STOPPED)
            return breaker.on_failure(current, failure, now)
        # A person's test on an open route is its own good trial.
        if result.purpose == Purpose.TEST:
            return breaker.Breaker(proven=True, epoch=current.epoch + 1)
        return breaker.on_success(current)
    if result.purpose == Purpose.PROBE and error.kind in PROBE_SAYS_NOTHING:
        return breaker.on_failure(current, breaker.Failure(kind=ErrorKind.STOPPED), now)
    failure = breaker.Failure(kind=error.kind, retry_after=error.retry_after)
    return breaker.on_failure(current, failure, now)


def _last_seen(result: Result, route: Route, now: datetime) -> dict[str, object]:
    attempt = result.attempt
    seen: dict[str, object] = {
        "last_outcome": attempt.outcome,
        "last_outcome_at": now,
        "last_error": attempt.error_message[:300],
    }
    if attempt.outcome == "ok":
        seen["last_success_at"] = now
        if attempt.ttft_ms is not None:
            old = attempt.ttft_ms if route.ttft_ms is None else route.ttft_ms
            seen["ttft_ms"] = old + TTFT_WEIGHT * (attempt.ttft_ms - old)
    return seen


def _refresh_health(provider_id: int, attempt: AttemptRecord, now: datetime) -> None:
    provider = Provider.objects.filter(pk=provider_id).first()
    if provider is None:
        return
    states = tuple(state_of(route) for route in provider.routes.all())
    _learn(provider, states, attempt, now)
    fresh = timedelta(seconds=settings.ROUTING_FRESH)
    health = routing.health_of(policy_of(provider), states, now, fresh)
    if health != provider.health_status:
        Provider.objects.filter(pk=provider.pk).update(health_status=HealthStatus(health))
    if attempt.failed:
        Provider.objects.filter(pk=provider.pk).update(
            consecutive_failures=F("consecutive_failures") + 1
        )
    elif provider.consecutive_failures and attempt.outcome == "ok":
        Provider.objects.filter(pk=provider.pk).update(consecutive_failures=0)


def _learn(
    provider: Provider,
    states: tuple[routing.RouteState, ...],
    attempt: AttemptRecord,
    now: datetime,
) -> None:
    """Remembers the method that works while the preferred one is open; forgets when it closes."""
    if provider.routing_method != RoutingMethod.AUTO or attempt.outcome != "ok":
        return
    wanted = routing.wanted(policy_of(provider))
    preferred_open = any(
        s.method == wanted and s.breaker.state != breaker.State.CLOSED for s in states
    )
    if attempt.method != wanted and preferred_open:
        Route.objects.filter(pk=attempt.route_id).update(learned_at=now)
    elif attempt.method == wanted and not preferred_open:
        provider.routes.exclude(learned_at=None).update(learned_at=None)


def estimated_usage(characters_in: int, characters_out: int) -> Usage:
    """Usage where the provider sent none: about four characters a token (OpenAI's rule of thumb,
    https://help.openai.com/en/articles/4936856)."""
    return Usage(
        input_tokens=math.ceil(characters_in / 4),
        output_tokens=math.ceil(characters_out / 4),
        estimated=True,
    )


def checked(provider_id: int, now: datetime) -> None:
    """Notes that a health check of the provider has ended."""
    Provider.objects.filter(pk=provider_id).update(last_health_check=now)


def policy_of(provider: Provider) -> routing.Policy:
    return routing.Policy(
        routing_method=provider.routing_method,
        provider_type=provider.provider_type,
        prefer_direct=provider.prefer_direct,
        fallback_enabled=provider.fallback_enabled,
    )


def state_of(route: Route) -> routing.RouteState:
    return routing.RouteState(
        route_id=route.pk,
        method=Method(route.method),
        endpoint=route.endpoint,
        breaker=route.breaker,
        learned_at=route.learned_at,
        last_outcome_at=route.last_outcome_at,
        ttft_ms=route.ttft_ms,
        # A LiteLLM proxy calls upstream with the key of its own configuration.
        own_key=bool(route.endpoint),
    )


def patient(target: Target, *, last: bool, remaining: float) -> Target:
    """The target with the patience this attempt may have: more on the last route, never past
    the request's deadline."""
    times = target.timeouts
    first = max(times.first_token, settings.TIMEOUT_FIRST_TOKEN_LAST) if last else times.first_token
    return replace(
        target,
        timeouts=replace(
            times, first_token=min(first, remaining), total=min(times.total, remaining)
        ),
    )
