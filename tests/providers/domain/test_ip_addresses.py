"""IPv4 addresses inside of IPv6 ones: whatever the form, the guard looks at what is reached."""

import ipaddress
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain import base_url, ip_addresses

type Wrap = Callable[[IPv4Address], IPv6Address]


def under(prefix: str) -> Wrap:
    """The last 32 bits under a prefix."""
    base = int(IPv6Address(prefix))
    return lambda ip: IPv6Address(base | int(ip))


def spread(prefix: str, length: int) -> Wrap:
    """RFC 6052, section 2.2: behind a prefix of so many bits, around the zero byte 8."""

    def wrap(ip: IPv4Address) -> IPv6Address:
        places = [each for each in range(length // 8, 16) if each != 8][:4]
        packed = bytearray(IPv6Address(prefix).packed)
        for place, byte in zip(places, ip.packed, strict=True):
            packed[place] = byte
        return IPv6Address(bytes(packed))

    return wrap


def sixtofour(ip: IPv4Address) -> IPv6Address:
    return IPv6Address((0x2002 << 112) | (int(ip) << 80) | 1)


def teredo_client(ip: IPv4Address) -> IPv6Address:
    server = int(IPv4Address("65.54.227.120"))
    return IPv6Address((0x20010000 << 96) | (server << 64) | (int(ip) ^ 0xFFFFFFFF))


def teredo_server(ip: IPv4Address) -> IPv6Address:
    return IPv6Address((0x20010000 << 96) | (int(ip) << 64) | 0xF7F7F7F7)


FORMS: dict[str, Wrap] = {
    "mapped": under("::ffff:0:0"),
    "compatible": under("::"),
    "SIIT": under("::ffff:0:0:0"),
    "NAT64": under("64:ff9b::"),
    "local NAT64 /48": spread("64:ff9b:1::", 48),
    "local NAT64 /56": spread("64:ff9b:1:ab00::", 56),
    "local NAT64 /64": spread("64:ff9b:1:abcd::", 64),
    "local NAT64 /96": under("64:ff9b:1:abcd:0:1234::"),
    "6to4": sixtofour,
    "Teredo's client": teredo_client,
    "Teredo's server": teredo_server,
    "ISATAP": under("2001:db8::5efe:0:0"),
    "ISATAP of a public address": under("2001:db8::200:5efe:0:0"),
}
NEVER = ["169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "224.0.0.1"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.5", "172.16.0.1", "100.64.0.1", "0.0.0.1"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", NEVER)
def test_what_is_never_called_is_so_in_every_form(form: str, address: str) -> None:
    """As a number of DNS and as it is typed."""
    wrapped = FORMS[form](IPv4Address(address))
    assert any(map(ip_addresses.is_never_called, ip_addresses.parse(str(wrapped))))
    assert "never called" in base_url.tidy(f"http://[{wrapped}]/v1").problem


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_private_is_so_in_every_form(form: str, address: str) -> None:
    wrapped = FORMS[form](IPv4Address(address))
    assert not all(ip.is_global for ip in ip_addresses.reachable_addresses(wrapped))


@given(st.sampled_from(sorted(FORMS)), st.ip_addresses(v=4))
def test_every_form_gives_its_address_back(form: str, address: IPv4Address) -> None:
    """Except the two that are no form: nothing at all, and this machine."""
    wrapped = FORMS[form](address)
    if wrapped.is_unspecified or wrapped.is_loopback:
        assert ip_addresses.reachable_addresses(wrapped) == (wrapped,)
    else:
        assert address in ip_addresses.reachable_addresses(wrapped)


@given(st.ip_addresses(v=6))
def test_an_address_without_another_one_in_it_is_itself(address: IPv6Address) -> None:
    """Something is always left to be looked at."""
    found = ip_addresses.reachable_addresses(address)
    assert found
    assert address in found or all(ip.version == 4 for ip in found)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("8.8.8.8", ["8.8.8.8"]),
        ("::ffff:8.8.8.8", ["8.8.8.8"]),
        ("64:ff9b::8.8.8.8", ["8.8.8.8"]),
        ("2002:808:808::1", ["8.8.8.8"]),
        ("::1", ["::1"]),
        ("::", ["::"]),
        ("fe80::1%eth0", ["fe80::1"]),
        ("2606:4700::1", ["2606:4700::1"]),
        ("2001:db8::5efe:808:808", ["8.8.8.8", "2001:db8::5efe:808:808"]),
    ],
)
def test_what_an_address_leads_to(address: str, reached: list[str]) -> None:
    assert ip_addresses.parse(address) == tuple(map(ipaddress.ip_address, reached))
