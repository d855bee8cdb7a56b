"""What a file says of providers, whoever wrote it: the values between reading and planning. No I/O.

None means that the file says nothing of it, so that nothing stored is changed by silence. What the
file only names, `{env:NAME}` or `{file:path}`, is asked of a `Resolve`: the command line looks, the
pages never do.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers import addresses
from providers.values import value

LARGEST = 5 * 1024 * 1024  # bytes of a file
MOST_PROVIDERS = 500
MOST_MODELS = 10_000  # of one provider, as discovery takes them

_NAMED = re.compile(r"\{(env|file):([^{}]+)\}")
_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, token
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})

type Resolve = Callable[[str, str], str | None]


class Malformed(Exception):
    """A file that cannot be taken; the message names the place and shows no value."""


@value
class ModelEntry:
    """A model; `facts` are columns, those alone that the file tells of.

    `described`: it is stored, and its provider or a catalogue has told what it is.
    """

    model_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    described: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What a file only names: what it is for (`key`, `header X-Team`), and where it is to be found.

    `kind` is `env` or `file`, `name` the variable or the path.
    """

    what: str
    kind: str
    name: str

    @property
    def placeholder(self) -> str:
        return f"{{{self.kind}:{self.name}}}"

    def __str__(self) -> str:
        return f"{self.what}: {self.placeholder}"


@value
class Entry:
    """A provider. `settings` are columns; secrets stay out of every repr."""

    slug: str
    name: str
    kind: str
    base_url: str
    preset: str = "custom"
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    gateway_api_key: str | None = field(default=None, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[str, ...] | None = None
    models: tuple[ModelEntry, ...] = ()
    missing: tuple[Missing, ...] = ()  # what could not be resolved
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not taken from a file, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole file."""

    source: str
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...] = ()


def nobody(kind: str, name: str) -> None:
    """The Resolve of an upload: the server's environment and disk are none of its business."""


@dataclass(slots=True)
class Filling:
    """Puts in what placeholders name, and remembers what was not to be had."""

    resolve: Resolve
    missing: list[Missing] = field(default_factory=list)

    def text(self, text: str, what: str) -> str | None:
        """The text with everything put in; None where something is missing."""
        parts = [self._part(each, what) for each in _split(text)]
        return None if None in parts else "".join(part or "" for part in parts)

    def _part(self, part: str, what: str) -> str | None:
        named = _NAMED.fullmatch(part)
        if named is None:
            return part
        kind, name = named[1], named[2].strip()
        found = self.resolve(kind, name)
        if not found:
            self.missing.append(Missing(what, kind, name))
            return None
        return found.strip()

    def headers(self, said: Mapping[str, Any], place: str) -> dict[str, str] | None:
        """Those that can be sent. Raises Malformed for what no header can be."""
        filled: dict[str, str] = {}
        for name, given in said.items():
            where = f"{place}.{name}"
            if not _HEADER_NAME.match(name) or name.lower() in _OWN_HEADERS:
                raise Malformed(f"{where}: this header cannot be set.")
            text = self.text(expect(given, str, where), f"header {name}")
            if text is not None and (not text.isascii() or not text.isprintable()):
                raise Malformed(f"{where}: a header's value is plain ASCII.")
            if text:
                filled[name] = text
        return filled or None

    def key(self, text: str, what: str, place: str) -> str | None:
        found = self.text(text.strip(), what)
        if found and (not found.isascii() or not found.isprintable() or " " in found):
            raise Malformed(f"{place}: a key has no spaces, line breaks or accents in it.")
        return found or None


def _split(text: str) -> list[str]:
    """Placeholders and what stands between them."""
    ends, parts = 0, []
    for match in _NAMED.finditer(text):
        parts += [text[ends : match.start()], match[0]]
        ends = match.end()
    return [part for part in (*parts, text[ends:]) if part]


_WORDS = {dict: "an object", list: "a list", str: "text", int: "a number", bool: "true or false"}


def expect[T](value: Any, kind: type[T], place: str) -> T:
    """The value, where it is of the kind. Raises Malformed, which names the place."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{place or 'The file'}: {_WORDS[kind]} is expected here.")
    if kind is str and "\0" in str(value):
        raise Malformed(f"{place}: there is a NUL character in it.")
    return value


def table(parent: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    """An object below another; empty where there is none."""
    found = parent.get(name)
    return {} if found is None else expect(found, dict, f"{place}.{name}".lstrip("."))


def names(parent: Mapping[str, Any], name: str, place: str) -> list[str] | None:
    """A list of texts below an object; None where there is none."""
    if parent.get(name) is None:
        return None
    where = f"{place}.{name}".lstrip(".")
    return [expect(each, str, where) for each in expect(parent[name], list, where)]


def text(parent: Mapping[str, Any], name: str, place: str) -> str:
    """A text below an object; empty where there is none."""
    found = parent.get(name)
    return "" if found is None else expect(found, str, f"{place}.{name}".lstrip("."))


def address(typed: str, place: str) -> str:
    """A base URL as we keep it. Raises Malformed."""
    tidied = addresses.tidy(typed)
    if tidied.problem or len(tidied.url) > 500:
        raise Malformed(f"{place}: {tidied.problem or 'the address is too long.'}")
    return tidied.url


def slugged(name: str) -> str:
    """A name as it may stand in an address."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:50].strip("-")
    return f"{slug}-provider" if slug in ("new", "test", "fix") else slug or "provider"
