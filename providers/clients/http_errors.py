"""Foreign network errors as CallErrors: a table of what each exception class means.

The sentences hold nothing of the request. A test walks every exception class of httpx and aiohttp.
"""

import socket
import ssl
from collections.abc import Iterator
from types import TracebackType

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from providers.domain.errors import AddressRefused, CallError, ErrorKind


class AddressForbidden(OSError):
    """The guard's word to the connector, which goes on to a name's next address after it."""

    def __init__(self) -> None:
        # One text for all addresses: several failures with the same text stay this exception.
        super().__init__(FORBIDDEN)


# Failures of several addresses are joined into one OSError, so its text is what survives.
FORBIDDEN = "address_refused"

# What may come out of httpx on aiohttp: their trees, the system's, HTTP that cannot be read.
FOREIGN = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    UnicodeError,  # of a host name that IDNA cannot encode
)


class mapped_errors:
    """Foreign network errors become CallErrors; the most specific cause in the chain wins.

    A class, as `contextlib.suppress` is: it stands around every read of every stream.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if isinstance(exc, FOREIGN):
            raise map_error(exc) from exc


def map_error(exc: BaseException) -> CallError:
    """The CallError of a foreign exception, by the first row that any cause in its chain fits."""
    causes = list(_cause_chain(exc))
    # `type is`: the text of another class may need what it was made of.
    if any(
        type(cause) in (OSError, AddressForbidden) and FORBIDDEN in str(cause) for cause in causes
    ):
        return AddressRefused("The provider's address")
    for types, kind, code, words, sent in _TABLE:
        if any(isinstance(cause, types) for cause in causes):
            words = _CERTIFICATES.get(_verify_code(causes), words) if code == UNTRUSTED else words
            return CallError(kind, words, code=code, sent=sent)
    return CallError(ErrorKind.NETWORK, "The connection failed.", code="network")


UNTRUSTED = "tls_certificate"

# What OpenSSL has against a certificate (X509_V_ERR_*, <openssl/x509_vfy.h>).
_CERTIFICATES = {
    10: "The server's certificate has expired.",
    18: "The server's certificate is self-signed.",
    19: "The server's certificate is signed by an authority that only it knows.",
    20: "The server's certificate is signed by an authority that is not known here.",
    62: "The server's certificate is for another host.",
    64: "The server's certificate is for another address.",
}


def _verify_code(causes: list[BaseException]) -> int:
    codes = (getattr(cause, "verify_code", None) for cause in causes)
    return next((code for code in codes if code), 0)


def network_error(exc: BaseException) -> CallError | None:
    """The same for another library's exception; None where its chain shows no failed transport."""
    transport = (httpx.TransportError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
    if any(isinstance(cause, (*transport, OSError)) for cause in _cause_chain(exc)):
        return map_error(exc)
    return None


def _cause_chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and its causes. httpx's own class is left out where aiohttp's is known: its
    transport calls every failed connection a time-out."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    aiohttp_errors = [each for each in chain if isinstance(each, aiohttp.ClientError | OSError)]
    yield from aiohttp_errors or chain


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
            aiohttp.NonHttpUrlClientError,
            UnicodeError,
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
            HttpProcessingError,
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
