"""Reach a server in steps - its name, a connection, TLS - where a call does it in one go.

It is the same way: the resolver, the address guard and the trusted certificates of `http`, and the
same errors. Nothing is sent over a connection that was made here.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import aiohttp
from aiohappyeyeballs import AddrInfoType, start_connection

from providers.clients import http
from providers.clients.address_guard import guarded_socket
from providers.clients.http_errors import map_error, mapped_errors
from providers.domain import base_url
from providers.domain.errors import AddressRefused, CallError, ErrorKind

NEXT_AFTER = (
    0.25  # seconds until another address is tried beside one that is silent, as aiohttp does
)


async def resolved(url: str, seconds: float) -> list[AddrInfoType]:
    """The addresses of a host. Raises CallError where it has none."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)
    if base_url.literal(host):
        return [_info(host, port)]
    resolver = aiohttp.DefaultResolver()
    try:
        async with asyncio.timeout(seconds):
            found = await resolver.resolve(host, port, socket.AF_UNSPEC)
    except TimeoutError as exc:
        raise _not_found(f"No name server answered within {seconds:g} s.") from exc
    except UnicodeError as exc:
        raise map_error(exc) from exc
    except OSError as exc:
        raise _not_found("The host name could not be found.") from exc
    finally:
        await resolver.close()
    return [_info(each["host"], each["port"]) for each in found]


def _not_found(message: str) -> CallError:
    return CallError(ErrorKind.NETWORK, message, code="dns", sent=False)


def _info(host: str, port: int) -> AddrInfoType:
    if ipaddress.ip_address(host.partition("%")[0]).version == 6:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


async def connected(url: str, found: Sequence[AddrInfoType], seconds: float) -> socket.socket:
    """A connection to the first of these addresses that takes one. Raises CallError."""
    make = partial(guarded_socket, url=url)
    try:
        with mapped_errors():
            async with asyncio.timeout(seconds):
                return await start_connection(
                    list(found), happy_eyeballs_delay=NEXT_AFTER, socket_factory=make
                )
    except AddressRefused as exc:
        raise AddressRefused(urlsplit(url).hostname or "") from exc
    except CallError as exc:
        if exc.code != "network":
            raise
        words = "The host could not be reached."
        raise CallError(ErrorKind.NETWORK, words, code="unreachable", sent=False) from exc


async def secured(url: str, connection: socket.socket, seconds: float) -> str:
    """Speaks TLS over a connection, closes it, and says what was agreed. Raises CallError."""
    loop, host = asyncio.get_running_loop(), urlsplit(url).hostname
    try:
        with mapped_errors():
            async with asyncio.timeout(seconds):
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, sock=connection, ssl=http.tls(), server_hostname=host
                )
    except BaseException:
        connection.close()
        raise
    try:
        return _agreed(transport.get_extra_info("ssl_object"))
    finally:
        transport.abort()


def _agreed(agreed: ssl.SSLObject) -> str:
    ends = dict(agreed.getpeercert() or {}).get("notAfter")
    version = agreed.version() or "TLS"
    if not isinstance(ends, str):
        return version
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
    return f"{version}, certificate valid until {until:%d %b %Y}"
