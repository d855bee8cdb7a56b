"""One answer on its way to one reader: its headers, its pieces, and signs of life between them.

The headers go out with the first content, so that until then a failure can be told by a status;
after a while without any they go out all the same, and what fails from then on is told in-band.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from api.errors import ApiError
from providers.protocols import sse

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
EVENTS = {
    "content-type": "text/event-stream; charset=utf-8",
    **{name.lower(): value for name, value in sse.HEADERS.items()},
}
_ALIVE = sse.comment("keep-alive")


class Reply:
    """What is sent of one answer. `headers` are on it whatever it will be; `bodiless`: to HEAD."""

    def __init__(self, send: Send, headers: Mapping[str, str], *, bodiless: bool = False) -> None:
        self._send = send
        self._bodiless = bodiless
        self._headers = dict(headers)
        self._sending = asyncio.Lock()
        self._sent_at = 0.0
        self.begun = False

    async def json(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """The whole answer at once."""
        length = {"content-type": JSON, "content-length": str(len(body))}
        await self._start(status, {**length, **headers})
        await self._send({"type": "http.response.body", "body": b"" if self._bodiless else body})

    async def events(self, headers: Mapping[str, str] | None = None) -> None:
        """Begins a stream, unless a sign of life already did."""
        async with self._sending:
            if not self.begun:
                await self._start(200, {**EVENTS, **(headers or {})})

    async def piece(self, body: bytes) -> None:
        """Some more of a stream; waits for a reader who is slow."""
        async with self._sending:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self._sent_at = asyncio.get_running_loop().time()

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: ApiError) -> None:
        """An error: by its status, or in-band where the answer has begun. There it is the end:
        no finish reason and no end mark, for this was none."""
        body = refusal.body()
        if not self.begun:
            await self.json(refusal.status, body, refusal.headers)
            return
        await self.piece(b"data: %b\n\n" % body)
        await self.end()

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        fields = {**self._headers, **headers}.items()
        encoded = [(name.encode(), value.encode("ascii", "replace")) for name, value in fields]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    @asynccontextmanager
    async def kept_alive(self, every: float) -> AsyncGenerator[None]:
        """Sends a comment whenever nothing else was sent for so many seconds."""
        pulse = _Pulse(self, every)
        try:
            yield
        finally:
            await pulse.stop()

    def quiet(self, since: float) -> float:
        """Seconds since anything was sent; none while something is on its way."""
        last = max(self._sent_at, since)
        return 0.0 if self._sending.locked() else asyncio.get_running_loop().time() - last

    async def beat(self) -> None:
        """A sign of life."""
        await self.events()
        await self.piece(_ALIVE)


class _Pulse:
    """One timer a stream, whatever the number of its pieces."""

    def __init__(self, reply: Reply, every: float) -> None:
        self._reply = reply
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer = self._loop.call_later(every, self._tick)
        self._beating: asyncio.Task[None] | None = None

    def _tick(self) -> None:
        quiet = self._reply.quiet(self._began)
        if quiet >= self._every:
            self._beating = self._loop.create_task(self._reply.beat())
            quiet = 0.0
        self._timer = self._loop.call_later(self._every - quiet, self._tick)

    async def stop(self) -> None:
        self._timer.cancel()
        if self._beating:
            await self._beating


WATCH_AFTER = 0.2  # seconds; most whole answers are there before it, and a watch costs a task


class UntilLeft:
    """Breaks off what is done in it soon after the reader has left; that is no error."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._working = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCH_AFTER, self._begin)

    def _begin(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if self._working:
            self._working.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        left = self._left and kind is not None and issubclass(kind, asyncio.CancelledError)
        return left and not (self._working and self._working.uncancel())
