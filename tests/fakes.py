"""One scripted fake provider on a real socket: the model's name chooses how it behaves.

In a test: `with Upstream() as fake:` answers at `fake.url` from a thread with its own event loop.
For other processes: `python -m tests.fakes --port N [--key K]`. It accepts every key that begins
with its own, so that a test may have one of its own. The behaviours are in
tests/upstreams/behaviours.py. A path that begins with `/fault/<name>/` behaves so, whatever the
model. `fake.script("503", "echo")` overrides both: one behaviour a request, the last for ever;
`fake.script()` ends that. Over HTTP: `POST /_control`.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Self

from aiohttp import web

from tests.upstreams import other_endpoints, speech
from tests.upstreams.behaviours import (
    CATALOGUE,
    MARKDOWN,
    SIXTY,
    Plan,
    long_text,
    meant,
    plan,
    slow_text,
)
from tests.upstreams.certificate import self_signed
from tests.upstreams.dialects import Dialect, dialect
from tests.upstreams.record import Record

__all__ = [
    "KEY",
    "MARKDOWN",
    "SIXTY",
    "UNKNOWN_HOST",
    "Record",
    "Upstream",
    "long_text",
    "refusing_port",
    "slow_text",
]

KEY = "sk-fake-key-0123456789"
UNKNOWN_HOST = "http://provider.invalid/v1"
"""No name under `.invalid` is ever found (RFC 6761)."""
_held: list[socket.socket] = []


class Upstream:
    """The fake provider. `stop` makes it refuse connections, `start` brings it back in place.

    With `tls` it speaks TLS, and shows a certificate that nobody vouches for.
    """

    def __init__(self, port: int = 0, key: str = KEY, *, tls: bool = False) -> None:
        self.key = key
        self.models = list(CATALOGUE)
        self.requests: list[Record] = []
        self._tls = self_signed() if tls else None
        self._script: list[str] = []
        self._models_script = ""
        self._asked: Counter[str] = Counter()
        self._since = time.monotonic()
        # A bound socket that does not listen keeps the port ours while we refuse.
        self._reservation = bound(port)
        self.port = int(self._reservation.getsockname()[1])
        self.origin = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/v1"
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Listens; after `stop`, on the same port."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="fake", daemon=True)
            self._thread.start()
        if self._runner is None:
            self._call(self.listen())

    def stop(self) -> None:
        """Breaks every open connection and refuses new ones."""
        if self._runner is not None:
            self._call(self._deafen())

    def close(self) -> None:
        self.stop()
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._reservation.close()

    def script(self, *behaviours: str, models: str = "") -> None:
        """Every request behaves so, whatever its model; `models` is for the catalogue alone."""
        self._script = list(behaviours)
        self._models_script = models

    def reset(self) -> None:
        """As new: no script, no requests, the default key and catalogue, listening."""
        self.script()
        self.requests.clear()
        self.key, self.models = KEY, list(CATALOGUE)
        self._asked.clear()
        self._since = time.monotonic()
        self.start()

    def fault(self, name: str) -> str:
        """A base URL under which every model behaves so."""
        return f"{self.origin}/fault/{name}/v1"

    @property
    def gaps(self) -> list[float]:
        """The seconds between one request and the next."""
        return [later.started - earlier.started for earlier, later in pairwise(self.requests)]

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def listen(self) -> None:
        """Serves on the running loop."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/_control{tail:.*}", self._control)
        app.router.add_get("/{prefix:.+}/models", self._list_models)
        for path in ("chat/completions", "messages", "responses"):
            app.router.add_post(f"/{{prefix:.+}}/{path}", self._chat)
        prefix = "{prefix:(?!chat/completions).+}"  # without a version, chats are at no path
        for path in other_endpoints.PATHS:  # after the chats, whose path ends alike
            app.router.add_post(f"/{prefix}/{path}", self._answer_other)
        # A reader's leaving cancels its handler at once, also where the handler sleeps.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01
        )
        await self._runner.setup()
        await web.SockSite(
            self._runner, bound(self.port), backlog=1024, ssl_context=self._tls
        ).start()

    async def _deafen(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            for protocol in list(runner.server.connections if runner.server else ()):
                if protocol.transport:
                    protocol.transport.abort()
            await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        spoken = dialect(request.path)
        record = await self._recorded(request)
        if not record.authorized:
            return self._refused(record, spoken, plan("401"))
        record.behaviour = self._behaviour(record)
        answer = speech.Answer(request, record, spoken)
        return await _watched(
            record, answer.play(plan(record.behaviour, answer.question, request.path))
        )

    async def _answer_other(self, request: web.Request) -> web.StreamResponse:
        record = await self._recorded(request)
        if not record.authorized:
            return self._refused(record, dialect("/v1/chat/completions"), plan("401"))
        record.behaviour = self._behaviour(record)
        chosen = plan(record.behaviour, path=request.path)
        return await _watched(record, other_endpoints.play(request, record, chosen))

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        spoken = dialect(request.path, anthropic="anthropic-version" in request.headers)
        record = await self._recorded(request)
        if not record.authorized:
            return self._refused(record, spoken, plan("401"))
        record.behaviour = self._models_script or next(iter(self._script), _prefixed(record.path))
        chosen = plan(record.behaviour, path=request.path)
        if chosen.spoils_catalogue:
            return await _watched(record, speech.Answer(request, record, spoken).play(chosen))
        record.finished = True
        return web.json_response(spoken.catalogue(self.models))

    async def _recorded(self, request: web.Request) -> Record:
        raw = await request.read()
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = other_endpoints.read_form(raw)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key", given)
        record = Record(
            path=request.path,
            query=dict(request.query),
            model=str(body.get("model", "")),
            body=body,
            size=len(raw),
            headers=dict(request.headers),
            authorized=not self.key or given.startswith(self.key),
        )
        self.requests.append(record)
        return record

    @staticmethod
    def _refused(record: Record, spoken: Dialect, chosen: Plan) -> web.Response:
        record.finished = True
        return speech.refusal(spoken, chosen)

    def _behaviour(self, record: Record) -> str:
        if self._script:
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]
        name = _prefixed(record.path) or record.model.rpartition("/")[2]
        self._asked[name] += 1
        return meant(name, self._asked[name], record.started - self._since)

    async def _control(self, request: web.Request) -> web.Response:
        """`{"behaviour": name or names or null, "models": name, "key": key, "clear": true}`."""
        if request.method == "POST":
            wish = await request.json()
            named = wish.get("behaviour") or []
            self.script(
                *([named] if isinstance(named, str) else named), models=wish.get("models") or ""
            )
            self.key = wish.get("key", self.key)
            if wish.get("clear"):
                self.requests.clear()
        return web.json_response({"requests": [asdict(record) for record in self.requests]})


def _prefixed(path: str) -> str:
    """The fault that a path asks for by its beginning."""
    found = re.match("/fault/([^/]+)/", path)
    return found[1] if found else ""


async def _watched(
    record: Record, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """Runs an answer and notes how it ended."""
    try:
        response = await work
    except (asyncio.CancelledError, ConnectionError) as exc:
        if not isinstance(exc.__context__, speech.Hung):
            record.disconnected_at = time.monotonic()
        raise
    if isinstance(response, web.Response):
        record.written = len(response.body) if isinstance(response.body, bytes) else 0
    record.finished = True
    return response


def bound(port: int = 0) -> socket.socket:
    """A socket bound to the port and not listening: whoever connects is refused."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def refusing_port() -> int:
    """A port that refuses connections, and that nobody else gets while this process lives."""
    _held.append(bound())
    return int(_held[-1].getsockname()[1])


async def _serve(port: int, key: str) -> None:
    fake = Upstream(port, key)
    await fake.listen()
    print(f"ready on {fake.url}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default=KEY)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, options.key))
