"""The deadlines of a call, and the one timer for all its waits, on a clock that jumps."""

import asyncio
from collections.abc import Callable

import pytest

from providers.clients.deadlines import Deadlines, Timer
from providers.domain.errors import CallError
from providers.domain.types import Timeouts
from tests import virtual_time

TIMES = Timeouts(connect=1, first_token=10, silence=5, total=100)


def clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


def test_one_timer_ends_each_wait_in_its_time() -> None:
    """Put off as it rings, brought forward at once."""

    async def main() -> list[float]:
        now, ends = clock(), []
        timer = Timer(now)
        for seconds in (5, 15, 2):
            with pytest.raises(TimeoutError):
                await timer.wait(asyncio.Event().wait(), now() + seconds)
            ends.append(now())
            assert await timer.wait(asyncio.sleep(0, "there"), now() + 500) == "there"
        return ends

    assert virtual_time.run(main()) == [5, 20, 22]


def test_a_cancelled_wait_is_cancelled_and_not_late() -> None:
    """Another's cancelling stays what it is."""

    async def main() -> None:
        timer = Timer(clock())
        waiting = asyncio.create_task(timer.wait(asyncio.Event().wait(), 5))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        timer.stop()

    virtual_time.run(main())


def test_content_ends_a_silence_and_nothing_else_does() -> None:
    """A silence is counted from the last content, however often the call waits meanwhile."""

    async def main() -> float:
        now = clock()
        deadlines = Deadlines(TIMES, now=now)
        for _ in range(3):
            deadlines.begun = deadlines.heard = True
            await deadlines.wait(virtual_time.elapse(4))
        await deadlines.wait(virtual_time.elapse(0.5))  # no content
        with pytest.raises(CallError) as caught:
            await deadlines.wait(asyncio.Event().wait())
        assert caught.value.code == "silence_timeout"
        return now()

    assert virtual_time.run(main()) == 13


def test_a_slow_reader_is_no_silence_of_the_provider() -> None:
    """The silence begins with the wait, not with the content before it."""

    async def main() -> None:
        deadlines = Deadlines(TIMES, now=clock())
        for _ in range(3):
            deadlines.begun = deadlines.heard = True
            await virtual_time.elapse(20)
            await deadlines.wait(virtual_time.elapse(4))

    virtual_time.run(main())


def test_the_total_ends_an_answer_that_never_falls_silent() -> None:
    """A slow drip."""

    async def main() -> float:
        now = clock()
        deadlines = Deadlines(TIMES, now=now)
        for _ in range(33):
            deadlines.begun = deadlines.heard = True
            await deadlines.wait(virtual_time.elapse(3))
        with pytest.raises(CallError) as caught:
            await deadlines.wait(virtual_time.elapse(3))
        assert caught.value.code == "total_timeout"
        return now()

    assert virtual_time.run(main()) == 100
