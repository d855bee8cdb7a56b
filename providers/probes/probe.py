"""Send probes: synthetic calls over routes whose health is not known from traffic.

A probe is `GET /models`, which is free and allowed by every vendor's terms; a short chat follows
only where the operator pays for it. Results are recorded like those of requests.
"""

import asyncio
import time
import uuid
from contextlib import aclosing
from datetime import datetime

from django.utils import timezone

from providers.clients import methods
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import (
    AttemptRecord,
    ChatMessage,
    ChatRequest,
    DiscoveredModel,
    Target,
)
from providers.infra import database
from providers.models import Provider, Purpose, connection
from providers.policy.route_state import RouteState
from providers.probes import probe_plan
from providers.probes.probe_plan import Probe
from providers.router import attempt_writer, snapshot
from providers.router.attempt import AttemptTracker
from providers.router.results import Result, build_outcome

# OpenAI refuses a limit below 16 tokens with 400.
SHORT_CHAT = ChatRequest(
    messages=(ChatMessage(role="user", content="Say OK."),), options={"max_tokens": 16}
)
PROBE_SECONDS = 15.0  # in all: a provider that needs longer to list its models is not healthy


async def check_provider(provider_id: int) -> None:
    """Check one provider now and record the results, unless a check of it is under way."""
    due = await database.run(Provider.objects.all().claim_due, timezone.now(), only=provider_id)
    for probe in await database.run(probe_plan.plan_probes, due):
        await database.run(attempt_writer.write_results, await send_probe(probe))
    await database.run(attempt_writer.mark_checked, due, timezone.now())


async def send_probe(probe: Probe) -> list[Result]:
    """Call all routes of a probe at the same time; return a result for each."""
    return await asyncio.gather(*(_probe_route(probe, route) for route in probe.routes))


async def _probe_route(probe: Probe, route: RouteState) -> Result:
    stopwatch = Stopwatch()
    _, error = await try_list_models(probe.candidate.target(route))
    attempt = build_attempt(route, Purpose.PROBE, stopwatch.started_at, stopwatch.ms, error)
    listed = build_result(probe.candidate, route, Purpose.PROBE, attempt, error)
    # Some providers do not list models, but chat.
    if probe.chat and (error is None or error.kind == ErrorKind.REQUEST):
        chat, refused = await _send_chat(probe.chat, route)
        # A request that this model refuses shows nothing about the route; the list does.
        return listed if refused and error is None else chat
    return listed


async def _send_chat(candidate: snapshot.Candidate, route: RouteState) -> tuple[Result, bool]:
    """Send a short chat and read it to the end, as usage comes last. Also return whether the
    request itself was refused."""
    tracker = AttemptTracker(
        candidate=candidate,
        route=route,
        target=with_probe_timeouts(candidate.target(route)),
        reason=f"{route.method}: {Purpose.PROBE}",
        fallback=False,
        position=1,
        request=SHORT_CHAT,
    )
    try:
        async with aclosing(methods.stream_events(tracker.target, SHORT_CHAT)) as events:
            async for event in events:
                tracker.take([event])
    except CallError as exc:
        tracker.error = None if exc.code == "empty" else exc  # reasoning may use up the tokens
    refused = tracker.error is not None and tracker.error.kind == ErrorKind.REQUEST
    return build_result(candidate, route, Purpose.PROBE, tracker.record(), tracker.error), refused


def with_probe_timeouts(target: Target) -> Target:
    """Cap the target's timeouts at those of a probe."""
    return connection.with_total_timeout(target, PROBE_SECONDS)


class Stopwatch:
    """When a call started, and how long ago that is."""

    def __init__(self) -> None:
        self.started_at = timezone.now()
        self._began = time.monotonic()

    @property
    def ms(self) -> int:
        return ms_since(self._began)


def build_attempt(
    route: RouteState,
    purpose: Purpose,
    started_at: datetime,
    duration_ms: int,
    error: CallError | None,
) -> AttemptRecord:
    """The attempt of a synthetic call over a route."""
    return AttemptRecord(
        route_id=route.route_id,
        method=route.method,
        endpoint=route.endpoint,
        outcome=error.kind.value if error else "ok",
        reason=f"{route.method}: {purpose}",
        started_at=started_at,
        duration_ms=duration_ms,
        status=error.status if error else None,
        error_code=error.code if error else "",
        error_message=error.message if error else "",
    )


def build_result(
    candidate: snapshot.Candidate,
    route: RouteState,
    purpose: Purpose,
    attempt: AttemptRecord,
    error: CallError | None,
) -> Result:
    """The result of a synthetic call, to be recorded."""
    return Result(
        provider_id=candidate.provider_id,
        model_id=candidate.model_id,
        attempt=attempt,
        purpose=purpose,
        request_id=uuid.uuid4(),
        outcome=build_outcome(attempt, route, candidate.model_id, purpose, error),
    )


async def try_list_models(target: Target) -> tuple[list[DiscoveredModel], CallError | None]:
    """The list of models, or the error."""
    try:
        return await methods.list_models(with_probe_timeouts(target)), None
    except CallError as exc:
        return [], exc


def ms_since(began: float) -> int:
    """Milliseconds since a `time.monotonic()`."""
    return round((time.monotonic() - began) * 1000)
