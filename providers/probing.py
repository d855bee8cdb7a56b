"""Synthetic calls: the probe that keeps health true, and the test a person watches step by step.

Both take the roads that real traffic takes and end in `records.record_all`; neither knows a
shortcut. A probe is `GET /models`, which is free and allowed by every vendor's terms; a chat of one
token follows only where the operator pays for it. A person's test also sends one short chat.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Literal

from django.utils import timezone

from providers import (
    database,
    direct,
    flights,
    gateway,
    probes,
    records,
    router,
    snapshot,
    targets,
)
from providers.errors import CallError, ErrorKind, restored, told
from providers.models import Provider, Purpose
from providers.probes import Probe
from providers.routes import RouteState
from providers.tally import Tally
from providers.types import (
    AttemptRecord,
    ChatMessage,
    ChatRequest,
    FoundModel,
    Method,
    ReasoningDelta,
    Target,
    TextDelta,
    ToolCallDelta,
)

TEST_REQUEST = ChatRequest(
    messages=(ChatMessage(role="user", content="Say OK."),), options={"max_tokens": 16}
)
PROBE_REQUEST = replace(TEST_REQUEST, options={"max_tokens": 1})
PROBE_SECONDS = 15.0  # a probe's total: a provider that lists its models slower than this is ill

type StepName = Literal["connect", "models", "chat"]
type StepState = Literal["running", "ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A provider's form as it stands, saved or not. `stored` is its candidate where the form is
    unchanged, so that the test's results count for its routes."""

    connection: targets.Connection
    model_id: str = ""
    stored: snapshot.Candidate | None = None

    def target(self, method: Method, model_id: str = "") -> Target:
        """A test's target: patient to the first token, and not for long after it."""
        target = targets.target(self.connection, method, model_id)
        times = target.timeouts
        total = min(times.total, times.first_token + PROBE_SECONDS)
        return replace(target, timeouts=replace(times, total=total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the test's checklist. `ms` and `detail` are set once it is over."""

    method: Method
    name: StepName
    state: StepState
    detail: str = ""
    ms: int | None = None
    error: CallError | None = None


async def list_models(target: Target) -> list[FoundModel]:
    """The catalogue over a target's road."""
    if target.method == Method.DIRECT:
        return await direct.list_models(target)
    return await gateway.list_models(target)


async def probe(provider_id: int) -> None:
    """Checks a provider by itself and records what was found, unless its check is under way."""
    due = await database.run(Provider.objects.all().claim_due, timezone.now(), only=provider_id)
    for each in await database.run(probes.load, due):
        await database.run(records.record_all, await ask(each))
    await database.run(records.checked, due, timezone.now())


async def ask(probe: Probe) -> list[records.Result]:
    """What each of a probe's routes answered; all are asked at the same time."""
    return await asyncio.gather(*(_ask_route(probe, route) for route in probe.routes))


async def _ask_route(probe: Probe, route: RouteState) -> records.Result:
    began = time.monotonic()
    _, error = await _catalogue(probe.candidate.target(route))
    # Some list no models and chat all the same.
    if probe.chat and (error is None or error.kind == ErrorKind.REQUEST):
        return await _chat(probe.chat, route)
    return _result(probe.candidate, route, Purpose.PROBE, _ended(route, began, error), error)


async def _chat(candidate: snapshot.Candidate, route: RouteState) -> records.Result:
    """Asks for one token, to the end: what it cost is in its last event."""
    tally = Tally(
        candidate=candidate,
        route=route,
        target=_hurried(candidate.target(route)),
        reason=f"{route.method}: {Purpose.PROBE}",
        fallback=False,
        position=1,
        request=PROBE_REQUEST,
    )
    try:
        async with aclosing(router.client(tally.target, PROBE_REQUEST)) as events:
            async for event in events:
                tally.take([event])
    except CallError as exc:
        tally.error = None if exc.code == "empty" else exc  # one token may be no word yet
    return _result(candidate, route, Purpose.PROBE, tally.record(), tally.error)


def _hurried(target: Target) -> Target:
    times = target.timeouts
    return replace(target, timeouts=replace(times, first_token=PROBE_SECONDS, total=PROBE_SECONDS))


def _ended(
    route: RouteState, began: float, error: CallError | None, purpose: Purpose = Purpose.PROBE
) -> AttemptRecord:
    """A call that began at that `time.monotonic()` and has just ended, as an attempt."""
    duration_ms = _ms(began)
    return AttemptRecord(
        route_id=route.route_id,
        method=route.method,
        endpoint=route.endpoint,
        outcome=error.kind.value if error else "ok",
        reason=f"{route.method}: {purpose}",
        started_at=timezone.now() - timedelta(milliseconds=duration_ms),
        duration_ms=duration_ms,
        status=error.status if error else None,
        error_code=error.code if error else "",
        error_message=error.message if error else "",
    )


def _result(
    candidate: snapshot.Candidate,
    route: RouteState,
    purpose: Purpose,
    attempt: AttemptRecord,
    error: CallError | None,
) -> records.Result:
    return records.Result(
        provider_id=candidate.provider_id,
        model_id=candidate.model_id,
        attempt=attempt,
        purpose=purpose,
        request_id=uuid.uuid4(),
        evidence=records.evidence(attempt, route.breaker.epoch, purpose, error),
    )


async def check(draft: Draft) -> AsyncGenerator[Step]:
    """The test of both roads side by side; steps come as they begin and as they end.

    Those who test the same at the same time watch one test, from its beginning. Raises FlightBroken
    where the process that ran it is gone.
    """
    counts_for = draft.stored.provider_id if draft.stored else None
    flight = flights.name("test", asdict(draft.connection), draft.model_id, counts_for)
    async with aclosing(flights.join(flight, partial(_check, draft))) as pieces:
        async for piece in pieces:
            yield _read_step(piece)


async def _check(draft: Draft) -> AsyncGenerator[bytes]:
    async with aclosing(_check_roads(draft)) as steps:
        async for step in steps:
            error = told(step.error) if step.error else None
            yield json.dumps(asdict(replace(step, error=None)) | {"error": error}).encode()


def _read_step(piece: bytes) -> Step:
    fields = json.loads(piece)
    error = restored(fields["error"], CallError) if fields["error"] else None
    return Step(**fields | {"method": Method(fields["method"]), "error": error})


async def _check_roads(draft: Draft) -> AsyncGenerator[Step]:
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    failures: dict[Method, CallError | None] = {}

    async def walk(method: Method) -> None:
        async for step in _check_road(draft, method):
            steps.put_nowait(step)
            if step.state == "failed" or (step.name, step.state) == ("chat", "ok"):
                failures[method] = step.error

    async def walk_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for method in Method:
                    group.create_task(walk(method))
            await _classify(draft, failures)
        finally:
            steps.put_nowait(None)

    walking = asyncio.create_task(walk_all())
    try:
        while (step := await steps.get()) is not None:
            yield step
        await walking
    finally:
        walking.cancel()


async def _check_road(draft: Draft, method: Method) -> AsyncGenerator[Step]:
    yield Step(method=method, name="connect", state="running")
    began = time.monotonic()
    found, error = await _catalogue(draft.target(method))
    if error and error.kind in (ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.GATEWAY):
        yield _failed(method, "connect", began, error)
        yield Step(method=method, name="models", state="skipped")
        yield Step(method=method, name="chat", state="skipped")
        await _count(draft, method, began, error)
        return
    yield Step(method=method, name="connect", state="ok", ms=_ms(began))
    if error:
        yield _failed(method, "models", began, error)
    else:
        yield Step(
            method=method,
            name="models",
            state="ok",
            ms=_ms(began),
            detail=f"{len(found)} model{'' if len(found) == 1 else 's'}",
        )
    async for step in _check_chat(draft, method, found, began, error):
        yield step


async def _catalogue(target: Target) -> tuple[list[FoundModel], CallError | None]:
    try:
        return await list_models(_hurried(target)), None
    except CallError as exc:
        return [], exc


def chat_model(found: list[FoundModel]) -> str:
    """The id of the first model that looks as if it chats; empty where nothing is listed."""
    ids = [model.model_id for model in found]
    return next(iter([each for each in ids if probes.chats(each)] or ids), "")


async def _check_chat(
    draft: Draft,
    method: Method,
    found: list[FoundModel],
    began: float,
    listing_error: CallError | None,
) -> AsyncGenerator[Step]:
    model_id = draft.model_id or chat_model(found)
    if not model_id:
        yield Step(
            method=method, name="chat", state="skipped", detail="No model is known to ask yet."
        )
        if listing_error:
            await _count(draft, method, began, listing_error)
        return
    yield Step(method=method, name="chat", state="running", detail=model_id)
    began = time.monotonic()
    error = await _one_token(draft.target(method, model_id))
    await _count(draft, method, began, error)
    if error:
        yield _failed(method, "chat", began, error)
    else:
        yield Step(method=method, name="chat", state="ok", ms=_ms(began), detail=model_id)


async def _one_token(target: Target) -> CallError | None:
    """Asks for one short answer and leaves after its first content."""
    try:
        async with aclosing(router.client(target, TEST_REQUEST)) as events:
            async for event in events:
                if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
                    return None
    except CallError as exc:
        # A reasoning model may use up the few tokens before it says a word: it did answer.
        return None if exc.code == "empty" else exc
    return None


async def _count(draft: Draft, method: Method, began: float, error: CallError | None) -> None:
    """A test of an unchanged provider is evidence like any other."""
    if draft.stored is None:
        return
    for route in draft.stored.routes:
        if route.method == method:
            attempt = _ended(route, began, error, Purpose.TEST)
            result = _result(draft.stored, route, Purpose.TEST, attempt, error)
            await database.run(records.record_all, [result])


async def _classify(draft: Draft, failures: dict[Method, CallError | None]) -> None:
    """A test of a stored provider whose both roads were asked shows what sort it is."""
    if draft.stored and len(failures) == len(Method):
        direct_, gateway_ = failures[Method.DIRECT], failures[Method.GATEWAY]
        await database.run(records.classify, draft.stored.provider_id, direct_, gateway_)


def _failed(method: Method, name: StepName, began: float, error: CallError) -> Step:
    return Step(
        method=method,
        name=name,
        state="failed",
        ms=_ms(began),
        detail=error.message,
        error=error,
    )


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
