"""The leader of a flight: one run, read by this process and written to the log for all others.

A run goes on for its followers when its own reader leaves, and ends when nobody is left.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any

from providers.domain.errors import CallError, serialize
from providers.infra.redis_client import RedisUnavailable
from providers.infra.single_flight_log import LEASE, LINGERS, OK, TOO_LARGE, Log

LARGEST = 4 * 1024 * 1024  # bytes of one flight in Redis; a longer answer is its own reader's alone
WRITE_EVERY = 0.03  # seconds; what comes within it is written together
GRACE = 0.7  # seconds for a reader who left to come back before nobody listens any more
LOOK_EVERY = 0.4  # seconds between two looks whether anybody still follows
END_SECONDS = 1.0  # that the own reader's end waits for the end in the log

type Run = Callable[[], AsyncGenerator[bytes]]

_running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly


class Leader:
    """Runs for all: its own reader gets each piece at once, the log a moment later."""

    def __init__(self, log: Log, generation: int, run: Run, keep: float) -> None:
        self._log = log
        self._generation = generation
        self._keep = keep
        self._number = 1
        self._unread: deque[bytes] = deque()
        self._unwritten: list[bytes] = []
        self._waiting = 0  # bytes that are not read yet
        self._size = 0  # bytes in all
        self._shared = True
        self._look_at = 0.0
        self._read_by_us = True
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._run = start_task(self._fly(run))
        self._run.add_done_callback(lambda _: self._news.set())
        self._writing = start_task(self._write())

    async def read(self) -> AsyncGenerator[bytes]:
        """The own reader's way through it."""
        try:
            while self._unread or not self._run.done():
                if not self._unread:
                    self._news.clear()
                    await self._news.wait()
                    continue
                piece = self._unread.popleft()
                self._waiting -= len(piece)
                self._room.set()
                yield piece
            # Who asks after this reader's end must find the end in the log.
            await asyncio.wait([self._writing], timeout=END_SECONDS)
            await self._run  # raises what the run raised
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """The own reader is gone: the run ends soon, unless somebody follows."""
        self._read_by_us = False
        self._look_at = asyncio.get_running_loop().time() + GRACE
        self._unread.clear()
        self._room.set()
        if not self._shared:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _fly(self, run: Run) -> None:
        async with aclosing(run()) as pieces:
            async for piece in pieces:
                await self._take(piece)

    async def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._shared and self._size <= LARGEST:
            self._unwritten.append(piece)
        if self._read_by_us:
            self._unread.append(piece)
            self._waiting += len(piece)
            self._news.set()
        # A slow reader of ours never holds followers up: all they may get fits.
        while self._read_by_us and self._waiting > LARGEST:
            self._room.clear()
            await self._room.wait()

    async def _write(self) -> None:
        """Keeps the log up to date, and ends it as the run ends."""
        with suppress(RedisUnavailable):
            await self._write_on()
        self._shared = False
        self._unwritten.clear()
        if not self._read_by_us:
            self._run.cancel()

    async def _write_on(self) -> None:
        """Returns when there is no more to share: all is said, or the log is somebody else's."""
        now, renew_at = asyncio.get_running_loop().time, 0.0
        while not self._run.done():
            await asyncio.wait([self._run], timeout=WRITE_EVERY)
            if self._unwritten or now() >= renew_at:
                renew_at = now() + LEASE / 3
                if not await self._written():
                    return
            if not self._read_by_us and now() >= self._look_at:
                self._look_at = now() + LOOK_EVERY
                if not await self._log.followed():
                    self._run.cancel()
            if self._size > LARGEST:
                await self._end(TOO_LARGE)
                return
        end = _how(self._run)
        if end:
            await self._written()
        await self._end(end)

    async def _end(self, end: str) -> None:
        lives = self._keep if end == OK else LINGERS
        await self._log.close(self._generation, self._number, end, lives)

    async def _written(self) -> bool:
        pieces, self._unwritten = self._unwritten, []
        number, self._number = self._number, self._number + 1
        return await self._log.write(self._generation, number, pieces)


def _how(run: asyncio.Task[None]) -> str:
    """How a run ended, as its followers are told; empty where they had better run it again."""
    error = None if run.cancelled() else run.exception()
    if isinstance(error, CallError):
        return json.dumps(serialize(error))
    return "" if run.cancelled() or error else OK


def start_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that is kept until it ends, and whose error is read even where all readers left."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()
