"""The one HTTP door: a client per event loop, limits, patience, the address guard, error mapping.

Every foreign exception leaves here as a CallError whose text is safe to show. httpx runs on the
aiohttp transport: its own pool is quadratic under load (encode/httpx#3215). Redirects are not
followed and the environment's proxies are not read: a key must not travel where nobody sent it.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from django.conf import settings
from httpx_aiohttp import AiohttpTransport

from providers.errors import AddressRefused, CallError, ErrorKind
from providers.types import Timeouts

USER_AGENT = "opencode-web/0.1"
MAX_CONNECTIONS = 2000  # of one process, all providers together: one for each open stream
KEEPALIVE_SECONDS = 30.0

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
_reused: ContextVar[bool] = ContextVar("reused", default=False)


def client() -> httpx.AsyncClient:
    """The running loop's client; its connections are kept and shared by all calls of the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            transport=AiohttpTransport(client=_session),
            headers={"User-Agent": USER_AGENT},
            trust_env=False,
            follow_redirects=False,
        )
    return _clients[loop]


async def close() -> None:
    """Closes the running loop's client, for loops that end before their process does."""
    found = _clients.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()


def _session() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    connector = aiohttp.TCPConnector(
        limit=MAX_CONNECTIONS,
        keepalive_timeout=KEEPALIVE_SECONDS,
        socket_factory=_guarded_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
    )


async def _note_reuse(*_: object) -> None:
    _reused.set(True)


# Several addresses' failures are joined into one OSError, so its text is what survives.
_FORBIDDEN = "address_refused"


def _guarded_socket(address: tuple[Any, ...]) -> socket.socket:
    """Makes the socket of one resolved address: after DNS, so that no name can lead around it."""
    family, kind, protocol, _, where = address
    if not is_allowed(where[0]):
        raise OSError(_FORBIDDEN)
    return socket.socket(family, kind, protocol)


def is_allowed(address: str) -> bool:
    """Link-local addresses (cloud metadata) never; private ones where the settings say so."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_link_local or ip.is_multicast:
        return False
    return settings.ALLOW_PRIVATE_ADDRESSES or ip.is_global


@asynccontextmanager
async def opened(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    patience: "Patience",
    json: object = None,
) -> AsyncGenerator[httpx.Response]:
    """A response whose body is still to be read; leaving closes its socket at once.

    A request on a kept connection that dies before a byte of the answer is sent once more: the
    server had closed the connection before it saw the request.
    """
    with mapped_errors():
        request = client().build_request(
            method, url, headers=dict(headers), json=json, timeout=patience.timeout()
        )
    try:
        response = await patience.wait(_send(request))
    except CallError as error:
        if error.code != "reset" or not _reused.get():
            raise
        response = await patience.wait(_send(request))
    try:
        yield response
    finally:
        with mapped_errors():
            await response.aclose()


async def _send(request: httpx.Request) -> httpx.Response:
    _reused.set(False)
    with mapped_errors():
        return await client().send(request, stream=True)


class Patience:
    """How long one call may still wait: to the first token, between chunks, and in all."""

    def __init__(self, times: Timeouts) -> None:
        self.times = times
        now = time.monotonic()
        self.first_at = now + times.first_token
        self.total_at = now + times.total
        self.begun = False  # content has come
        self.ending = False  # so has the finish reason

    def timeout(self) -> httpx.Timeout:
        """`pool` covers DNS as well (aiohttp's `connect`); reading is timed by `wait`."""
        connect = self.times.connect
        return httpx.Timeout(None, connect=connect, pool=connect)

    async def wait[T](self, awaitable: Awaitable[T], at_most: float | None = None) -> T:
        """The awaitable's result; CallError with a code of its own for each kind of waiting."""
        now = time.monotonic()
        until, code = now + self.times.silence, "silence_timeout"
        if not self.begun:
            until, code = self.first_at, "first_token_timeout"
        if at_most is not None:
            until = min(until, now + at_most)
        if self.total_at <= until:
            until, code = self.total_at, "total_timeout"
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                return await awaitable
        except TimeoutError as exc:
            raise CallError(ErrorKind.TIMEOUT, self._sentence(code), code=code) from exc

    def _sentence(self, code: str) -> str:
        times = self.times
        return {
            "first_token_timeout": f"No answer began within {times.first_token:.0f} s.",
            "silence_timeout": f"The answer fell silent for {times.silence:.0f} s.",
            "total_timeout": f"The answer was not finished within {times.total:.0f} s.",
        }[code]


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Foreign network errors become CallErrors; the most specific cause in the chain wins."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as exc:
        raise map_error(exc) from exc
    except (aiohttp.ClientError, aiohttp.InvalidURL, OSError) as exc:
        raise map_error(exc) from exc


def map_error(exc: BaseException) -> CallError:
    """The CallError of a foreign exception, by the first row that any cause in its chain fits."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    if any(_FORBIDDEN in str(candidate) for candidate in chain):
        return AddressRefused("The provider's address")
    for types, kind, code, words, sent in _TABLE:
        if any(isinstance(candidate, types) for candidate in chain):
            return CallError(kind, words, code=code, sent=sent)
    return CallError(ErrorKind.NETWORK, "The connection failed.", code="network")


type _Row = tuple[tuple[type[BaseException], ...], ErrorKind, str, str, bool]

# Most specific first. `sent` is false only where no request can have reached the provider.
_TABLE: tuple[_Row, ...] = (
    (
        (aiohttp.ClientConnectorDNSError, socket.gaierror),
        ErrorKind.NETWORK,
        "dns",
        "The host name could not be found.",
        False,
    ),
    (
        (
            ssl.SSLCertVerificationError,
            ssl.CertificateError,
            aiohttp.ClientConnectorCertificateError,
            aiohttp.ServerFingerprintMismatch,
        ),
        ErrorKind.NETWORK,
        "tls_certificate",
        "The server's certificate could not be verified.",
        False,
    ),
    (
        (ssl.SSLError, aiohttp.ClientSSLError),
        ErrorKind.NETWORK,
        "tls",
        "No secure connection could be made.",
        False,
    ),
    (
        (ConnectionRefusedError,),
        ErrorKind.NETWORK,
        "connect_refused",
        "The connection was refused.",
        False,
    ),
    (
        (aiohttp.ClientPayloadError, httpx.ReadError, httpx.WriteError, httpx.CloseError),
        ErrorKind.NETWORK,
        "cut",
        "The connection broke in the middle of the answer.",
        True,
    ),
    (
        (
            aiohttp.SocketTimeoutError,
            httpx.ReadTimeout,
            httpx.WriteTimeout,
        ),
        ErrorKind.TIMEOUT,
        "silence_timeout",
        "The connection fell silent.",
        True,
    ),
    (
        (
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientConnectionResetError,
            ConnectionResetError,
            BrokenPipeError,
            httpx.RemoteProtocolError,
        ),
        ErrorKind.NETWORK,
        "reset",
        "The connection was closed.",
        True,
    ),
    (
        (aiohttp.ClientConnectorError,),
        ErrorKind.NETWORK,
        "unreachable",
        "The host could not be reached.",
        False,
    ),
    (
        (
            aiohttp.ServerTimeoutError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.TimeoutException,
            TimeoutError,
        ),
        ErrorKind.TIMEOUT,
        "connect_timeout",
        "The host did not accept a connection in time.",
        False,
    ),
    (
        (
            aiohttp.InvalidURL,
            httpx.InvalidURL,
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
            httpx.CookieConflict,
        ),
        ErrorKind.REQUEST,
        "invalid_url",
        "The address or a header is not valid.",
        False,
    ),
    (
        (
            aiohttp.ClientResponseError,
            aiohttp.RedirectClientError,
            httpx.DecodingError,
            httpx.TooManyRedirects,
            httpx.HTTPStatusError,
            httpx.StreamError,
        ),
        ErrorKind.PROVIDER,
        "bad_http",
        "The answer was not understandable HTTP.",
        True,
    ),
    (
        (aiohttp.ClientError, httpx.HTTPError, OSError),
        ErrorKind.NETWORK,
        "network",
        "The connection failed.",
        True,
    ),
)
