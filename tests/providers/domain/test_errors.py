"""Failures are sorted into kinds: by status, by the body's code, by the exception's class."""

import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import httpx
import pytest
from aiohttp import http_exceptions

from providers.clients.http_errors import FOREIGN, map_error, mapped_errors
from providers.domain.errors import MODERATED, CallError, ErrorKind, classify


def subclasses(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for child in base.__subclasses__():
        yield from subclasses(child)


def exceptions_of(*bases: type[BaseException], within: str) -> list[type[BaseException]]:
    """Every exception class of a library that hangs below one of the bases."""
    found = {each for base in bases for each in subclasses(base)}
    named = (e for e in found if e.__module__.partition(".")[0] == within)
    return sorted(named, key=lambda e: e.__name__)


def bare(kind: type[BaseException]) -> BaseException:
    """An instance, whatever its constructor wants: only class and causes are looked at."""
    made = kind.__new__(kind)
    BaseException.__init__(made)
    return made


HTTPX = exceptions_of(Exception, within="httpx")
AIOHTTP = exceptions_of(aiohttp.ClientError, http_exceptions.HttpProcessingError, within="aiohttp")


def test_every_class_is_known() -> None:
    """The walk finds what the libraries export today."""
    exported = [getattr(httpx, name) for name in httpx.__all__]
    errors = {e for e in exported if isinstance(e, type) and issubclass(e, Exception)}
    assert errors <= set(HTTPX)
    assert len(AIOHTTP) > 25


@pytest.mark.parametrize("kind", [*HTTPX, *AIOHTTP], ids=lambda kind: kind.__name__)
def test_every_exception_class_has_a_row_of_its_own(kind: type[BaseException]) -> None:
    """No class of httpx or aiohttp leaves as itself, and only the roots fall to the last row."""
    assert issubclass(kind, FOREIGN)
    error = map_error(bare(kind))
    assert error.code
    assert error.message.endswith(".")
    roots = {"HTTPError", "ClientError", "RequestError", "TransportError", "NetworkError"}
    roots |= {"ClientOSError", "ClientConnectionError", "ServerConnectionError", "ProxyError"}
    roots |= {"ProtocolError", "ConnectError", "UploadAbortedError"}
    assert error.code != "network" or kind.__name__ in roots


def caused(top: BaseException, *causes: BaseException) -> BaseException:
    """An exception with its chain, as `raise ... from` makes it."""
    link = top
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return top


@pytest.mark.parametrize(
    ("exc", "kind", "code", "sent"),
    [
        (ConnectionRefusedError(), ErrorKind.NETWORK, "connect_refused", False),
        (
            # What httpx's transport makes of a refusal.
            caused(
                httpx.ConnectTimeout(""),
                bare(aiohttp.ClientConnectorError),
                ConnectionRefusedError(),
            ),
            ErrorKind.NETWORK,
            "connect_refused",
            False,
        ),
        (
            caused(
                httpx.ConnectTimeout(""),
                bare(aiohttp.ClientConnectorError),
                OSError(errno.EHOSTUNREACH, ""),
            ),
            ErrorKind.NETWORK,
            "unreachable",
            False,
        ),
        (
            caused(httpx.ConnectTimeout(""), bare(aiohttp.ConnectionTimeoutError)),
            ErrorKind.TIMEOUT,
            "connect_timeout",
            False,
        ),
        (httpx.PoolTimeout(""), ErrorKind.TIMEOUT, "connect_timeout", False),
        (socket.gaierror(), ErrorKind.NETWORK, "dns", False),
        (ssl.SSLCertVerificationError(), ErrorKind.NETWORK, "tls_certificate", False),
        (ssl.SSLError(), ErrorKind.NETWORK, "tls", False),
        (bare(aiohttp.ClientPayloadError), ErrorKind.NETWORK, "cut", True),
        (aiohttp.ServerDisconnectedError(), ErrorKind.NETWORK, "reset", True),
        (ConnectionResetError(), ErrorKind.NETWORK, "reset", True),
        (httpx.InvalidURL("http://"), ErrorKind.REQUEST, "invalid_url", False),
        (UnicodeError(), ErrorKind.REQUEST, "invalid_url", False),
        (http_exceptions.BadStatusLine("x"), ErrorKind.PROVIDER, "bad_http", True),
        (httpx.DecodingError(""), ErrorKind.PROVIDER, "bad_http", True),
    ],
)
def test_the_most_specific_cause_decides(
    exc: BaseException, kind: ErrorKind, code: str, sent: bool
) -> None:
    """It is looked for along the chain: httpx's transport calls every refusal a time-out."""
    error = map_error(exc)
    assert (error.kind, error.code, error.sent) == (kind, code, sent)


def test_nothing_of_the_exception_is_repeated() -> None:
    """Foreign words may hold a key, an address or a header."""
    with pytest.raises(CallError) as caught, mapped_errors():
        raise httpx.ReadError("Authorization: Bearer sk-secret")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "", ErrorKind.AUTH),
        (402, "", ErrorKind.QUOTA),
        (403, "", ErrorKind.PERMISSION),
        (404, "", ErrorKind.REQUEST),
        (404, "model_not_found", ErrorKind.REQUEST),
        (408, "", ErrorKind.TIMEOUT),
        (413, "", ErrorKind.REQUEST),
        (422, "", ErrorKind.REQUEST),
        (429, "", ErrorKind.RATE_LIMIT),
        (429, "1113", ErrorKind.QUOTA),
        (429, "1302", ErrorKind.RATE_LIMIT),
        (429, "1110", ErrorKind.AUTH),
        (429, "1313", ErrorKind.AUTH),
        (429, "1317", ErrorKind.QUOTA),
        (429, "1311", ErrorKind.REQUEST),
        (400, "1234", ErrorKind.PROVIDER),
        (429, "1305", ErrorKind.OVERLOADED),
        (429, "1309", ErrorKind.AUTH),
        (429, "insufficient_quota", ErrorKind.QUOTA),
        (400, "context_length_exceeded", ErrorKind.REQUEST),
        (500, "", ErrorKind.PROVIDER),
        (502, "", ErrorKind.PROVIDER),
        (503, "", ErrorKind.OVERLOADED),
        (504, "", ErrorKind.PROVIDER),
        (529, "overloaded_error", ErrorKind.OVERLOADED),
        (200, "rate_limit_error", ErrorKind.RATE_LIMIT),
        (200, "who knows", ErrorKind.PROVIDER),
        # OpenAI's type of a request without a key, where the code is null
        (401, "invalid_request_error", ErrorKind.AUTH),
        (403, "invalid_request_error", ErrorKind.PERMISSION),
        (403, "permission_error", ErrorKind.PERMISSION),
        (403, MODERATED, ErrorKind.PERMISSION),
        (403, "invalid_api_key", ErrorKind.AUTH),
        (429, "invalid_request_error", ErrorKind.RATE_LIMIT),
        (500, "invalid_request_error", ErrorKind.PROVIDER),
        (400, "invalid_request_error", ErrorKind.REQUEST),
        (None, "invalid_request_error", ErrorKind.REQUEST),
        (None, "1113", ErrorKind.QUOTA),
        (302, "", ErrorKind.PROVIDER),
    ],
)
def test_status_and_code_decide(status: int | None, code: str, kind: ErrorKind) -> None:
    """The body's code narrows what a status leaves open; Z.ai says everything in a 429."""
    assert classify(status, code) == kind
