"""The probe that keeps health true: a synthetic call over each route that would tell something.

It takes the routes that real traffic takes and ends in `attempt_writer.write_results`. A probe is
`GET /models`, which is free and allowed by every vendor's terms; a short chat follows only where
the operator pays for it.
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
    FoundModel,
    Target,
)
from providers.infra import database
from providers.models import Provider, Purpose, connection
from providers.policy.route_state import RouteState
from providers.probes import probe_plan
from providers.probes.probe_plan import Probe
from providers.router import attempt_writer, snapshot
from providers.router.attempt import AttemptTracker

# 16 tokens are the least that OpenAI takes; a smaller limit is refused there with 400.
SHORT_CHAT = ChatRequest(
    messages=(ChatMessage(role="user", content="Say OK."),), options={"max_tokens": 16}
)
PROBE_SECONDS = 15.0  # a probe's total: a provider that lists its models slower than this is ill


async def probe(provider_id: int) -> None:
    """Checks a provider by itself and records what was found, unless its check is under way."""
    due = await database.run(Provider.objects.all().claim_due, timezone.now(), only=provider_id)
    for each in await database.run(probe_plan.load, due):
        await database.run(attempt_writer.write_results, await ask(each))
    await database.run(attempt_writer.checked, due, timezone.now())


async def ask(probe: Probe) -> list[attempt_writer.Result]:
    """What each of a probe's routes answered; all are asked at the same time."""
    return await asyncio.gather(*(_ask_route(probe, route) for route in probe.routes))


async def _ask_route(probe: Probe, route: RouteState) -> attempt_writer.Result:
    stopwatch = Stopwatch()
    _, error = await catalogue(probe.candidate.target(route))
    attempt = build_attempt(route, Purpose.PROBE, stopwatch.started_at, stopwatch.ms, error)
    listed = result(probe.candidate, route, Purpose.PROBE, attempt, error)
    # Some list no models and chat all the same.
    if probe.chat and (error is None or error.kind == ErrorKind.REQUEST):
        chat, refused = await _chat(probe.chat, route)
        # A chat that this model does not take as it is says nothing of the route; the list does.
        return listed if refused and error is None else chat
    return listed


async def _chat(
    candidate: snapshot.Candidate, route: RouteState
) -> tuple[attempt_writer.Result, bool]:
    """Asks for a few tokens, to the end: what it cost is in its last event. And whether the request
    was refused for what it asks."""
    tally = AttemptTracker(
        candidate=candidate,
        route=route,
        target=with_probe_timeouts(candidate.target(route)),
        reason=f"{route.method}: {Purpose.PROBE}",
        fallback=False,
        position=1,
        request=SHORT_CHAT,
    )
    try:
        async with aclosing(methods.stream_events(tally.target, SHORT_CHAT)) as events:
            async for event in events:
                tally.take([event])
    except CallError as exc:
        tally.error = None if exc.code == "empty" else exc  # a model may think for longer than that
    refused = tally.error is not None and tally.error.kind == ErrorKind.REQUEST
    return result(candidate, route, Purpose.PROBE, tally.record(), tally.error), refused


def with_probe_timeouts(target: Target) -> Target:
    """With a probe's patience."""
    return connection.capped(target, PROBE_SECONDS)


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


def result(
    candidate: snapshot.Candidate,
    route: RouteState,
    purpose: Purpose,
    attempt: AttemptRecord,
    error: CallError | None,
) -> attempt_writer.Result:
    """A call that was asked for by itself, as it is written down."""
    return attempt_writer.Result(
        provider_id=candidate.provider_id,
        model_id=candidate.model_id,
        attempt=attempt,
        purpose=purpose,
        request_id=uuid.uuid4(),
        evidence=attempt_writer.evidence(attempt, route, candidate.model_id, purpose, error),
    )


async def catalogue(target: Target) -> tuple[list[FoundModel], CallError | None]:
    """What is listed, or why nothing is."""
    try:
        return await methods.list_models(with_probe_timeouts(target)), None
    except CallError as exc:
        return [], exc


def ms_since(began: float) -> int:
    """Milliseconds since that `time.monotonic()`."""
    return round((time.monotonic() - began) * 1000)
