"""How long one call may still wait, and the one timer by which it waits.

`Timer` relies on three things. A call is read by one task at a time, so one timer can serve all its
waits. Most waits end long before they are due, so a wait that is due later than the timer rings
moves nothing: the timer rings early, finds that it is too early, and is set again. And a task that
the timer cancelled raises CancelledError out of the wait: `Task.uncancel` distinguishes this
cancellation from one that was requested meanwhile, as in `asyncio.timeout`.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import cache

import aiohttp

from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import Timeouts


@cache
def _client_timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


class Deadlines:
    """How long one call may still wait: to the first token, between chunks, and in all."""

    def __init__(
        self, times: Timeouts, *, whole: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.times = times
        self._now = now
        began = now()
        self.first = times.non_streaming if whole else times.first_token
        self.first_at = began + self.first
        self.total_at = began + times.total
        self.silent_since = began
        self.heard = False  # content has come since the last wait
        self.begun = False  # content has come
        self.ending = False  # so has the finish reason
        self._timer = Timer(now)

    def timeout(self) -> aiohttp.ClientTimeout:
        """`connect` covers waiting for a connection, DNS and TLS as well; `wait` times reading."""
        return _client_timeout(self.times.connect)

    async def wait[T](
        self, awaitable: Awaitable[T], at_most: float | None = None, code: str = "silence_timeout"
    ) -> T:
        """The awaitable's result; CallError with a code of its own for each kind of waiting.

        `at_most`: seconds beside those of the call, and the code where they are over first.
        """
        until, why = self._due()
        if at_most is not None and (soon := self._now() + at_most) < until:
            until, why = soon, code
        try:
            return await self._timer.wait(awaitable, until)
        except TimeoutError as exc:
            raise CallError(ErrorKind.TIMEOUT, self._sentence(why), code=why) from exc

    def _due(self) -> tuple[float, str]:
        """Until when, on the clock, and the code of the error when that has passed."""
        if self.begun:
            # Counted from the wait, as a slow reader is no silence of the provider's.
            if self.heard:
                self.silent_since, self.heard = self._now(), False
            until, code = self.silent_since + self.times.silence, "silence_timeout"
        else:
            until, code = self.first_at, "first_token_timeout"
        return (until, code) if until < self.total_at else (self.total_at, "total_timeout")

    async def headers[T](self, awaitable: Awaitable[T]) -> T:
        """The same for an answer's headers, which some servers owe sooner."""
        return await self.wait(awaitable, self.times.headers, "headers_timeout")

    def stop(self) -> None:
        """Nothing is waited for any more."""
        self._timer.stop()

    def _sentence(self, code: str) -> str:
        times = self.times
        return {
            "headers_timeout": f"It did not answer within {times.headers or 0:g} s.",
            "first_token_timeout": f"No answer began within {self.first:.0f} s.",
            "silence_timeout": f"The answer fell silent for {times.silence:.0f} s.",
            "total_timeout": f"The answer was not finished within {times.total:.0f} s.",
        }[code]


class Timer:
    """One timer for all the waits of a call: making one for each wait is expensive."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._until = math.inf
        self._waiting: asyncio.Task[object] | None = None
        self._rang = False

    async def wait[T](self, awaitable: Awaitable[T], until: float) -> T:
        """The awaitable's result; TimeoutError where it is not there at that time of the clock."""
        task = self._waiting = asyncio.current_task()
        before = task.cancelling() if task else 0
        self._until = until
        if until < self._rings_at:
            self._start()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self._rang and task and task.uncancel() <= before:
                raise TimeoutError from None
            raise
        finally:
            self._waiting, self._rang = None, False

    def stop(self) -> None:
        """It does not ring any more."""
        if self._handle:
            self._handle.cancel()
        self._rings_at = math.inf

    def _start(self) -> None:
        self.stop()
        self._rings_at = self._until
        seconds = max(0.0, self._until - self._now())
        self._handle = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._rings_at = math.inf
        if self._waiting is None:
            return
        if self._now() < self._until:
            self._start()
        else:
            self._rang = True
            self._waiting.cancel()
