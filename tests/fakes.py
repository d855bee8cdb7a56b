"""The fake upstream: speaks OpenAI's and Anthropic's formats over real sockets, and misbehaves.

What it does is chosen by the model's name, or for every request by `script`. Runs inside a test on
a thread of its own, or as a process: `python -m tests.fakes --port N`.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from aiohttp import web

KEY = "sk-fake-key-0123456789"
MODELS = ("echo", "markdown", "reasoning", "slow-200-50", "zai")
MARKDOWN = """# Sorting

Two ways to sort, **fast** and *slow*:

```python
def fast(items: list[int]) -> list[int]:
    # C, not Python
    return sorted(items)
```

| way | worst case | stable |
|---|---|---|
| `sorted` | O(n log n) | yes |
| bubble | O(n²) | yes |

1. Measure first.
2. Then choose.

> Premature optimisation is the root of all evil.
"""
REFUSALS: dict[str, tuple[int, dict[str, str], dict[str, Any]]] = {
    "400": (400, {}, {"message": "max_tokens is too large.", "code": "invalid_value"}),
    "401": (401, {}, {"message": "Incorrect API key provided.", "code": "invalid_api_key"}),
    "402": (402, {}, {"message": "Payment required.", "code": "insufficient_quota"}),
    "404": (404, {}, {"message": "The model does not exist.", "code": "model_not_found"}),
    "429": (429, {"Retry-After": "2"}, {"message": "Slow down.", "code": "rate_limit_exceeded"}),
    "500": (500, {}, {"message": "Internal error.", "code": "server_error"}),
    "503": (503, {"Retry-After": "1"}, {"message": "Overloaded.", "code": "overloaded"}),
}
ZAI = {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}


def slow_text(count: int) -> str:
    """What `slow-<count>-<ms>` says."""
    return " ".join(f"w{n}" for n in range(count))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refusing_port() -> int:
    """A port that nothing listens on."""
    return free_port()


@dataclass(slots=True)
class Received:
    """One request as it came; times are time.monotonic()."""

    path: str
    model: str
    body: dict[str, Any]
    authorized: bool
    started: float
    disconnected_at: float | None = None
    finished: bool = False


class Upstream:
    """The server. `url` ends in /v1; /api/paas/v4 and /api/coding/paas/v4 are Z.ai's two."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        self.port = port or free_port()
        self.key = key
        self.requests: list[Received] = []
        self.behaviour = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def script(self, behaviour: str = "") -> None:
        """From now on every request is answered so, whatever its model; empty: by its model."""
        self.behaviour = behaviour

    def reset(self) -> None:
        self.behaviour = ""
        self.requests.clear()

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        if not ready.wait(5):
            raise TimeoutError("the fake upstream did not start")

    def stop(self) -> None:
        """Closes the port and every connection; `start` opens the same port again."""
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(5)
            self._thread = None

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self.serve(ready.set))

    async def serve(self, ready: Callable[[], None]) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        # It would print a traceback for each connection that is cut on purpose.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        runner = web.AppRunner(
            self.application(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024).start()
        ready()
        await self._ended.wait()
        await runner.cleanup()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/_control", self._control)
        app.router.add_get("/_control/requests", self._report)
        app.router.add_get("/{prefix:.+}/models", self._models)
        app.router.add_post("/{prefix:.+}/chat/completions", self._chat)
        app.router.add_post("/{prefix:.+}/messages", self._messages)
        return app

    async def _control(self, request: web.Request) -> web.Response:
        self.script((await request.json()).get("behaviour", ""))
        return web.json_response({})

    async def _report(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(each) for each in self.requests])

    def _authorized(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.key in (bearer, request.headers.get("x-api-key"))

    def _receive(self, request: web.Request, body: dict[str, Any]) -> Received:
        received = Received(
            path=request.path,
            model=str(body.get("model", "")),
            body=body,
            authorized=self._authorized(request),
            started=time.monotonic(),
        )
        self.requests.append(received)
        return received

    async def _models(self, request: web.Request) -> web.StreamResponse:
        received = self._receive(request, {})
        if not received.authorized:
            return _refusal("401")
        if self.behaviour in REFUSALS:
            return _refusal(self.behaviour)
        if self.behaviour == "html":
            return _page()
        if self.behaviour == "reset":
            return _abort(request)
        rows = [{"id": name, "object": "model", "owned_by": "fake"} for name in MODELS]
        return web.json_response({"object": "list", "data": rows})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, OpenAI)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, Anthropic)

    async def _answer(self, request: web.Request, dialect: "type[OpenAI]") -> web.StreamResponse:
        received = self._receive(request, await request.json())
        if not received.authorized:
            return _refusal("401")
        try:
            response = await _behave(request, received, self.behaviour or received.model, dialect)
            received.finished = True
            return response
        except (asyncio.CancelledError, ConnectionError):
            received.disconnected_at = time.monotonic()
            raise


class OpenAI:
    """Chunks of OpenAI's format."""

    def __init__(self, received: Received) -> None:
        self.model = received.model
        self.usage = bool((received.body.get("stream_options") or {}).get("include_usage"))

    def opening(self) -> list[str]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def text(self, text: str) -> str:
        return self._chunk({"content": text})

    def reasoning(self, text: str) -> str:
        return self._chunk({"reasoning_content": text})

    def tool_call(self) -> str:
        function = {"name": "weather", "arguments": '{"city": "Paris"}'}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]})

    def finish(self, reason: str = "stop") -> list[str]:
        return [self._chunk({}, reason)]

    def closing(self, tokens: int) -> list[str]:
        if not self.usage:
            return ["[DONE]"]
        usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
        last = {**json.loads(self._chunk({})), "choices": [], "usage": usage}
        return [json.dumps(last), "[DONE]"]

    def error(self) -> str:
        return json.dumps({"error": {"message": "The engine stopped.", "code": "engine_error"}})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": self.model,
                "choices": [choice],
            }
        )


class Anthropic(OpenAI):
    """Events of Anthropic's format; each payload names its own event type."""

    def opening(self) -> list[str]:
        message = {"id": "msg_1", "role": "assistant", "usage": {"input_tokens": 7}}
        block = {"type": "text", "text": ""}
        return [
            json.dumps({"type": "message_start", "message": message}),
            json.dumps({"type": "content_block_start", "index": 0, "content_block": block}),
        ]

    def text(self, text: str) -> str:
        return self._delta({"type": "text_delta", "text": text})

    def reasoning(self, text: str) -> str:
        return self._delta({"type": "thinking_delta", "thinking": text})

    def finish(self, reason: str = "stop") -> list[str]:
        delta = {"stop_reason": "end_turn"}
        usage = {"output_tokens": 3}
        return [json.dumps({"type": "message_delta", "delta": delta, "usage": usage})]

    def closing(self, tokens: int) -> list[str]:
        return [json.dumps({"type": "message_stop"})]

    def error(self) -> str:
        problem = {"type": "overloaded_error", "message": "Overloaded"}
        return json.dumps({"type": "error", "error": problem})

    def _delta(self, delta: dict[str, Any]) -> str:
        return json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})


type Send = Callable[[str], Awaitable[None]]


async def _behave(
    request: web.Request, received: Received, name: str, dialect: type[OpenAI]
) -> web.StreamResponse:
    """Answers one request as its name says."""
    if name == "zai" and "/coding/" not in request.path:
        return web.json_response({"error": ZAI}, status=429)
    if name in REFUSALS:
        return _refusal(name)
    if name == "html":
        return _page()
    if name == "reset":
        return _abort(request)
    if name == "stall-headers":
        await asyncio.sleep(600)
    if name == "whole" or not received.body.get("stream"):
        return _whole(received)
    return await _stream(request, received, name, dialect(received))


async def _stream(
    request: web.Request, received: Received, name: str, dialect: OpenAI
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(*payloads: str) -> None:
        data = "".join(f"data: {payload}\n\n" for payload in payloads)
        await response.write(data.encode())

    if name == "garbage":
        await send("this is {not json")
        return response
    if name == "error-in-200":
        await send(dialect.error())
        return response
    await send(*dialect.opening())
    tokens = 0
    async for payload in _said(received, name, dialect):
        tokens += 1
        await send(payload)
    await _end(request, send, name, dialect, tokens)
    return response


async def _said(received: Received, name: str, dialect: OpenAI) -> AsyncGenerator[str]:
    """The content of an answer, payload by payload, at its pace."""
    if name in ("stall-first", "empty", "truncated-at-once"):
        return
    if name == "tools":
        yield dialect.tool_call()
        return
    if name == "reasoning":
        for word in ("Let ", "me ", "think."):
            yield dialect.reasoning(word)
            await asyncio.sleep(0.01)
    slow = re.fullmatch(r"slow-(\d+)-(\d+)", name)
    if slow:
        text, pause = slow_text(int(slow[1])), int(slow[2]) / 1000
        pieces = re.findall(r"\S+ ?", text)
    elif name.endswith("-mid") or name == "truncated":
        pieces, pause = ["w0 ", "w1 ", "w2 "], 0.01
    elif name == "markdown":
        pieces, pause = re.findall(r"(?s).{1,7}", MARKDOWN), 0.005
    else:
        pieces, pause = re.findall(r"(?s).{1,5}", _last_words(received) or "…"), 0.0
    for piece in pieces:
        yield dialect.text(piece)
        if pause:
            await asyncio.sleep(pause)


def _last_words(received: Received) -> str:
    content = received.body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


async def _end(
    request: web.Request, send: Callable[..., Awaitable[None]], name: str, dialect: OpenAI, n: int
) -> None:
    if name in ("stall-first", "stall-mid"):
        await asyncio.sleep(600)
    if name == "cut-mid":
        await asyncio.sleep(0.05)
        _abort(request)
    if name == "error-mid":
        await send(dialect.error())
    elif name in ("truncated", "truncated-at-once"):
        await send("[DONE]")
    elif name == "no-usage":
        await send(*dialect.finish(), "[DONE]")
    else:
        await send(*dialect.finish("tool_calls" if name == "tools" else "stop"))
        await send(*dialect.closing(n))


def _whole(received: Received) -> web.Response:
    message = {"role": "assistant", "content": _last_words(received)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return web.json_response(
        {"object": "chat.completion", "model": received.model, "choices": [choice], "usage": usage}
    )


def _refusal(name: str) -> web.Response:
    status, headers, error = REFUSALS[name]
    return web.json_response({"error": error}, status=status, headers=headers)


def _page() -> web.Response:
    return web.Response(
        text="<!DOCTYPE html><html><body>Hi</body></html>", content_type="text/html"
    )


def _abort(request: web.Request) -> web.Response:
    """Closes the socket with a reset and without a word more."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default=KEY)
    options = parser.parse_args()
    upstream = Upstream(options.port, options.key)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(upstream.serve(lambda: print(upstream.url, flush=True)))


if __name__ == "__main__":
    main()
