"""What a file says of providers, whatever program wrote it: values between reading and planning.

No I/O.

None means that the file says nothing of it, so that nothing stored is changed by silence.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.domain import base_url as base_url_module
from providers.domain.frozen import frozen

LARGEST = 5 * 1024 * 1024  # bytes of a file
MOST_PROVIDERS = 500
MOST_MODELS = 10_000  # of one provider, as discovery takes them


type Resolve = Callable[[str, str], str | None]  # by kind and name, as Missing has them


def nobody(kind: str, name: str) -> None:
    """The Resolve of an upload: the server's environment and disk are none of its business."""


class Malformed(Exception):
    """What cannot be taken; the message names the place and shows no value."""


class Unsupported(Malformed):
    """What is well written, and of no use here."""


@frozen
class ModelEntry:
    """A model; `facts` are columns, those alone that the file tells of.

    `names`: its aliases, each with its place among the models that share it, 0 for the first.
    `described`: it is stored, and its provider or a catalogue has told what it is.
    """

    model_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    described: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What a file only names: what it is for (`key`, `header X-Team`), and where it is to be found.

    `kind` is `env`, `file` or `blank`, `name` the variable, the path, or the blank itself.
    """

    what: str
    kind: str
    name: str

    @property
    def placeholder(self) -> str:
        return self.name if self.kind == "blank" else f"{{{self.kind}:{self.name}}}"

    def __str__(self) -> str:
        return f"{self.what}: {self.placeholder}"


@frozen
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
    litellm_provider: str | None = None
    litellm_params: Mapping[str, Any] | None = field(default=None, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[str, ...] | None = None
    models: tuple[ModelEntry, ...] = ()
    missing: tuple[Missing, ...] = ()  # what could not be resolved
    notes: tuple[str, ...] = ()

    @property
    def lacks_address(self) -> bool:
        """Whether its address is still to be filled in. LiteLLM knows those of its own vendors."""
        return not self.base_url and any(each.what == "address" for each in self.missing)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not taken from a file, and why. `is_malformed`: it is badly written."""

    name: str
    reason: str
    is_malformed: bool = False

    @classmethod
    def because(cls, name: str, problem: Malformed) -> "Skipped":
        return cls(name, str(problem), not isinstance(problem, Unsupported))


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is in a file and has no place here, by its name, and how often it is there."""

    name: str
    count: int = 1

    def __str__(self) -> str:
        return self.name if self.count == 1 else f"{self.name} ({self.count} times)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole file."""

    source: str
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: tuple[Ignored, ...] = ()


_WORDS = {dict: "an object", list: "a list", str: "text", int: "a number", bool: "true or false"}


def expect[T](value: Any, kind: type[T], place: str) -> T:
    """The value, where it is of the kind. Raises Malformed, which names the place."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{place or 'The file'}: {_WORDS[kind]} is expected here.")
    if kind is str and "\0" in str(value):
        raise Malformed(f"{place}: there is a NUL character in it.")
    return value


def address(typed: str, place: str) -> str:
    """A base URL as we keep it. Raises Malformed."""
    tidied = base_url_module.tidy(typed)
    if tidied.problem or len(tidied.url) > 500:
        raise Malformed(f"{place}: {tidied.problem or 'the address is too long.'}")
    return tidied.url


def slugged(name: str) -> str:
    """A name as it may stand in an address."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:50].strip("-")
    return f"{slug}-provider" if slug in ("new", "test", "fix") else slug or "provider"
