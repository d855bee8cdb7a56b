"""All HTTP calls: sessions of each event loop, limits, the address guard, error mapping.

Every foreign exception leaves here as a CallError whose text is safe to show. The client is plain
aiohttp: httpx on top of it costs three times its CPU, and more on a pool of its own. Redirects are
not followed and the environment's proxies are not used: a key must not travel further than its
provider.
"""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx

from providers.clients import recorder as recorder_module
from providers.clients.address_guard import guarded_socket
from providers.clients.deadlines import Deadlines
from providers.clients.http_errors import FOREIGN, map_error, mapped_errors
from providers.domain import http_headers
from providers.domain.errors import AddressRefused, CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.event_loop.per_loop import PerLoop
from providers.protocols.openai_chat import encode_json

_HEADERS = {"User-Agent": "opencode-web", "Accept-Encoding": "identity"}
MAX_CONNECTIONS = 2000  # of one process, all providers together: one for each open stream
KEEPALIVE_SECONDS = 30.0

Response = aiohttp.ClientResponse


# Sessions


@cache
def tls() -> ssl.SSLContext:
    """One for all: it takes 20 ms to make. SSL_CERT_FILE is honoured, for a company's own CA."""
    return httpx.create_ssl_context()


def session(
    headers: Mapping[str, str] | None = None,
    *,
    force_close: bool = False,
    response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
) -> aiohttp.ClientSession:
    """A pool of connections behind the address guard; LiteLLM is given one as well."""
    connector = aiohttp.TCPConnector(
        limit=MAX_CONNECTIONS,
        force_close=force_close,
        # aiohttp refuses a number here where connections are not kept.
        keepalive_timeout=None if force_close else KEEPALIVE_SECONDS,
        socket_factory=_watched_socket,
        ssl=tls(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        response_class=response_class,
    )


@frozen
class _Sessions:
    """One event loop's sessions: the shared one, and one that never reuses a connection."""

    shared: aiohttp.ClientSession
    fresh: aiohttp.ClientSession

    async def close(self) -> None:
        await self.shared.close()
        await self.fresh.close()


def _make_sessions() -> _Sessions:
    return _Sessions(shared=session(_HEADERS), fresh=session(_HEADERS, force_close=True))


_sessions = PerLoop(_make_sessions, _Sessions.close)


async def close() -> None:
    """Closes the running loop's connections before the loop itself ends."""
    await _sessions.close()


# Connections


@dataclass(slots=True)
class ConnectionWatch:
    """The connection of the request to `url`: a kept one, until a socket is made for it."""

    url: str = ""
    is_reused: bool = True


_watch: ContextVar[ConnectionWatch | None] = ContextVar("connection_watch", default=None)


@contextmanager
def watch_connection() -> Iterator[ConnectionWatch]:
    """Watches the connections of calls that another library makes with a session of ours."""
    watch = ConnectionWatch()
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


def _watched_socket(address: tuple[Any, ...]) -> socket.socket:
    watch = _watch.get()
    made = guarded_socket(address, watch.url if watch else "")
    if watch:
        watch.is_reused = False
    return made


# Calls


@frozen
class RequestContext:
    """One request as it goes out, perhaps twice."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: object
    timeout: aiohttp.ClientTimeout

    async def send(self, session: aiohttp.ClientSession, watch: ConnectionWatch) -> Response:
        """The response's head. Raises CallError."""
        _watch.set(watch)
        headers = _sendable(self.headers)
        with mapped_errors():
            try:
                return await session.request(
                    self.method,
                    self.url,
                    headers=headers,
                    data=_encode(self.body),
                    timeout=self.timeout,
                    allow_redirects=False,
                )
            except FOREIGN as exc:
                if isinstance(map_error(exc), AddressRefused):
                    raise AddressRefused(urlsplit(self.url).hostname or "") from exc
                raise


def _encode(body: object) -> bytes | None:
    """A body as it is sent: bytes as they are."""
    return body if body is None or isinstance(body, bytes) else encode_json(body)


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers; a CallError, which does not repeat them, where one cannot be sent."""
    for name, value in headers.items():
        if not http_headers.is_name(name) or not http_headers.is_value(value):
            raise CallError(
                ErrorKind.REQUEST,
                "The key or a header holds a character that HTTP does not allow.",
                code="invalid_header",
                sent=False,
            )
    return dict(headers)


class HttpCall:
    """A response whose body is still to be read; leaving before its end closes its socket at once.

    A request on a kept connection that dies before a byte of the answer is sent once more: the
    server had closed the connection before it saw the request. `died_at` is when, on the monotonic
    clock; 0 where it did not.
    """

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        deadlines: Deadlines,
        body: object = None,
    ) -> None:
        self._request = RequestContext(
            method=method, url=url, headers=headers, body=body, timeout=deadlines.timeout()
        )
        self._deadlines = deadlines
        self.died_at = 0.0
        if recorder := recorder_module.recording.get():
            recorder.record_request(method, url, headers, body)

    async def __aenter__(self) -> Response:
        try:
            self._response = await self._send(_sessions.current())
        except BaseException:
            self._deadlines.stop()
            raise
        if recorder := recorder_module.recording.get():
            recorder.record_response(self._response)
        return self._response

    async def _send(self, sessions: _Sessions) -> Response:
        request, headers = self._request, self._deadlines.headers
        watch = ConnectionWatch(request.url)
        try:
            return await headers(request.send(sessions.shared, watch))
        except CallError as error:
            if error.code != "reset" or not watch.is_reused:
                raise
            self.died_at = time.monotonic()
            return await headers(request.send(sessions.fresh, watch))

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._deadlines.stop()
        # Kept for the next call where its end has come; else closed.
        self._response.release()
