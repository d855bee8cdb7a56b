"""The IP addresses that a connection would reach, and which of them are never called. No I/O.

An IPv6 address may embed an IPv4 one, to which a gateway in the network then connects. Python's
`ipaddress` parses three such forms; the table here has the others, each with its source.
"""

import ipaddress

from providers.domain.frozen import frozen

type Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds keep a machine's secrets outside the link-local range: AWS, Alibaba, Azure, Oracle.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)


@frozen
class Form:
    """A prefix of IPv6 addresses that embed an IPv4 one, and which of their 16 bytes hold it."""

    network: ipaddress.IPv6Network
    positions: tuple[int, ...]


def _form(network: str, *positions: int) -> Form:
    return Form(network=ipaddress.IPv6Network(network), positions=positions)


_LOCAL_NAT64 = "64:ff9b:1::/48"  # RFC 8215; for local use, divided as in RFC 6052, section 2.2
_FORMS = (
    _form("::/96", 12, 13, 14, 15),  # IPv4-compatible, RFC 4291, section 2.5.5.1
    _form("::ffff:0:0:0/96", 12, 13, 14, 15),  # IPv4-translated (SIIT), RFC 2765, section 2.1
    _form("64:ff9b::/96", 12, 13, 14, 15),  # NAT64, RFC 6052, section 2.1
    _form(_LOCAL_NAT64, 6, 7, 9, 10),  # byte 8 is always zero
    _form(_LOCAL_NAT64, 7, 9, 10, 11),
    _form(_LOCAL_NAT64, 9, 10, 11, 12),
    _form(_LOCAL_NAT64, 12, 13, 14, 15),
)
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # bytes 8 to 11, RFC 5214, section 6.1


def parse(text: str) -> tuple[Ip, ...]:
    """The addresses that an IP address reaches. Ignores a zone after `%`. Raises ValueError."""
    return reachable_addresses(ipaddress.ip_address(text.partition("%")[0]))


def reachable_addresses(ip: Ip) -> tuple[Ip, ...]:
    """Every address that a connection may reach: the embedded ones, or else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback or ip.is_unspecified:
        return (ip,)
    embedded = _embedded_addresses(ip)
    may_be_reached_itself = ip.packed[8:12] in _ISATAP or not embedded
    return (*embedded, ip) if may_be_reached_itself else embedded


def _embedded_addresses(ip: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    parsed = (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ()))
    addresses = [each for each in parsed if each is not None]
    addresses += [_at(ip, form.positions) for form in _FORMS if ip in form.network]
    if ip.packed[8:12] in _ISATAP:
        addresses.append(_at(ip, (12, 13, 14, 15)))
    return tuple(dict.fromkeys(addresses))


def _at(ip: ipaddress.IPv6Address, positions: tuple[int, ...]) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes(ip.packed[each] for each in positions))


def is_never_called(ip: Ip) -> bool:
    """Whether no setting allows a call: link-local, multicast, and the metadata of clouds."""
    return ip.is_link_local or ip.is_multicast or ip in _METADATA
