"""The HTTP door on real sockets: where it may go, how long it waits, what it lets out."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from providers.clients import http
from providers.clients.deadlines import Deadlines
from providers.domain.errors import AddressRefused, CallError, ErrorKind
from providers.domain.types import Timeouts
from tests import fakes
from tests.polling import until

QUICK = Timeouts(connect=0.5, first_token=2, silence=2, total=4)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server that does to each connection what the handler says; yields its port."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def got(url: str, times: Timeouts = QUICK, **headers: str) -> bytes:
    """The body of an answer to a POST, which the transport never repeats, or a CallError."""
    deadlines = Deadlines(times)
    method = "GET" if url.endswith("/models") else "POST"
    async with http.HttpCall(method, url, headers=headers, deadlines=deadlines) as response:
        return await deadlines.wait(response.read())


async def failed(url: str, times: Timeouts = QUICK, **headers: str) -> CallError:
    with pytest.raises(CallError) as caught:
        await got(url, times, **headers)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1"])
async def test_no_spelling_leads_around_the_guard(
    settings: Settings, fake: fakes.Upstream, host: str
) -> None:
    """It looks at the address that is connected to, after names and odd numbers are resolved."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    error = await failed(f"http://{host}:{fake.port}/v1/models")
    assert isinstance(error, AddressRefused)
    assert fake.requests == []


@pytest.mark.parametrize("second", ["169.254.169.254", "::ffff:169.254.169.254", "::a9fe:a9fe"])
async def test_a_name_that_leads_elsewhere_the_next_time_is_refused(
    fake: fakes.Upstream, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """DNS rebinding: each connection is looked at by its own number, not by the name's last one."""
    answers = iter(["127.0.0.1", second])

    async def getaddrinfo(host: str, port: int, **more: object) -> object:
        address = next(answers)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        ends = (address, port, 0, 0) if ":" in address else (address, port)
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ends)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    url = f"http://rebinding.example:{fake.port}/v1/models"
    assert b"Incorrect" in await got(url)
    await http.close()  # the next call makes a connection of its own, after the name's look-up
    error = await failed(url)
    assert isinstance(error, AddressRefused)
    assert next(answers, None) is None


async def test_the_instances_own_gateways_are_reached_all_the_same(
    settings: Settings, fake: fakes.Upstream
) -> None:
    """Who runs the instance has set them; another port of the same machine is no gateway."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    for name in ("GATEWAY_URL", "LITELLM_ENDPOINT"):
        setattr(settings, name, f"http://127.0.0.1:{fake.port}")
        assert b"Incorrect" in await got(f"http://127.0.0.1:{fake.port}/v1/models")
        setattr(settings, name, f"http://127.0.0.1:{fake.port}1")
        await http.close()
        assert isinstance(await failed(f"http://127.0.0.1:{fake.port}/v1/models"), AddressRefused)


async def test_localhost_is_reached_where_private_addresses_are(fake: fakes.Upstream) -> None:
    """Ollama lives there."""
    assert b"Incorrect" in await got(f"http://localhost:{fake.port}/v1/models")


async def test_a_refused_connection_says_so_at_once() -> None:
    """Nothing was sent: the same route may be tried again."""
    error = await failed(f"http://127.0.0.1:{fakes.refusing_port()}/")
    assert (error.kind, error.code, error.sent) == (ErrorKind.NETWORK, "connect_refused", False)


async def test_an_unknown_host_is_a_matter_of_dns() -> None:
    """`.invalid` never exists (RFC 6761)."""
    assert (await failed("http://nowhere.invalid/")).code == "dns"


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "tls.pem"
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_self_signed_certificate_is_not_believed(tmp_path: Path) -> None:
    """And distinguished from a server that speaks no TLS at all."""

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(idle, self_signed(tmp_path)) as port:
        error = await failed(f"https://127.0.0.1:{port}/")
    assert (error.kind, error.code, error.sent) == (ErrorKind.NETWORK, "tls_certificate", False)


async def test_plain_http_at_an_https_address_is_a_matter_of_tls() -> None:
    """As when somebody types https for a local server."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as port:
        assert (await failed(f"https://127.0.0.1:{port}/")).code == "tls"


async def test_a_handshake_that_never_ends_is_a_connect_timeout() -> None:
    """The connection was accepted; the time to connect counts until TLS stands."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        error = await failed(f"https://127.0.0.1:{port}/")
    assert (error.kind, error.code, error.sent) == (ErrorKind.TIMEOUT, "connect_timeout", False)


async def test_an_answer_that_is_no_http_is_the_providers_failure() -> None:
    """Some other service lives at that port."""

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        await writer.drain()

    async with serving(other) as port:
        error = await failed(f"http://127.0.0.1:{port}/")
    assert (error.kind, error.code) == (ErrorKind.PROVIDER, "bad_http")


async def test_a_connection_that_died_in_the_pool_is_replaced_once() -> None:
    """The server closed it without a word while the request was on its way."""
    connections = 0

    async def one_answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request_head(reader)
        writer.write(ANSWER)
        await request_head(reader)

    async with serving(one_answer_each) as port:
        assert await got(f"http://127.0.0.1:{port}/") == b"ok"
        assert await got(f"http://127.0.0.1:{port}/") == b"ok"
    assert connections == 2


async def test_a_fresh_connection_that_dies_is_a_failure() -> None:
    """The request may have been worked on: it is not repeated."""
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request_head(reader)

    async with serving(hang_up) as port:
        error = await failed(f"http://127.0.0.1:{port}/")
    assert (error.kind, error.code, error.sent, connections) == (
        ErrorKind.NETWORK,
        "reset",
        True,
        1,
    )


async def test_connections_are_kept_and_cookies_are_not() -> None:
    """One connection for two requests; what one provider sets is not sent to the next."""
    heads: list[bytes] = []
    connections = 0

    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            heads.append(await request_head(reader))
            writer.write(ANSWER.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b; Path=/\r\n"))

    async with serving(polite) as port:
        for _ in range(2):
            await got(f"http://127.0.0.1:{port}/")
    assert connections == 1
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_redirects_and_the_environments_proxies_are_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key goes nowhere but where it was sent."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{fakes.refusing_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{fakes.refusing_port()}")
    asked = 0

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await request_head(reader):
            asked += 1
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")

    async with serving(redirecting) as port:
        assert await got(f"http://127.0.0.1:{port}/") == b""
    assert asked == 1


async def test_a_header_that_cannot_be_sent_is_named_and_not_shown() -> None:
    """A key with a line break or a curly quote in it would smuggle headers, or crash."""
    for value in ("sk-a\r\nX-Evil: 1", "sk-\u201cquoted\u201d", "a\0b"):
        error = await failed("http://127.0.0.1:9/", authorization=value)
        assert (error.kind, error.code, error.sent) == (
            ErrorKind.REQUEST,
            "invalid_header",
            False,
        )
        assert value not in error.message


@pytest.mark.parametrize(
    ("times", "code"),
    [
        (Timeouts(connect=1, first_token=0.1, silence=9, total=9), "first_token_timeout"),
        (Timeouts(connect=1, first_token=9, silence=9, total=0.1), "total_timeout"),
    ],
)
async def test_waiting_for_the_head_ends(fake: fakes.Upstream, times: Timeouts, code: str) -> None:
    """Each deadlines has a code of its own."""
    fake.script(models="stall-headers")
    error = await failed(f"{fake.url}/models", times, authorization=f"Bearer {fakes.KEY}")
    assert (error.kind, error.code) == (ErrorKind.TIMEOUT, code)
    await until(lambda: fake.requests[0].disconnected_at is not None)


def test_connections_are_closed_with_their_loop(fake: fakes.Upstream) -> None:
    """A thread that runs one coroutine leaves no socket behind."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def once() -> None:
        loops.append(asyncio.get_running_loop())
        await got(f"{fake.url}/models", authorization=f"Bearer {fakes.KEY}")

    for _ in range(3):
        asyncio.run(once())
    assert not any(loop in http._sessions for loop in loops)
