"""The shape of a provider's address: what is tidied as it is typed, and what is wrong with it.

Everything that was changed is said in a sentence, so that nobody finds an address they did not
type without knowing why.
"""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from providers.domain import ip_addresses
from providers.domain.frozen import frozen
from providers.domain.ip_addresses import Ip

# What people paste from an example of curl, longest first.
_CALLS = ("/chat/completions", "/completions", "/messages", "/responses", "/embeddings", "/models")

ZAI_GENERAL = "/api/paas/v4"
ZAI_CODING = "/api/coding/paas/v4"
_ZAI_OTHER = {ZAI_GENERAL: ZAI_CODING, ZAI_CODING: ZAI_GENERAL}

# What the system's resolver takes for an IPv4 address: 2852039166, 0xa9fea9fe, 127.1 (inet_aton(3))
_NUMBERS = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+)){0,3}", re.I)

INVALID = "Invalid endpoint - check URL format"
_DOUBLED = re.compile(r"(/v\d+(?:beta)?)(?:\1)+(?=/|$)")


@frozen
class Tidied:
    """An address as it should be: `changes` are sentences, `problem` is empty where it is good."""

    url: str
    changes: tuple[str, ...] = ()
    problem: str = ""


def tidy(typed: str) -> Tidied:
    """Trims what is surely not meant, adds what is surely meant, and names what is surely wrong."""
    url, changes = typed.strip(), list[str]()
    if not url:
        return Tidied(url="", problem="Enter the address, for example https://api.example.com/v1")
    once = _SCHEMES.sub(r"\1://", url)
    if once != url:
        url = once
        changes.append("What stands before the host was written once, with two slashes.")
    if added := _missing_scheme(url):
        url = f"{added}://{url.lstrip('/')}"
        changes.append(f"{added}:// was put in front.")
    try:
        parts = urlsplit(url)
    except ValueError:
        return Tidied(url=url, problem=f"{INVALID}: the host cannot be read")
    parts, trimmed = _trimmed(parts)
    return Tidied(url=urlunsplit(parts), changes=(*changes, *trimmed), problem=_problem(parts))


# https:/host and https://https://host
_SCHEMES = re.compile(r"^(?:https?:/*)*(https?):/+(?=[^/])", re.I)
# A host; without a dot it is known as one by its port, as Compose's services are written.
_BARE = re.compile(
    r"(?://)?(?:(?P<host>[\w-]+(?:\.[\w-]+)+|localhost|\[[0-9a-f:]+\])(?::\d+)?"
    r"|(?P<short>[\w-]+):\d+)(?=/|$)",
    re.I,
)


def _missing_scheme(url: str) -> str:
    """The scheme of an address that begins with a host; empty where it has one, or is none."""
    if not (found := _BARE.match(url)):
        return ""
    return "http" if found["short"] or is_private(f"http://{found['host']}") else "https"


def _trimmed(parts: SplitResult) -> tuple[SplitResult, tuple[str, ...]]:
    changes: list[str] = []
    typed = re.sub("/{2,}", "/", parts.path)
    if typed != parts.path:
        changes.append("Slashes that stood twice were taken out.")
    path = typed.rstrip("/")
    calls = False
    while call := next((each for each in _CALLS if path.endswith(each)), ""):
        path = path.removesuffix(call).rstrip("/")
        changes.append(f"{call} was taken off the end: it is added to every call.")
        calls = True
    if path != typed and not calls:
        changes.append("The slash at the end was taken off.")
    if parts.query or parts.fragment:
        changes.append("What came after ? or # was taken off.")
    lowered = parts.netloc if parts.username else parts.netloc.lower()
    if lowered != parts.netloc:
        changes.append("The host is written in small letters.")
    return parts._replace(netloc=lowered, path=path, query="", fragment=""), tuple(changes)


def _problem(parts: SplitResult) -> str:
    if parts.scheme not in ("http", "https"):
        return f"{INVALID}: it has to begin with https:// or http://"
    try:
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return f"{INVALID}: the host or the port cannot be read"
    if not host or re.search(r"\s", parts.netloc):
        return f"{INVALID}: there is no host name in it"
    if parts.username or parts.password:
        return "Put the key in its own field, not into the address: addresses are shown on pages."
    if any(map(ip_addresses.is_never_called, literal(host))):
        return f"{host} is never called: such addresses hold the secrets of cloud machines."
    if doubled := _DOUBLED.search(parts.path):
        once = doubled[1]
        return f"{once} is in it twice: did you mean {urlunsplit(_undoubled(parts))}?"
    return ""


def literal(host: str) -> tuple[Ip, ...]:
    """The IP addresses that a host leads to, however it is written; none where it is a name."""
    try:
        if _NUMBERS.fullmatch(host):
            return (ipaddress.IPv4Address(socket.inet_aton(host)),)
        return ip_addresses.parse(host)
    except (ValueError, OSError):
        return ()


def is_private(url: str) -> bool:
    """Whether the address is this machine's or, by its number, one of a network at home."""
    return is_local(url) or not all(ip.is_global for ip in literal(name(url)))


def undoubled(url: str) -> str:
    """The address with a doubled `/v1` said once."""
    return urlunsplit(_undoubled(urlsplit(url)))


def _undoubled(parts: SplitResult) -> SplitResult:
    return parts._replace(path=_DOUBLED.sub(r"\1", parts.path))


def zai_other(url: str) -> str:
    """Z.ai's other base URL (general against Coding Plan), on the same host; empty elsewhere."""
    parts = urlsplit(url)
    other = _ZAI_OTHER.get(parts.path.rstrip("/"))
    return urlunsplit(parts._replace(path=other)) if other else ""


def is_zai_coding(url: str) -> bool:
    return urlsplit(url).path.rstrip("/") == ZAI_CODING


def host(url: str) -> str:
    """Host and port as written, for a sentence."""
    return urlsplit(url).netloc or url


def name(url: str) -> str:
    """The host alone, in small letters."""
    return urlsplit(url).hostname or ""


def origin(url: str) -> str:
    """Scheme, host and port: two addresses of one origin are one server (RFC 6454, section 4)."""
    parts = urlsplit(url.lower())
    if not parts.hostname:
        return ""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def at(url: str, host: str) -> str:
    """The same address at another host, on the same port."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=host + port))


def is_local(url: str) -> bool:
    """Whether the address means this very machine, which inside a container is the container."""
    host = name(url)
    if found := literal(host):
        return any(ip.is_loopback for ip in found)
    return host == "localhost" or host.endswith(".localhost")


def with_version(url: str) -> str:
    """The address with `/v1` at its end; empty where it already has a version."""
    parts = urlsplit(url)
    if re.search(r"/v\d", parts.path):
        return ""
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/v1"))


def led_to(url: str, location: str) -> str:
    """The address to use instead of one that redirects, told by where it leads; empty where that is
    no call of an API (a sign-in page, say), or takes the encryption away."""
    there = urljoin(f"{url}/", location)
    if not location or not urlsplit(there).path.rstrip("/").endswith(_CALLS):
        return ""
    tidied = tidy(there)
    weaker = url.startswith("https:") and not tidied.url.startswith("https:")
    return "" if tidied.problem or weaker or tidied.url == url else tidied.url
