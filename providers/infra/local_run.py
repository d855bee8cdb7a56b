"""One process's copy of a run: each of its callers reads it from the beginning, at its own pace.

It ends with its last reader. Up to MAX_BYTES are kept for callers that come late; the rest of a
longer run goes to the oldest reader alone, and the run waits while that one is far behind.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from providers.domain.errors import RunInterrupted
from providers.infra import single_flight_leader
from providers.infra.single_flight_leader import start_task


class _Cursor:
    """How many pieces one caller has read."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = 0


class LocalRun:
    """A run that began with its first reader."""

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        self._pieces: deque[bytes] = deque()
        self._dropped = 0  # pieces that the last reader of a long run has read
        self._size = 0  # bytes in all
        self._buffered_bytes = 0  # bytes in `_pieces`
        self._readers: list[_Cursor] = []  # the oldest first
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._left = False
        self._task = start_task(self._read(source))
        self._task.add_done_callback(lambda _: self._wake())

    @property
    def has_ended(self) -> bool:
        """Whether nobody can join any more: it is over, too long, or its readers have left."""
        return self._left or self._task.done() or self._is_long

    @property
    def is_complete(self) -> bool:
        """Whether it ended well, and all of it is here."""
        over = self._task.done() and not self._task.cancelled()
        return over and not self._is_long and self._task.exception() is None

    @property
    def _is_long(self) -> bool:
        return self._size > single_flight_leader.MAX_BYTES

    async def read(self) -> AsyncGenerator[bytes]:
        """The pieces from the beginning. Raises what the run raised, and RunInterrupted for all but
        the oldest reader of a run that is too long to keep."""
        reader = _Cursor()
        self._readers.append(reader)
        try:
            while await self._has_more(reader):
                piece = self._pieces[reader.position - self._dropped]
                reader.position += 1
                self._drop_read()
                yield piece
            await self._task  # raises what the run raised
        finally:
            await self._leave(reader)

    async def _has_more(self, reader: _Cursor) -> bool:
        """Waits for a piece; False at the end."""
        while True:
            behind = reader is not self._readers[0] or reader.position < self._dropped
            if self._is_long and behind:
                raise RunInterrupted
            if reader.position < self._dropped + len(self._pieces):
                return True
            if self._task.done():
                return False
            await self._arrived.wait()

    async def _leave(self, reader: _Cursor) -> None:
        self._readers.remove(reader)
        self._drop_read()
        if not self._readers:
            self._left = True
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self, source: AsyncGenerator[bytes]) -> None:
        async with aclosing(source) as pieces:
            async for piece in pieces:
                self._pieces.append(piece)
                self._size += len(piece)
                self._buffered_bytes += len(piece)
                self._wake()
                self._drop_read()
                while self._buffered_bytes > single_flight_leader.MAX_BYTES:
                    self._room.clear()
                    await self._room.wait()

    def _drop_read(self) -> None:
        """Drop what the oldest reader of a long run has read: no other reader gets it."""
        while self._is_long and self._readers and self._dropped < self._readers[0].position:
            self._buffered_bytes -= len(self._pieces.popleft())
            self._dropped += 1
            self._room.set()

    def _wake(self) -> None:
        """Wakes every reader that waits; the next piece has an event of its own."""
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()
