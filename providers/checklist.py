"""The test a person watches: every stage of both roads at the same time, told as it happens.

All is written down at the end, together: a test that is abandoned leaves nothing behind.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from providers import database, flights, probing, records
from providers.errors import CallError, restored, told
from providers.models import Purpose
from providers.road import Road
from providers.routes import RouteState
from providers.snapshot import Candidate
from providers.stages import Draft, Stage
from providers.transcript import Exchange
from providers.types import AttemptRecord, Method


async def check(draft: Draft) -> AsyncGenerator[Stage]:
    """The test of both roads side by side; stages come as they begin and as they end.

    Those who test the same at the same time watch one test, from its beginning. Raises FlightBroken
    where the process that ran it is gone.
    """
    counts_for = draft.stored.provider_id if draft.stored else None
    flight = flights.name("test", asdict(draft.connection), draft.model_id, counts_for)
    async with aclosing(flights.join(flight, partial(_check, draft))) as pieces:
        async for piece in pieces:
            yield _read(piece)


async def _check(draft: Draft) -> AsyncGenerator[bytes]:
    async with aclosing(_check_roads(draft)) as stages:
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
    stages: asyncio.Queue[Stage | None] = asyncio.Queue()
    chats = asyncio.Semaphore(draft.at_once)
    roads = [Road(draft, method, stages.put_nowait, chats) for method in Method]

    async def walk_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for road in roads:
                    group.create_task(road.walk())
            if draft.stored:
                await database.run(_write_down, draft.stored, roads)
        finally:
            stages.put_nowait(None)

    walking = asyncio.create_task(walk_all())
    try:
        while (stage := await stages.get()) is not None:
            yield stage
        await walking
    finally:
        walking.cancel()


def _write_down(stored: Candidate, roads: Sequence[Road]) -> None:
    """A test of an unchanged provider is evidence like any other; of both roads, it also shows what
    sort of provider it is."""
    records.record_all([result for road in roads for result in _results(stored, road)])
    if all(road.error or road.answer for road in roads):
        direct, gateway = (road.error for road in roads)
        records.classify(stored.provider_id, direct, gateway)


def _results(stored: Candidate, road: Road) -> list[records.Result]:
    return [
        probing.result(stored, route, Purpose.TEST, _attempt(stored, route, road), road.error)
        for route in stored.routes
        if route.method == road.method and not route.spare and (road.error or road.answer)
    ]


def _attempt(stored: Candidate, route: RouteState, road: Road) -> AttemptRecord:
    """The road's last call; with the figures of its chat, if it had one."""
    attempt = probing.ended(route, road.began, road.error, Purpose.TEST)
    attempt = replace(attempt, started_at=road.began_at, duration_ms=road.ms)
    if not (answer := road.answer):
        return attempt
    usage = answer.usage
    cost = stored.prices.cost(usage) if usage else None
    return replace(attempt, ttft_ms=answer.ttft_ms, usage=usage, cost=cost)
