"""Request bodies on their way in: so long, so large, and so much memory for all of them together.

A body that stops or trickles is refused, and so is one that would exceed its sender's share or the
process's budget. A complete body no longer counts.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from typing import Any

SILENCE_SECONDS = 15.0  # between two pieces of a body, and before its first one
LEAST_RATE = 64 * 1024  # bytes a second that a body must come with, after the first SILENCE_SECONDS
FREE_BYTES = 64 * 1024  # of each body that count for nothing: a short question always gets in

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]


class BodyRefused(Exception):
    """A body that is not taken. `status` is HTTP's, `message` the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Broken(BodyRefused):
    """It ended early: its sender left, or its length or chunks are not as announced."""

    def __init__(self) -> None:
        super().__init__(400, "The body ended early: its length or its chunks are wrong.")


class Budget:
    """Bytes of unfinished bodies that one process holds: in all, and for one owner."""

    def __init__(self, total: int, share: int) -> None:
        self.total, self.share = total, share
        self.held = 0
        self._owners: Counter[Hashable] = Counter()

    def take(self, owner: Hashable, count: int) -> bool:
        """Whether the bytes fit; only then they are held."""
        if self.held + count > self.total or self._owners[owner] + count > self.share:
            return False
        self.held += count
        self._owners[owner] += count
        return True

    def give_back(self, owner: Hashable, count: int) -> None:
        self.held -= count
        self._owners[owner] -= count
        if not self._owners[owner]:
            del self._owners[owner]


class Body:
    """One body while it comes. `owner`: a key, or an address; `limit`: bytes it may have at most.

    To be entered, so that what it holds is given back however it ends.
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
        self._give_back()

    async def next(self) -> Message:
        """The server's next message of it. Raises BodyRefused."""
        try:
            async with asyncio.timeout(wait_seconds(time.monotonic() - self._began, self._size)):
                message = await self._receive()
        except TimeoutError:
            raise BodyRefused(408, "The body did not arrive in time.") from None
        if message["type"] == "http.disconnect":
            raise Broken
        self._count(len(message.get("body", b"")))
        if not message.get("more_body"):
            self.complete = True
            self._give_back()
        return message

    def declare(self, length: str) -> None:
        """Refuse by its Content-Length what would be refused later. Raises BodyRefused."""
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_large()

    def _count(self, count: int) -> None:
        self._size += count
        if self._size > self._limit:
            raise self._too_large()
        missing = max(0, self._size - FREE_BYTES) - self._held
        if not self._budget.take(self._owner, missing):
            raise BodyRefused(503, "Too many large requests are on their way in. Try again soon.")
        self._held += missing

    def _give_back(self) -> None:
        if self._held:
            self._budget.give_back(self._owner, self._held)
            self._held = 0

    def _too_large(self) -> BodyRefused:
        return BodyRefused(413, f"The body is larger than {self._limit // 2**20} MB.")


def wait_seconds(elapsed: float, received: int) -> float:
    """Seconds to wait for more of a body that began `elapsed` seconds ago."""
    until = SILENCE_SECONDS + received / LEAST_RATE
    return max(0.0, min(SILENCE_SECONDS, until - elapsed))
