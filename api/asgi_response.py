"""Send one answer to one client: headers, pieces, and keep-alives between them.

The headers go out with the first content, so that until then a failure has a status of its own.
After a while without content they go out with a keep-alive, and a later failure is an event.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType

from starlette.types import Receive, Send

from api.errors import OPENAI_ERRORS, ApiError, ErrorFormat
from api.limit_headers import LimitFigures
from providers.protocols import sse

JSON = "application/json"
EVENTS = {
    "content-type": "text/event-stream; charset=utf-8",
    **{name.lower(): value for name, value in sse.HEADERS.items()},
}
KEEP_ALIVE = sse.comment("keep-alive")


class Reply:
    """One answer. `headers` are always sent; `errors`: the format of an error; `keep_alive`: what
    a stream sends while it waits; `bodiless`: it answers a HEAD request; `limits`: of the key, as
    the answer starts."""

    def __init__(
        self,
        send: Send,
        headers: Mapping[str, str],
        *,
        errors: ErrorFormat = OPENAI_ERRORS,
        keep_alive: bytes = KEEP_ALIVE,
        bodiless: bool = False,
        limits: Callable[[], tuple[LimitFigures, ...]] = tuple,
    ) -> None:
        self._send = send
        self.errors = errors
        self._keep_alive = keep_alive
        self._bodiless = bodiless
        self._headers = dict(headers)
        self._limits = limits
        self._sending = asyncio.Lock()
        self._sent_at = 0.0
        self._is_binary = False
        self.has_started = False

    async def send_json(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the full answer."""
        length = {"content-type": JSON, "content-length": str(len(body))}
        await self._start(status, {**length, **headers})
        await self._send({"type": "http.response.body", "body": b"" if self._bodiless else body})

    async def start_events(self, headers: Mapping[str, str] | None = None) -> None:
        """Start a stream, unless a keep-alive did."""
        async with self._sending:
            if not self.has_started:
                await self._start(200, {**EVENTS, **(headers or {})})

    async def start_bytes(self, headers: Mapping[str, str]) -> None:
        """Start an answer of bytes, into which no error can be written."""
        self._is_binary = True
        await self._start(200, headers)

    async def send_piece(self, body: bytes) -> None:
        """Send a piece of the stream; waits while the client reads slowly."""
        async with self._sending:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self._sent_at = asyncio.get_running_loop().time()

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def send_error(self, error: ApiError) -> None:
        """Send an error by its status, or as an event where the stream has started. The stream then
        ends without a finish reason or an end mark, because the answer is incomplete. An answer of
        bytes is left without its end, which closes the connection."""
        if not self.has_started:
            await self.send_json(error.status, self.errors.body(error), error.headers)
            return
        if self._is_binary:
            return
        await self.send_piece(self.errors.stream_event(error))
        await self.end()

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.has_started = True
        if figures := self._limits():
            headers = {**self.errors.limit_headers(figures, datetime.now(UTC)), **headers}
        fields = {**self._headers, **headers}.items()
        encoded = [(name.encode(), value.encode("ascii", "replace")) for name, value in fields]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    @asynccontextmanager
    async def keep_alive(self, interval: float) -> AsyncGenerator[None]:
        """Send a keep-alive after each `interval` seconds in which nothing was sent."""
        timer = _KeepAliveTimer(self, interval)
        try:
            yield
        finally:
            await timer.stop()

    def idle_seconds(self, since: float) -> float:
        """Seconds since something was sent; 0 while something is being sent."""
        last = max(self._sent_at, since)
        return 0.0 if self._sending.locked() else asyncio.get_running_loop().time() - last

    async def send_keep_alive(self) -> None:
        await self.start_events()
        await self.send_piece(self._keep_alive)


class _KeepAliveTimer:
    """One timer for a stream, however many pieces it has."""

    def __init__(self, reply: Reply, interval: float) -> None:
        self._reply = reply
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._timer = self._loop.call_later(interval, self._tick)
        self._sending: asyncio.Task[None] | None = None

    def _tick(self) -> None:
        idle = self._reply.idle_seconds(self._started_at)
        if idle >= self._interval:
            self._sending = self._loop.create_task(self._reply.send_keep_alive())
            idle = 0.0
        self._timer = self._loop.call_later(self._interval - idle, self._tick)

    async def stop(self) -> None:
        self._timer.cancel()
        if self._sending:
            await self._sending


WATCH_DELAY_SECONDS = 0.2  # most short answers end before it, and watching costs a task


class UntilDisconnect:
    """Cancel the block when the client disconnects; leaving it that way is no error."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._disconnected = False

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCH_DELAY_SECONDS, self._start_watching)

    def _start_watching(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected = True
        if self._task:
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        return self._disconnected and is_cancelled and not (self._task and self._task.uncancel())
