"""Run a test and yield its stages as they happen; equal tests at the same time share one run.

Results are recorded together when the test has ended: one that is abandoned leaves nothing behind.
A test is a value with `run(emit)`, which returns its results; only this module knows who watches,
which process runs it and what is stored.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from functools import partial

from providers.connection_test import recording
from providers.connection_test.model_test import ModelTest
from providers.connection_test.provider_test import ProviderTest
from providers.connection_test.stages import Emit, Stage
from providers.infra import database, single_flight

type Test = ProviderTest | ModelTest


async def run(test: Test) -> AsyncGenerator[Stage]:
    """Yield the stages of a test from its beginning, also where somebody else started it.

    Raises RunInterrupted where the process that ran it is gone.
    """
    async with aclosing(single_flight.join(run_key(test), partial(_execute, test))) as pieces:
        async for piece in pieces:
            yield Stage.from_json(piece)


def run_key(test: Test) -> str:
    """Equal for tests of the same values, with results that count for the same provider."""
    draft = test.draft
    provider_id = draft.stored.provider_id if draft.stored else None
    topic = "test-model" if isinstance(test, ModelTest) else "test"
    method = test.method if isinstance(test, ModelTest) else ""
    return single_flight.name(topic, asdict(draft.connection), draft.model_id, provider_id, method)


async def _execute(test: Test) -> AsyncGenerator[bytes]:
    """Run the test in a task of its own, which ends with its reader."""
    stages: asyncio.Queue[Stage | None] = asyncio.Queue()
    task = asyncio.create_task(_run_and_record(test, stages.put_nowait))
    task.add_done_callback(lambda _: stages.put_nowait(None))
    try:
        while stage := await stages.get():
            yield stage.to_json()
        await task  # raises what the test raised
    finally:
        task.cancel()


async def _run_and_record(test: Test, emit: Emit) -> None:
    results = await test.run(emit)
    if test.draft.stored:
        await database.run(recording.record, test.draft.stored, results)
