"""The leader of a single-flight: it runs once, for its own reader and, by the log, for followers.

A run continues for its followers when its own reader leaves, and ends when nobody is left.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any

from providers.domain.errors import CallError, serialize
from providers.infra.redis_client import RedisUnavailable
from providers.infra.single_flight_log import (
    FINISHED_LOG_SECONDS,
    LEASE_SECONDS,
    OK,
    TOO_LARGE,
    Log,
)

MAX_BYTES = 4 * 1024 * 1024  # of one run in Redis; only its own reader gets a longer answer
WRITE_SECONDS = 0.03  # pieces that arrive within it are written together
GRACE_SECONDS = 0.7  # after its own reader left, before the leader first checks for listeners
LISTENER_CHECK_SECONDS = 0.4  # between two checks for listeners
END_SECONDS = 1.0  # that the end of the own reader waits for the end in the log

type Run = Callable[[], AsyncGenerator[bytes]]

_running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly


class Leader:
    """Run for all: the own reader gets each piece at once, the log a moment later."""

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
        self._check_at = 0.0
        self._read_by_us = True
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._run = start_task(self._consume(run))
        self._run.add_done_callback(lambda _: self._arrived.set())
        self._writing = start_task(self._write())

    async def read(self) -> AsyncGenerator[bytes]:
        """The pieces, for the own reader."""
        try:
            while self._unread or not self._run.done():
                if not self._unread:
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                piece = self._unread.popleft()
                self._waiting -= len(piece)
                self._room.set()
                yield piece
            # A caller that comes after this reader's end must find the end in the log.
            await asyncio.wait([self._writing], timeout=END_SECONDS)
            await self._run  # raises what the run raised
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Note that the own reader left: the run ends soon, unless somebody follows."""
        self._read_by_us = False
        self._check_at = asyncio.get_running_loop().time() + GRACE_SECONDS
        self._unread.clear()
        self._room.set()
        if not self._shared:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _consume(self, run: Run) -> None:
        async with aclosing(run()) as pieces:
            async for piece in pieces:
                await self._add(piece)

    async def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._shared and self._size <= MAX_BYTES:
            self._unwritten.append(piece)
        if self._read_by_us:
            self._unread.append(piece)
            self._waiting += len(piece)
            self._arrived.set()
        # A slow own reader never delays followers: all they may get fits.
        while self._read_by_us and self._waiting > MAX_BYTES:
            self._room.clear()
            await self._room.wait()

    async def _write(self) -> None:
        """Keep the log current, and end it when the run ends."""
        with suppress(RedisUnavailable):
            await self._write_on()
        self._shared = False
        self._unwritten.clear()
        if not self._read_by_us:
            self._run.cancel()

    async def _write_on(self) -> None:
        """Write until the run has ended, or another leader has the log."""
        now, renew_at = asyncio.get_running_loop().time, 0.0
        while not self._run.done():
            await asyncio.wait([self._run], timeout=WRITE_SECONDS)
            if self._unwritten or now() >= renew_at:
                renew_at = now() + LEASE_SECONDS / 3
                if not await self._write_pending():
                    return
            if not self._read_by_us and now() >= self._check_at:
                self._check_at = now() + LISTENER_CHECK_SECONDS
                if not await self._log.has_listeners():
                    self._run.cancel()
            if self._size > MAX_BYTES:
                await self._end(TOO_LARGE)
                return
        end = _describe_end(self._run)
        if end:
            await self._write_pending()
        await self._end(end)

    async def _end(self, end: str) -> None:
        lives = self._keep if end == OK else FINISHED_LOG_SECONDS
        await self._log.close(self._generation, self._number, end, lives)

    async def _write_pending(self) -> bool:
        pieces, self._unwritten = self._unwritten, []
        number, self._number = self._number, self._number + 1
        return await self._log.write(self._generation, number, pieces)


def _describe_end(run: asyncio.Task[None]) -> str:
    """How a run ended, for its followers; empty where they had better run it again."""
    error = None if run.cancelled() else run.exception()
    if isinstance(error, CallError):
        return json.dumps(serialize(error))
    return "" if run.cancelled() or error else OK


def start_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that is held until it ends, and whose error is read even if all readers left."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()
