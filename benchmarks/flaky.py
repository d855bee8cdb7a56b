"""An upstream that has the trace's faults at the trace's times.

    python -m benchmarks.flaky PORT preferred|other BEGAN SCALE

BEGAN is the trace's beginning on the system's clock, SCALE how many times faster it runs. While it
is down it listens to nobody and breaks what is open. `GET /calls` gives the number of chats.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

from aiohttp import web

from benchmarks import trace

LOOK_SECONDS = 0.02  # of the trace, between two looks whether to listen


class Upstream:
    """One of the two; its name is the text of its answers."""

    def __init__(self, port: int, name: str, began: float, scale: float) -> None:
        self._port = port
        self._name = name
        self._began = began
        self._scale = scale
        self._calls = 0
        self._site: web.TCPSite | None = None

    async def serve(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/calls", self._count)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        while True:
            await (self._stop() if self._fault() == "down" else self._start())
            await asyncio.sleep(LOOK_SECONDS / self._scale)

    async def _start(self) -> None:
        if self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
            await self._site.start()

    async def _stop(self) -> None:
        if self._site is None:
            return
        site, self._site = self._site, None
        await site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            if connection.transport:
                connection.transport.abort()

    def _fault(self) -> str:
        return trace.fault((time.time() - self._began) * self._scale, self._name)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._scale)

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response(self._calls)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._calls += time.time() >= self._began  # not those by which a side gets ready
        fault = self._fault()
        if fault == "limited":
            wait = {"retry-after": str(trace.RETRY_AFTER / self._scale)}
            return _error(429, "rate_limit_exceeded", "Rate limit reached.", wait)
        if fault == "key":
            return _error(401, "invalid_api_key", "Incorrect API key provided.")
        if fault == "errors" and self._calls % trace.ERROR_SHARE == 0:
            return _error(500, "server_error", "The server had an error.")
        return await self._answer(request, slow=fault == "slow")

    async def _answer(self, request: web.Request, *, slow: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await self._sleep(trace.SLOW_SECONDS if slow else trace.ANSWER_SECONDS / 2)
        with suppress(ConnectionError):
            await response.write(_chunk({"role": "assistant", "content": self._name}))
            await self._sleep(trace.ANSWER_SECONDS / 2)
            await response.write(_chunk({}, "stop") + b"data: [DONE]\n\n")
        return response


def _chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"error": {"message": message, "type": code, "code": code}}
    return web.json_response(body, status=status, headers=headers)


if __name__ == "__main__":
    port, name, began, scale = sys.argv[1:]
    asyncio.run(Upstream(int(port), name, float(began), float(scale)).serve())
