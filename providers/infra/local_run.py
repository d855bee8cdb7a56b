"""One process's copy of a run: each of its callers reads it from the beginning, at its own pace.

It ends with its last reader. Up to LARGEST bytes are kept for callers that come late; of a longer
run the oldest reader alone has the rest, and the run waits while that one is far behind.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from providers.domain.errors import RunInterrupted
from providers.infra import single_flight_leader
from providers.infra.single_flight_leader import start_task


class _Reader:
    """How many pieces one caller has had."""

    __slots__ = ("place",)

    def __init__(self) -> None:
        self.place = 0


class LocalRun:
    """A run that began with its first reader."""

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        self._pieces: deque[bytes] = deque()
        self._dropped = 0  # pieces that the last reader of a long run has had
        self._size = 0  # bytes in all
        self._kept = 0  # bytes in `_pieces`
        self._readers: list[_Reader] = []  # the oldest first
        self._news = asyncio.Event()
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
        return self._size > single_flight_leader.LARGEST

    async def read(self) -> AsyncGenerator[bytes]:
        """The pieces from the beginning. Raises what the run raised, and RunInterrupted for all but
        the oldest reader of a run that is too long to keep."""
        reader = _Reader()
        self._readers.append(reader)
        try:
            while await self._has_more(reader):
                piece = self._pieces[reader.place - self._dropped]
                reader.place += 1
                self._drop_read()
                yield piece
            await self._task  # raises what the run raised
        finally:
            await self._leave(reader)

    async def _has_more(self, reader: _Reader) -> bool:
        """Waits for a piece; False at the end."""
        while True:
            behind = reader is not self._readers[0] or reader.place < self._dropped
            if self._is_long and behind:
                raise RunInterrupted
            if reader.place < self._dropped + len(self._pieces):
                return True
            if self._task.done():
                return False
            await self._news.wait()

    async def _leave(self, reader: _Reader) -> None:
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
                self._kept += len(piece)
                self._wake()
                self._drop_read()
                while self._kept > single_flight_leader.LARGEST:
                    self._room.clear()
                    await self._room.wait()

    def _drop_read(self) -> None:
        """Forgets what the oldest reader of a long run has had: nobody else gets it any more."""
        while self._is_long and self._readers and self._dropped < self._readers[0].place:
            self._kept -= len(self._pieces.popleft())
            self._dropped += 1
            self._room.set()

    def _wake(self) -> None:
        """Wakes every reader that waits; the next piece has an event of its own."""
        news, self._news = self._news, asyncio.Event()
        news.set()
