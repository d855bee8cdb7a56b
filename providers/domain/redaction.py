"""Remove secrets from text that an upstream sent: known keys in any spelling, and key-like strings.

Errors pass through `redacted_errors` once, where they enter. Answers are never changed. No I/O.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import TracebackType
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from providers.domain.errors import CallError
from providers.domain.types import Target

HIDDEN = "[hidden]"
SHORTEST_SECRET = 4  # characters: a shorter one would hide ordinary words
SHORTEST_ENCODED = 8  # characters: base64 or hex of less is found in any text
SHORTEST_FRAGMENT = 10  # characters of a secret's beginning or end; `sk-proj-` alone says nothing
MAX_READ = 4096  # characters of a text that are searched
MAX_MESSAGE = 280  # characters of an error that are kept: what a card can show
MAX_CODE = 100  # characters of a code or a parameter's name


class redacted_errors:
    """Remove the secrets of a call from every text of a CallError that leaves the block.

    A class, as `contextlib.suppress` is: it is around every read of every stream. The causes of
    the error are dropped: their text is the upstream's, and a traceback would print it.
    """

    __slots__ = ("_target",)

    def __init__(self, target: Target) -> None:
        self._target = target

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if isinstance(exc, CallError):
            redact_error(exc, secrets_of(self._target))


def redact_error(error: CallError, secrets: Iterable[str]) -> None:
    """Redact an error in place. Texts are cut after it: half a key is no longer recognized."""
    secrets = list(secrets)
    error.message = redact_line(error.message, secrets, MAX_MESSAGE)
    error.code = redact_line(error.code, secrets, MAX_CODE)
    error.param = redact_line(error.param, secrets, MAX_CODE)
    error.args = (error.message,)
    error.__cause__ = error.__context__ = None


def redact_line(text: str, secrets: Iterable[str], most: int) -> str:
    """The text on one line without secrets and control characters, at most so many characters."""
    secrets = list(secrets)
    if len(text) > MAX_READ:  # its end may be half of a secret
        text = text[: max(most, MAX_READ - longest_spelling(secrets))]
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(redact(printable, secrets).split())[:most]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets in any spelling, and without what looks like a key."""
    held = [each for each in sorted(secrets, key=len, reverse=True) if len(each) >= SHORTEST_SECRET]
    for secret in held:
        text = _known_forms(secret).sub(HIDDEN, text)
    for secret in held:
        text = _without_fragments(text, secret)
    for shape in _SHAPES:
        text = shape.sub(_hide_last_group, text)
    return text


def longest_spelling(secrets: Iterable[str]) -> int:
    """Characters of the longest form in which one of these secrets is recognized."""
    return max((len(form) for secret in secrets for form in _spellings(secret)), default=0)


# The secrets of a call


def secrets_of(target: Target) -> frozenset[str]:
    """Everything about a call that no text may repeat, with the parts of which it is made."""
    held = target.secrets
    urls = (target.base_url, target.upstream.base_url if target.upstream else "")
    parts = {part for value in held for part in _parts(value)}
    return held | parts | {secret for url in urls for secret in _url_secrets(url)}


def _parts(value: str) -> Iterator[str]:
    """What is secret within a header such as `Bearer KEY` or `Basic BASE64`."""
    scheme, _, credentials = value.strip().partition(" ")
    if not credentials:
        return
    yield credentials.strip()
    if scheme.lower() == "basic":
        try:
            user_and_password = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, ValueError):
            return
        yield user_and_password
        yield user_and_password.partition(":")[2]


def _url_secrets(url: str) -> Iterator[str]:
    """Credentials and long query values of an address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    yield from filter(None, (parts.password, parts.netloc.rpartition("@")[0]))
    yield from (value for _, value in parse_qsl(parts.query) if len(value) >= SHORTEST_ENCODED)


# How a known secret may be spelled


def _spellings(secret: str) -> frozenset[str]:
    in_json = json.dumps(secret)[1:-1]
    forms = {secret, in_json, in_json.replace("/", "\\/"), html.escape(secret)}
    forms |= {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    if len(secret) >= SHORTEST_ENCODED:
        forms |= {secret.encode().hex(), *_in_base64(secret.encode())}
    return frozenset(forms)


def _in_base64(secret: bytes) -> Iterator[str]:
    """The characters that encode the secret, wherever it begins in what was encoded: three bytes
    are four characters (RFC 4648, section 4), so there are three ways."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        yield encoded[first:last]
        yield encoded[first:last].translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")


@lru_cache(maxsize=256)
def _known_forms(secret: str) -> re.Pattern[str]:
    """Every spelling, and the masked ones that show a beginning or an end (`sk-ab****wxyz`)."""
    forms = [re.escape(form) for form in sorted(_spellings(secret), key=len, reverse=True)]
    if len(secret) >= SHORTEST_ENCODED:
        mask = r"(?:[*•…]+|\.{2,}|[xX]{3,})"
        forms.append(rf"{re.escape(secret[:3])}[^\s\"',;]{{0,200}}?{mask}[\w*•…+/=-]*")
        forms.append(rf"[*•…]+[\w-]*{re.escape(secret[-3:])}\b")
        return re.compile("|".join(forms), re.IGNORECASE)
    return re.compile("|".join(forms))


def _without_fragments(text: str, secret: str) -> str:
    """Without the longer beginnings and ends of a secret, such as one that was cut."""
    if len(secret) <= SHORTEST_FRAGMENT:
        return text
    text = _hide_runs(text, secret, 1)
    return _hide_runs(text[::-1], secret[::-1], -1)[::-1]


def _hide_runs(text: str, secret: str, direction: int) -> str:
    start = secret[:SHORTEST_FRAGMENT]
    while (at := text.find(start)) >= 0:
        end = at + len(start)
        while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
            end += 1
        text = text[:at] + HIDDEN[::direction] + text[end:]
    return text


# What looks like a key, whoever's it is. Only the last group of each is hidden.
_KEY = r"(?=[^\s\"']*\d)[^\s\"',;<>(){}\[\]&]{8,}"
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        r"(?i)\b(?:bearer|basic|apikey)\s+(" + _KEY + ")",
        r"\b((?:sk|pk|rk)-[\w-]{8,})",
        r"\b((?:ocw|nvapi|pplx|xai|glpat|csk|tvly)-(?=[\w-]*\d)[\w-]{12,})",
        r"\b((?:gsk|hf|gh[pousr]|r8|fw|github_pat)_\w{12,})",
        r"\b(AIza[\w-]{30,})",
        r"\b((?:AKIA|ASIA)[A-Z0-9]{16})\b",
        r"\b(eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?)",
        r"\b([0-9a-f]{32}\.\w{16})\b",  # Z.ai's and Zhipu's
        r"://([^/\s@\"']+)@",
        r"(?i)[?&](?:[\w-]{0,40}(?:key|token|secret|password|signature|auth|ticket)|sig|code)="
        r"([^&\s\"']+)",
        r"(?i)\b(?:[\w-]{0,40}api[-_ ]?key|authorization|secret|password|token)"
        r"[\"']?\s*[:=]\s*[\"']?"
        r"(?=[^\s\"']*[a-z])(" + _KEY + ")",
    )
)


def _hide_last_group(match: re.Match[str]) -> str:
    if match[1] == HIDDEN:
        return match[0]
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return match[0][:start] + HIDDEN + match[0][end:]
