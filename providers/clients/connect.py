"""Reach a server in steps - its name, a connection, TLS - where a call does it in one go.

It uses the resolver, the address guard, the trusted certificates and the error mapping of `http`.
Nothing is sent over a connection that was made here.
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

NEXT_ADDRESS_SECONDS = 0.25  # until another address is tried beside a silent one, as in aiohttp


async def resolve_host(url: str, seconds: float) -> list[AddrInfoType]:
    """Look up a host's addresses. Raises CallError where it has none."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)
    if base_url.parse_literal(host):
        return [_address_info(host, port)]
    resolver = aiohttp.DefaultResolver()
    try:
        async with asyncio.timeout(seconds):
            addresses = await resolver.resolve(host, port, socket.AF_UNSPEC)
    except TimeoutError as exc:
        raise _dns_error(f"No name server answered within {seconds:g} s.") from exc
    except UnicodeError as exc:
        raise map_error(exc) from exc
    except OSError as exc:
        raise _dns_error("The host name could not be found.") from exc
    finally:
        await resolver.close()
    return [_address_info(each["host"], each["port"]) for each in addresses]


def _dns_error(message: str) -> CallError:
    return CallError(ErrorKind.NETWORK, message, code="dns", sent=False)


def _address_info(host: str, port: int) -> AddrInfoType:
    if ipaddress.ip_address(host.partition("%")[0]).version == 6:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


async def open_connection(
    url: str, addresses: Sequence[AddrInfoType], seconds: float
) -> socket.socket:
    """Connect to the first of these addresses that accepts. Raises CallError."""
    make = partial(guarded_socket, url=url)
    try:
        with mapped_errors():
            async with asyncio.timeout(seconds):
                return await start_connection(
                    list(addresses), happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, socket_factory=make
                )
    except AddressRefused as exc:
        raise AddressRefused(urlsplit(url).hostname or "") from exc
    except CallError as exc:
        if exc.code != "network":
            raise
        words = "The host could not be reached."
        raise CallError(ErrorKind.NETWORK, words, code="unreachable", sent=False) from exc


async def negotiate_tls(url: str, connection: socket.socket, seconds: float) -> str:
    """Negotiate TLS over a connection, close it, and describe the result. Raises CallError."""
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
        return _describe_tls(transport.get_extra_info("ssl_object"))
    finally:
        transport.abort()


def _describe_tls(tls: ssl.SSLObject) -> str:
    ends = dict(tls.getpeercert() or {}).get("notAfter")
    version = tls.version() or "TLS"
    if not isinstance(ends, str):
        return version
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
    return f"{version}, certificate valid until {until:%d %b %Y}"
