"""`PerLoop`: one object for each event loop, made when the loop first needs it.

Sessions, Redis clients and caches hold sockets and futures of the loop that made them, and a
process may run several loops: its server's, those of its threads, one for each test. Objects of
loops that have ended are dropped when the next one is made. They are held strongly: most of them
refer to their loop, so a weak key would never expire.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


class PerLoop[T]:
    """Makes one object for each event loop. `close`, where given, runs as the loop ends."""

    def __init__(
        self, make: Callable[[], T], close: Callable[[T], Awaitable[None]] | None = None
    ) -> None:
        self._make = make
        self._close = close
        self._objects: dict[asyncio.AbstractEventLoop, T] = {}
        self._holders: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}

    def __contains__(self, loop: asyncio.AbstractEventLoop) -> bool:
        return loop in self._objects

    def current(self) -> T:
        """The running loop's object."""
        loop = asyncio.get_running_loop()
        if loop not in self._objects:
            for ended in [each for each in self._objects if each.is_closed()]:
                self._forget(ended)
            self._objects[loop] = self._make()
            if self._close:
                self._hold(loop, self._close)
        return self._objects[loop]

    def pop(self) -> T | None:
        """Removes the running loop's object without closing it; None where there is none."""
        return self._forget(asyncio.get_running_loop())

    async def close(self) -> None:
        """Closes the running loop's object, if it has one, before the loop ends."""
        if holder := self._holders.get(asyncio.get_running_loop()):
            await holder.aclose()

    def _forget(self, loop: asyncio.AbstractEventLoop) -> T | None:
        self._holders.pop(loop, None)
        return self._objects.pop(loop, None)

    def _hold(self, loop: asyncio.AbstractEventLoop, close: Callable[[T], Awaitable[None]]) -> None:
        """Starts a generator that closes the object as it ends itself.

        `asyncio.run` closes every asynchronous generator that was started and is still open; there
        is no other hook at a loop's end. It is started without waiting, as it suspends at once.
        """
        holder = self._holders[loop] = self._close_at_end(loop, close)
        with suppress(StopIteration):
            anext(holder).send(None)

    async def _close_at_end(
        self, loop: asyncio.AbstractEventLoop, close: Callable[[T], Awaitable[None]]
    ) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if (held := self._forget(loop)) is not None:
                await close(held)
