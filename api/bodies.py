"""Read request bodies within limits: of time, of size, and of memory for all unfinished bodies.

A body that stalls or trickles is refused, and so is one that would exceed its sender's share or
the process's budget. A complete body no longer counts.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Hashable

from starlette.types import Message, Receive

SILENCE_SECONDS = 15.0  # between two pieces of a body, and before its first one
MIN_BYTES_PER_SECOND = 64 * 1024  # after the first SILENCE_SECONDS
FREE_BYTES = 64 * 1024  # of each body do not count, so that a short request is never refused


class BodyRefused(Exception):
    """A refused body: the HTTP status and the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class IncompleteBody(BodyRefused):
    """It ended early: the client disconnected, or the length or the chunks are wrong."""

    def __init__(self) -> None:
        super().__init__(
            400, "The request body ended early. Check Content-Length and the chunked encoding."
        )


class Budget:
    """The bytes of unfinished bodies that one process may hold: in total, and for one owner."""

    def __init__(self, total: int, share: int) -> None:
        self.total, self.share = total, share
        self.held = 0
        self._owners: Counter[Hashable] = Counter()

    def take(self, owner: Hashable, count: int) -> bool:
        """Hold these bytes; False, and nothing held, where they do not fit."""
        if self.held + count > self.total or self._owners[owner] + count > self.share:
            return False
        self.held += count
        self._owners[owner] += count
        return True

    def release(self, owner: Hashable, count: int) -> None:
        self.held -= count
        self._owners[owner] -= count
        if not self._owners[owner]:
            del self._owners[owner]


class Body:
    """One body being received. `owner`: a key or an address; `limit`: its largest size in bytes.

    A context manager, so that its bytes are released however it ends.
    """

    def __init__(self, receive: Receive, budget: Budget, owner: Hashable, limit: int) -> None:
        self._receive = receive
        self._budget = budget
        self._owner = owner
        self._limit = limit
        self._began = time.monotonic()
        self._size = 0
        self._held = 0
        self.complete = False

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._held:
            self._release()

    async def next(self) -> Message:
        """The next message of the server. Raises BodyRefused."""
        try:
            async with asyncio.timeout(wait_seconds(time.monotonic() - self._began, self._size)):
                message = await self._receive()
        except TimeoutError:
            raise BodyRefused(408, "The request body did not arrive in time.") from None
        if message["type"] == "http.disconnect":
            raise IncompleteBody
        self._count(len(message.get("body", b"")))
        if not message.get("more_body"):
            self.complete = True
            if self._held:
                self._release()
        return message

    def declare(self, length: str) -> None:
        """Check the Content-Length before reading. Raises BodyRefused."""
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_large()

    def _count(self, count: int) -> None:
        self._size += count
        if self._size > self._limit:
            raise self._too_large()
        missing = max(0, self._size - FREE_BYTES) - self._held
        if missing and not self._budget.take(self._owner, missing):
            raise BodyRefused(
                503, "Too many large uploads are in progress. Try again in a few seconds."
            )
        self._held += missing

    def _release(self) -> None:
        self._budget.release(self._owner, self._held)
        self._held = 0

    def _too_large(self) -> BodyRefused:
        return BodyRefused(413, f"The request body is larger than {self._limit // 2**20} MB.")


def wait_seconds(elapsed: float, received: int) -> float:
    """Seconds to wait for more of a body that started `elapsed` seconds ago."""
    until = SILENCE_SECONDS + received / MIN_BYTES_PER_SECOND
    return max(0.0, min(SILENCE_SECONDS, until - elapsed))
