"""The steps of a connection, each on a real socket, behind the same guard as any call."""

import socket
import ssl

import pytest
from pytest_django import Settings

from providers.clients import connect, http
from providers.domain.errors import AddressRefused, CallError
from tests import fakes


async def test_a_name_is_looked_up_and_a_number_is_not() -> None:
    """Both end in addresses to connect to."""
    for host in ("localhost", "127.0.0.1"):
        found = await connect.resolve_host(f"http://{host}:80/v1", 2)
        assert "127.0.0.1" in {where[0] for *_, where in found}
    (six,) = await connect.resolve_host("https://[::1]/v1", 2)
    assert six == (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 443, 0, 0))


@pytest.mark.parametrize(
    ("url", "code"), [(fakes.UNKNOWN_HOST, "dns"), ("http://a..b", "invalid_url")]
)
async def test_a_name_that_is_not_found_says_so(url: str, code: str) -> None:
    """Nothing was sent."""
    with pytest.raises(CallError) as caught:
        await connect.resolve_host(url, 2)
    assert (caught.value.code, caught.value.sent) == (code, False)


async def test_a_silent_name_server_is_not_waited_for() -> None:
    """For longer than a connection may take."""
    with pytest.raises(CallError) as caught:
        await connect.resolve_host("http://localhost", 0)
    assert caught.value.code == "dns"


async def test_the_next_address_is_tried(fake: fakes.Upstream) -> None:
    """As a call does it."""
    closed = await connect.resolve_host(f"http://127.0.0.1:{fakes.refusing_port()}", 2)
    open_ = await connect.resolve_host(fake.url, 2)
    connection = await connect.open_connection(fake.url, closed + open_, 2)
    assert connection.getpeername() == ("127.0.0.1", fake.port)
    connection.close()


async def test_the_guard_looks_at_each_address(settings: Settings, fake: fakes.Upstream) -> None:
    """At the one that is connected to: what a name said before does not count."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    found = await connect.resolve_host(f"http://localhost:{fake.port}", 2)
    with pytest.raises(AddressRefused) as caught:
        await connect.open_connection(f"http://localhost:{fake.port}", found, 2)
    assert "localhost" in caught.value.message


async def test_tls_that_is_trusted_says_what_was_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And until when its certificate is good."""
    context = http.tls.__wrapped__()
    monkeypatch.setattr(http, "tls", lambda: context)
    with fakes.Upstream(tls=True) as fake:
        pem = ssl.get_server_certificate(("127.0.0.1", fake.port))
        context.load_verify_locations(cadata=pem)
        found = await connect.resolve_host(fake.url, 2)
        connection = await connect.open_connection(fake.url, found, 2)
        agreed = await connect.negotiate_tls(fake.url, connection, 2)
    assert agreed.startswith("TLSv1.3, certificate valid until ")
