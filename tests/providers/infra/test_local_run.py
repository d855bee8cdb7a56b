"""One process's copy of a run, read by several callers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from providers.domain.errors import RunInterrupted
from providers.infra import single_flight_leader
from providers.infra.local_run import LocalRun

PIECES = [b"one ", b"two ", b"three"]


class Source:
    """Pieces, each of which is handed out only once it is released."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.released = asyncio.Semaphore(0)
        self.taken = 0
        self.closed = False

    def release(self, count: int) -> None:
        for _ in range(count):
            self.released.release()

    async def __call__(self) -> AsyncGenerator[bytes]:
        try:
            for piece in self.pieces:
                await self.released.acquire()
                self.taken += 1
                yield piece
            if self.error:
                raise self.error
        finally:
            self.closed = True


async def heard(pieces: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


async def settle() -> None:
    """Lets every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_reader_has_all_of_it_whenever_it_comes() -> None:
    """At its own pace."""
    source = Source(*PIECES)
    run = LocalRun(source())
    first = run.read()
    source.release(2)
    assert [await anext(first), await anext(first)] == PIECES[:2]
    late = run.read()
    assert await anext(late) == PIECES[0]
    source.release(1)
    assert await heard(first) == b"three"
    assert run.has_ended
    assert await heard(late) == b"two three"


async def test_all_readers_get_the_error() -> None:
    """After what came before it."""
    source = Source(*PIECES, error=ZeroDivisionError())
    run = LocalRun(source())
    source.release(3)
    readers = [asyncio.create_task(heard(run.read())) for _ in range(5)]
    for caught in await asyncio.gather(*readers, return_exceptions=True):
        assert isinstance(caught, ZeroDivisionError)


async def test_it_ends_with_its_last_reader() -> None:
    """And not with one before."""
    source = Source(*PIECES)
    run = LocalRun(source())
    first, second = run.read(), run.read()
    source.release(1)
    assert [await anext(first), await anext(second)] == [PIECES[0]] * 2
    await first.aclose()
    assert (source.closed, run.has_ended) == (False, False)
    await second.aclose()
    assert (source.closed, run.has_ended) == (True, True)


async def test_a_cancelled_reader_leaves_the_others_alone() -> None:
    """Its caller hung up while it waited."""
    source = Source(*PIECES)
    run = LocalRun(source())
    leaving = asyncio.create_task(heard(run.read()))
    staying = asyncio.create_task(heard(run.read()))
    await settle()
    leaving.cancel()
    source.release(3)
    assert await staying == b"one two three"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_of_a_long_run_the_oldest_reader_alone_has_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory is bounded: the run waits for that reader, and the others fail."""
    monkeypatch.setattr(single_flight_leader, "MAX_BYTES", 1000)
    source = Source(*[b"x" * 300] * 20)
    run = LocalRun(source())
    oldest, other = run.read(), run.read()
    source.release(1)
    assert [await anext(oldest), await anext(other)] == [b"x" * 300] * 2
    source.release(19)
    await settle()
    assert run.has_ended
    assert source.taken < 6
    with pytest.raises(RunInterrupted):
        await heard(other)
    assert len(await heard(oldest)) == 19 * 300


async def test_a_reader_that_is_too_far_behind_fails_when_the_oldest_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It never gets a piece from the middle as the next one."""
    monkeypatch.setattr(single_flight_leader, "MAX_BYTES", 500)
    source = Source(*[bytes([65 + n]) * 300 for n in range(4)])
    run = LocalRun(source())
    oldest, other = run.read(), run.read()
    source.release(1)
    assert [await anext(oldest), await anext(other)] == [b"A" * 300] * 2
    source.release(3)
    assert [await anext(oldest), await anext(oldest)][-1] == b"C" * 300
    await oldest.aclose()
    with pytest.raises(RunInterrupted):
        await heard(other)
