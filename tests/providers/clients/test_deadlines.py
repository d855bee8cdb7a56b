"""One timer for all waits of a call."""

import asyncio
import time

import pytest

from providers.clients.deadlines import Timer


async def test_one_timer_ends_each_wait_in_its_time() -> None:
    """Put off as it rings, brought forward at once; another's cancelling stays what it is."""
    timer = Timer()
    began = time.monotonic()
    for wait in (0.05, 0.15, 0.02):
        with pytest.raises(TimeoutError):
            await timer.wait(asyncio.Event().wait(), time.monotonic() + wait)
        assert await timer.wait(asyncio.sleep(0, "there"), time.monotonic() + 5) == "there"
    assert 0.2 < time.monotonic() - began < 5
    waiting = asyncio.create_task(timer.wait(asyncio.Event().wait(), time.monotonic() + 5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    timer.stop()
