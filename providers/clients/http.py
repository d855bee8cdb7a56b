"""The one HTTP door: a session per event loop, limits, patience, the address guard, error mapping.

Every foreign exception leaves here as a CallError whose text is safe to show. It is aiohttp as it
is: httpx on top of it costs three times its CPU, and more on a pool of its own. Redirects are not
followed and the environment's proxies are not read: a key must not travel where nobody sent it.
"""

import asyncio
import math
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
from django.conf import settings

from providers.clients import recorder as recorder_module
from providers.clients.http_errors import FOREIGN, AddressForbidden, map_error, mapped_errors
from providers.domain import ip_addresses
from providers.domain.errors import AddressRefused, CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import Timeouts
from providers.protocols.openai_chat import encoded

_HEADERS = {"User-Agent": "opencode-web/0.1", "Accept-Encoding": "identity"}
MAX_CONNECTIONS = 2000  # of one process, all providers together: one for each open stream
KEEPALIVE_SECONDS = 30.0

Response = aiohttp.ClientResponse

_under_way: ContextVar["_Sending | WatchedConnection | None"] = ContextVar(
    "under_way", default=None
)


class WatchedConnection:
    """What the calls of a block went over. `reuses`: connections that were there before."""

    def __init__(self) -> None:
        self.url = ""
        self.reuses = True


@contextmanager
def watch_connection() -> Iterator[WatchedConnection]:
    """For calls that others make with a session of ours."""
    watched = WatchedConnection()
    token = _under_way.set(watched)
    try:
        yield watched
    finally:
        _under_way.reset(token)


@frozen
class _Door:
    """One event loop's sessions: the shared one, and one that never reuses a connection."""

    shared: aiohttp.ClientSession
    fresh: aiohttp.ClientSession


type _Doors = dict[asyncio.AbstractEventLoop, tuple[_Door, AsyncGenerator[_Door]]]
_doors: _Doors = {}


async def _door() -> _Door:
    """The running loop's sessions. They are closed as the loop ends, by whoever runs it: asyncio
    closes all generators that are still open, and with this one the connections."""
    loop = asyncio.get_running_loop()
    if loop not in _doors:
        for closed in [known for known in _doors if known.is_closed()]:
            del _doors[closed]
        life = _life(_Door(shared=session(_HEADERS), fresh=session(_HEADERS, force_close=True)))
        _doors[loop] = (await anext(life), life)
    return _doors[loop][0]


async def _life(door: _Door) -> AsyncGenerator[_Door]:
    try:
        yield door
    finally:
        _doors.pop(asyncio.get_running_loop(), None)
        await door.shared.close()
        await door.fresh.close()


async def close() -> None:
    """Closes the running loop's connections before the loop itself ends."""
    if found := _doors.get(asyncio.get_running_loop()):
        await found[1].aclose()


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
    """A pool of connections behind the address guard; also what LiteLLM is made to use."""
    connector = aiohttp.TCPConnector(
        limit=MAX_CONNECTIONS,
        force_close=force_close,
        # aiohttp refuses a number here where connections are not kept.
        keepalive_timeout=None if force_close else KEEPALIVE_SECONDS,
        socket_factory=_guarded_socket,
        ssl=tls(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        response_class=response_class,
    )


def _guarded_socket(address: tuple[Any, ...]) -> socket.socket:
    sending = _under_way.get()
    made = guarded_socket(address, sending.url if sending else "")
    if sending:
        sending.reuses = False
    return made


def guarded_socket(address: tuple[Any, ...], url: str) -> socket.socket:
    """The socket of one resolved address: looked at after DNS, so that no name leads around it, and
    connected to as it was looked at, so that no second look-up does. `url`: what it is called for.
    """
    family, kind, protocol, _, where = address
    if not is_allowed(where[0], private=_is_ours(url)):
        raise AddressForbidden
    return socket.socket(family, kind, protocol)


def _is_ours(url: str) -> bool:
    """Whether an address was set by who runs the instance: our gateway process, its LiteLLM."""
    ours = filter(None, (settings.GATEWAY_URL, settings.LITELLM_ENDPOINT))
    return urlsplit(url).netloc in {urlsplit(each).netloc for each in ours}


def is_allowed(address: str, *, private: bool = False) -> bool:
    """Link-local addresses and cloud metadata never; private ones where the settings say so, or
    it is known that this one is wanted."""
    reached = ip_addresses.parse(address)
    if any(map(ip_addresses.is_never_called, reached)):
        return False
    return private or settings.ALLOW_PRIVATE_ADDRESSES or all(ip.is_global for ip in reached)


class opened:
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
        patience: "Deadlines",
        body: object = None,
    ) -> None:
        self._sending = _Sending(method, url, headers, body, patience.timeout())
        self._patience = patience
        self.died_at = 0.0
        if recorder := recorder_module.recording.get():
            recorder.sent(method, url, headers, body)

    async def __aenter__(self) -> Response:
        door = await _door()
        try:
            self._response = await self._answered(door)
        except BaseException:
            self._patience.over()
            raise
        if recorder := recorder_module.recording.get():
            recorder.answered(self._response)
        return self._response

    async def _answered(self, door: "_Door") -> Response:
        try:
            return await self._patience.headers(self._sending.over(door.shared))
        except CallError as error:
            if error.code != "reset" or not self._sending.reuses:
                raise
            self.died_at = time.monotonic()
            return await self._patience.headers(self._sending.over(door.fresh))

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._patience.over()
        # Kept for the next call where its end has come; else closed.
        self._response.release()


@dataclass(slots=True)
class _Sending:
    """One request, which may go out twice. `reuses`: over a connection that was there before."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: object
    timeout: aiohttp.ClientTimeout
    reuses: bool = True

    async def over(self, session: aiohttp.ClientSession) -> Response:
        _under_way.set(self)
        headers = _checked(self.headers)
        with mapped_errors():
            try:
                return await session.request(
                    self.method,
                    self.url,
                    headers=headers,
                    data=self._content(),
                    timeout=self.timeout,
                    allow_redirects=False,
                )
            except FOREIGN as exc:
                if isinstance(map_error(exc), AddressRefused):
                    raise AddressRefused(urlsplit(self.url).hostname or "") from exc
                raise

    def _content(self) -> bytes | None:
        return None if self.body is None else encoded(self.body)


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers; a CallError, which does not repeat them, where one cannot be sent."""
    for name, said in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(said):
            raise CallError(
                ErrorKind.REQUEST,
                "The key or a header holds a character that HTTP does not allow.",
                code="invalid_header",
                sent=False,
            )
    return dict(headers)


@cache
def _client_timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


class Deadlines:
    """How long one call may still wait: to the first token, between chunks, and in all."""

    def __init__(self, times: Timeouts, *, whole: bool = False) -> None:
        self.times = times
        now = time.monotonic()
        self.first = times.whole if whole else times.first_token
        self.first_at = now + self.first
        self.total_at = now + times.total
        self.silent_since = now
        self.heard = False  # content has come since the last wait
        self.begun = False  # content has come
        self.ending = False  # so has the finish reason
        self._alarm = Timer()

    def timeout(self) -> aiohttp.ClientTimeout:
        """`connect` covers waiting for one, DNS and TLS as well; reading is timed by `wait`."""
        return _client_timeout(self.times.connect)

    async def wait[T](
        self, awaitable: Awaitable[T], at_most: float | None = None, code: str = "silence_timeout"
    ) -> T:
        """The awaitable's result; CallError with a code of its own for each kind of waiting.

        `at_most`: seconds beside those of the call, and the code where they are over first.
        """
        until, why = self._due()
        if at_most is not None and (soon := time.monotonic() + at_most) < until:
            until, why = soon, code
        try:
            return await self._alarm.wait(awaitable, until)
        except TimeoutError as exc:
            raise CallError(ErrorKind.TIMEOUT, self._sentence(why), code=why) from exc

    def _due(self) -> tuple[float, str]:
        """Until when, on the monotonic clock, and what it is called when that has passed."""
        if self.begun:
            # Counted from the wait, as a slow reader is no silence of the provider's.
            if self.heard:
                self.silent_since, self.heard = time.monotonic(), False
            until, code = self.silent_since + self.times.silence, "silence_timeout"
        else:
            until, code = self.first_at, "first_token_timeout"
        return (until, code) if until < self.total_at else (self.total_at, "total_timeout")

    async def headers[T](self, awaitable: Awaitable[T]) -> T:
        """The same for an answer's headers, which some servers owe us sooner."""
        return await self.wait(awaitable, self.times.headers, "headers_timeout")

    def over(self) -> None:
        """Nothing is waited for any more."""
        self._alarm.off()

    def _sentence(self, code: str) -> str:
        times = self.times
        return {
            "headers_timeout": f"It did not answer within {times.headers or 0:g} s.",
            "first_token_timeout": f"No answer began within {self.first:.0f} s.",
            "silence_timeout": f"The answer fell silent for {times.silence:.0f} s.",
            "total_timeout": f"The answer was not finished within {times.total:.0f} s.",
        }[code]


class Timer:
    """One timer for all the waits of a call, put off as it rings: one for each wait is dear."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._until = math.inf
        self._waiting: asyncio.Task[object] | None = None
        self._rang = False

    async def wait[T](self, awaitable: Awaitable[T], until: float) -> T:
        """The awaitable's result; TimeoutError where it is not there at that monotonic time.

        It tells its own cancelling from another's as `asyncio.timeout` does.
        """
        task = self._waiting = asyncio.current_task()
        before = task.cancelling() if task else 0
        self._until = until
        if until < self._rings_at:
            self._set()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self._rang and task and task.uncancel() <= before:
                raise TimeoutError from None
            raise
        finally:
            self._waiting, self._rang = None, False

    def _set(self) -> None:
        self.off()
        self._rings_at = self._until
        wait = max(0.0, self._until - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._rings_at = math.inf
        if self._waiting is None:
            return
        if time.monotonic() < self._until:
            self._set()
        else:
            self._rang = True
            self._waiting.cancel()

    def off(self) -> None:
        """It does not ring any more."""
        if self._timer:
            self._timer.cancel()
        self._rings_at = math.inf
