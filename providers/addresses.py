"""The shape of a provider's address: what is tidied as it is typed, and what is wrong with it.

Everything that was changed is said in a sentence, so that nobody finds an address they did not
type without knowing why.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

# What people paste from an example of curl, longest first.
_CALLS = ("/chat/completions", "/completions", "/messages", "/responses", "/embeddings", "/models")

ZAI_GENERAL = "/api/paas/v4"
ZAI_CODING = "/api/coding/paas/v4"
_ZAI_OTHER = {ZAI_GENERAL: ZAI_CODING, ZAI_CODING: ZAI_GENERAL}

_DOUBLED = re.compile(r"(/v\d+(?:beta)?)(?:\1)+(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """An address as it should be: `changes` are sentences, `problem` is empty where it is good."""

    url: str
    changes: tuple[str, ...] = ()
    problem: str = ""


def tidy(typed: str) -> Tidied:
    """Trims what is surely not meant and names what is surely wrong."""
    url = typed.strip()
    if not url:
        return Tidied(url="", problem="Enter the address, for example https://api.example.com/v1")
    parts, changes = _trimmed(urlsplit(url))
    url = urlunsplit(parts)
    return Tidied(url=url, changes=changes, problem=_problem(parts))


def _trimmed(parts: SplitResult) -> tuple[SplitResult, tuple[str, ...]]:
    changes: list[str] = []
    path = parts.path.rstrip("/")
    for call in _CALLS:
        if path.endswith(call):
            path = path.removesuffix(call).rstrip("/")
            changes.append(f"{call} was taken off the end: it is added to every call.")
            break
    if not changes and path != parts.path:
        changes.append("The slash at the end was taken off.")
    if parts.query or parts.fragment:
        changes.append("What came after ? or # was taken off.")
    return parts._replace(path=path, query="", fragment=""), tuple(changes)


def _problem(parts: SplitResult) -> str:
    if parts.scheme not in ("http", "https"):
        return "Invalid endpoint - check URL format: it has to begin with https:// or http://"
    try:
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "Invalid endpoint - check URL format: the host or the port cannot be read"
    if not host or re.search(r"\s", parts.netloc):
        return "Invalid endpoint - check URL format: there is no host name in it"
    if parts.username or parts.password:
        return "Put the key in its own field, not into the address: addresses are shown on pages."
    if doubled := _DOUBLED.search(parts.path):
        once = doubled[1]
        return f"{once} is in it twice: did you mean {urlunsplit(_undoubled(parts))}?"
    return ""


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


def origin(url: str) -> str:
    """Scheme, host and port: two addresses of one origin are one server (RFC 6454, section 4)."""
    parts = urlsplit(url.lower())
    if not parts.hostname:
        return ""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def is_local(url: str) -> bool:
    """Whether the address means this very machine, which inside a container is the container."""
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def with_version(url: str) -> str:
    """The address with `/v1` at its end; empty where it already has a version."""
    parts = urlsplit(url)
    if re.search(r"/v\d", parts.path):
        return ""
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/v1"))
