"""The test a person watches: every stage of both routes at the same time, told as it happens.

All is written down at the end, together: a test that is abandoned leaves nothing behind.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from uuid import uuid4

from providers.clients.recorder import Exchange
from providers.connection_test.model_test import ModelTest
from providers.connection_test.provider_test import Road
from providers.connection_test.stages import Draft, Stage, Walked
from providers.connection_test.test_chat import Answer
from providers.domain.errors import CallError, restored, told
from providers.domain.types import AttemptRecord, Method
from providers.infra import database, single_flight
from providers.models import Purpose
from providers.policy.route_state import RouteState
from providers.probes import probe
from providers.router import attempt_writer
from providers.router.snapshot import Candidate

type Say = Callable[[Stage], None]


def check(draft: Draft) -> AsyncGenerator[Stage]:
    """The test of both routes side by side; stages come as they begin and as they end."""
    return _shared("test", draft, "", partial(_check_roads, draft))


def check_model(draft: Draft, method: Method) -> AsyncGenerator[Stage]:
    """The test of one stored model over one route."""
    return _shared("test-model", draft, method.value, partial(_check_model, draft, method))


async def _shared(
    topic: str, draft: Draft, more: str, run: Callable[[], AsyncGenerator[Stage]]
) -> AsyncGenerator[Stage]:
    """Those who test the same at the same time watch one test, from its beginning. Raises
    FlightBroken where the process that ran it is gone."""
    counts_for = draft.stored.provider_id if draft.stored else None
    flight = single_flight.name(topic, asdict(draft.connection), draft.model_id, counts_for, more)
    async with aclosing(single_flight.join(flight, partial(_written, run))) as pieces:
        async for piece in pieces:
            yield _read(piece)


async def _written(run: Callable[[], AsyncGenerator[Stage]]) -> AsyncGenerator[bytes]:
    async with aclosing(run()) as stages:
        async for stage in stages:
            error = told(stage.error) if stage.error else None
            yield json.dumps(asdict(replace(stage, error=None)) | {"error": error}).encode()


def _read(piece: bytes) -> Stage:
    fields: dict[str, Any] = json.loads(piece)
    if fields["error"]:
        fields["error"] = restored(fields["error"], CallError)
    if fields["exchange"]:
        fields["exchange"] = Exchange.restored(fields["exchange"])
    return Stage(**fields | {"method": Method(fields["method"])})


async def _check_roads(draft: Draft) -> AsyncGenerator[Stage]:
    chats = asyncio.Semaphore(draft.at_once)

    async def walk(say: Say) -> None:
        roads = [Road(draft, method, say, chats) for method in Method]
        async with asyncio.TaskGroup() as group:
            for road in roads:
                group.create_task(road.walk())
        if draft.stored:
            await database.run(_write_down, draft.stored, roads)

    async with aclosing(_as_told(walk)) as stages:
        async for stage in stages:
            yield stage


async def _check_model(draft: Draft, method: Method) -> AsyncGenerator[Stage]:
    async def walk(say: Say) -> None:
        test = ModelTest(draft, method, say)
        await test.walk()
        if draft.stored:
            await database.run(_write_down_model, draft.stored, test)

    async with aclosing(_as_told(walk)) as stages:
        async for stage in stages:
            yield stage


async def _as_told(walk: Callable[[Say], Awaitable[None]]) -> AsyncGenerator[Stage]:
    """What is said while the walk goes on, which ends with its reader."""
    said: asyncio.Queue[Stage | None] = asyncio.Queue()

    async def walked() -> None:
        try:
            await walk(said.put_nowait)
        finally:
            said.put_nowait(None)

    walking = asyncio.create_task(walked())
    try:
        while (stage := await said.get()) is not None:
            yield stage
        await walking
    finally:
        walking.cancel()


def _write_down(stored: Candidate, roads: Sequence[Road]) -> None:
    """A test of an unchanged provider is evidence like any other; of both routes, it also shows
    what sort of provider it is."""
    attempt_writer.write_results([result for road in roads for result in _results(stored, road)])
    if all(road.error or road.answer for road in roads):
        direct, gateway = (road.error for road in roads)
        attempt_writer.classify(stored.provider_id, direct, gateway)


def _write_down_model(stored: Candidate, test: ModelTest) -> None:
    """The first chat is evidence; the others are written down for what they used."""
    first = _results(stored, test)
    further = [
        replace(
            result,
            attempt=_with_figures(result.attempt, stored, answer),
            evidence=None,
            request_id=uuid4(),
        )
        for answer in test.further
        for result in first
    ]
    attempt_writer.write_results([*first, *further])


def _results(stored: Candidate, road: Walked) -> list[attempt_writer.Result]:
    return [
        probe.result(
            replace(stored, model_id=road.model_id),
            route,
            Purpose.TEST,
            _attempt(stored, route, road),
            road.error,
        )
        for route in stored.routes
        if route.method == road.method and not route.spare and (road.error or road.answer)
    ]


def _attempt(stored: Candidate, route: RouteState, road: Walked) -> AttemptRecord:
    """The route's last call; with the figures of its chat, if it had one."""
    attempt = probe.ended(route, road.began, road.error, Purpose.TEST)
    attempt = replace(attempt, started_at=road.began_at, duration_ms=road.ms)
    return _with_figures(attempt, stored, road.answer) if road.answer else attempt


def _with_figures(attempt: AttemptRecord, stored: Candidate, answer: Answer) -> AttemptRecord:
    usage = answer.usage
    cost = stored.prices.cost(usage) if usage else None
    return replace(attempt, duration_ms=answer.ms, ttft_ms=answer.ttft_ms, usage=usage, cost=cost)
