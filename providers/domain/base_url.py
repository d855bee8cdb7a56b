"""Tidy a provider's base URL as it is typed, and find what is wrong with it.

Every change is described in a sentence, so that nobody finds an address they did not type without
an explanation.
"""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from providers.domain import ip_addresses
from providers.domain.frozen import frozen
from providers.domain.ip_addresses import Ip

# Paths that people paste along with an example of curl, longest first.
_CALLS = ("/chat/completions", "/completions", "/messages", "/responses", "/embeddings", "/models")

ZAI_GENERAL = "/api/paas/v4"
ZAI_CODING = "/api/coding/paas/v4"
_ZAI_OTHER = {ZAI_GENERAL: ZAI_CODING, ZAI_CODING: ZAI_GENERAL}

# Forms of an IPv4 address for the system's resolver: 2852039166, 0xa9fea9fe, 127.1 (inet_aton(3))
_NUMBERS = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+)){0,3}", re.I)

INVALID = "Invalid endpoint - check URL format"
_DOUBLED = re.compile(r"(/v\d+(?:beta)?)(?:\1)+(?=/|$)")


@frozen
class Tidied:
    """A tidied address, with descriptions of its `changes`; `problem` is empty if there is none."""

    url: str
    changes: tuple[str, ...] = ()
    problem: str = ""


def tidy(typed: str) -> Tidied:
    """Remove what is surely unwanted, add what is surely missing, name what is surely wrong."""
    url, changes = typed.strip(), list[str]()
    if not url:
        return Tidied(url="", problem="Enter the address, for example https://api.example.com/v1")
    once = _SCHEMES.sub(r"\1://", url)
    if once != url:
        url = once
        changes.append("The scheme was written once, with two slashes.")
    if added := _missing_scheme(url):
        url = f"{added}://{url.lstrip('/')}"
        changes.append(f"{added}:// was added at the start.")
    try:
        parts = urlsplit(url)
    except ValueError:
        return Tidied(url=url, problem=f"{INVALID}: the host cannot be read")
    parts, trimmed = _trim(parts)
    return Tidied(url=urlunsplit(parts), changes=(*changes, *trimmed), problem=_problem(parts))


# https:/host and https://https://host
_SCHEMES = re.compile(r"^(?:https?:/*)*(https?):/+(?=[^/])", re.I)
# A host. One without a dot needs a port, as the names of Compose services have.
_BARE = re.compile(
    r"(?://)?(?:(?P<host>[\w-]+(?:\.[\w-]+)+|localhost|\[[0-9a-f:]+\])(?::\d+)?"
    r"|(?P<short>[\w-]+):\d+)(?=/|$)",
    re.I,
)


def _missing_scheme(url: str) -> str:
    """The scheme to add to an address that begins with a host; empty for any other."""
    if not (match := _BARE.match(url)):
        return ""
    return "http" if match["short"] or is_private(f"http://{match['host']}") else "https"


def _trim(parts: SplitResult) -> tuple[SplitResult, tuple[str, ...]]:
    changes: list[str] = []
    typed = re.sub("/{2,}", "/", parts.path)
    if typed != parts.path:
        changes.append("Double slashes were removed.")
    path = typed.rstrip("/")
    calls = False
    while call := next((each for each in _CALLS if path.endswith(each)), ""):
        path = path.removesuffix(call).rstrip("/")
        changes.append(f"{call} was removed from the end: it is added to every call.")
        calls = True
    if path != typed and not calls:
        changes.append("The slash at the end was removed.")
    if parts.query or parts.fragment:
        changes.append("Everything after ? or # was removed.")
    lowered = parts.netloc if parts.username else parts.netloc.lower()
    if lowered != parts.netloc:
        changes.append("The host was changed to lower case.")
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
    if any(map(ip_addresses.is_never_called, parse_literal(host))):
        return f"{host} is never called: such addresses hold the secrets of cloud machines."
    if doubled := _DOUBLED.search(parts.path):
        once = doubled[1]
        suggestion = urlunsplit(_drop_doubled_version(parts))
        return f"The address contains {once} twice: did you mean {suggestion}?"
    return ""


def parse_literal(host: str) -> tuple[Ip, ...]:
    """The IP addresses that a host written as a number stands for; none where it is a name."""
    try:
        if _NUMBERS.fullmatch(host):
            return (ipaddress.IPv4Address(socket.inet_aton(host)),)
        return ip_addresses.parse(host)
    except (ValueError, OSError):
        return ()


def is_private(url: str) -> bool:
    """Whether the address is this machine's or, by its number, a private network's."""
    return is_local(url) or not all(ip.is_global for ip in parse_literal(host_name(url)))


def without_doubled_version(url: str) -> str:
    """The address with a doubled `/v1` reduced to one."""
    return urlunsplit(_drop_doubled_version(urlsplit(url)))


def _drop_doubled_version(parts: SplitResult) -> SplitResult:
    return parts._replace(path=_DOUBLED.sub(r"\1", parts.path))


def other_zai_url(url: str) -> str:
    """Z.ai's other base URL (general against Coding Plan), on the same host; empty elsewhere."""
    parts = urlsplit(url)
    other = _ZAI_OTHER.get(parts.path.rstrip("/"))
    return urlunsplit(parts._replace(path=other)) if other else ""


def is_zai_coding(url: str) -> bool:
    return urlsplit(url).path.rstrip("/") == ZAI_CODING


def host(url: str) -> str:
    """Host and port as written, to be shown."""
    return urlsplit(url).netloc or url


def host_name(url: str) -> str:
    """The host without its port, in lower case."""
    return urlsplit(url).hostname or ""


def origin(url: str) -> str:
    """Scheme, host and port: two addresses of one origin are one server (RFC 6454, section 4)."""
    parts = urlsplit(url.lower())
    if not parts.hostname:
        return ""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def with_host(url: str, host: str) -> str:
    """The same address at another host, on the same port."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=host + port))


def is_local(url: str) -> bool:
    """Whether the address is this machine's, which inside a container is the container's."""
    host = host_name(url)
    if addresses := parse_literal(host):
        return any(ip.is_loopback for ip in addresses)
    return host == "localhost" or host.endswith(".localhost")


def with_version(url: str) -> str:
    """The address with `/v1` at its end; empty where it already has a version."""
    parts = urlsplit(url)
    if re.search(r"/v\d", parts.path):
        return ""
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/v1"))


def redirect_target(url: str, location: str) -> str:
    """The base URL to use instead of one that redirects, derived from the target of the redirect.

    Empty where the target is no API call (but a sign-in page, say), or is not encrypted any more.
    """
    there = urljoin(f"{url}/", location)
    if not location or not urlsplit(there).path.rstrip("/").endswith(_CALLS):
        return ""
    tidied = tidy(there)
    weaker = url.startswith("https:") and not tidied.url.startswith("https:")
    return "" if tidied.problem or weaker or tidied.url == url else tidied.url
