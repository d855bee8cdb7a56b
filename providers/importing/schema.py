"""Values between reading a file and planning its import, the same for every format. No I/O.

None means that the file is silent about a value, and silence changes nothing that is stored.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.domain import base_url as base_url_module
from providers.domain.frozen import frozen

MAX_FILE_BYTES = 5 * 1024 * 1024  # bytes of a file
MAX_PROVIDERS = 500
MAX_MODELS = 10_000  # of one provider, as discovery takes them


type Resolve = Callable[[str, str], str | None]  # by kind and name, as Missing has them


def resolve_nothing(kind: str, name: str) -> None:
    """The Resolve of an upload: never reads the server's environment or disk."""


class Malformed(Exception):
    """A file, or a part of it, cannot be read. The message names the place and shows no value."""


class Unsupported(Malformed):
    """Well-formed, but not supported here."""


@frozen
class ModelEntry:
    """A model. `facts` are the columns that the file sets.

    `names`: its aliases, each with its position among the models that share it, from 0.
    `described`: it is stored, and its provider or a catalogue has described it.
    """

    model_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    described: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A value that a file refers to without holding it.

    `what` it is for (`key`, `header X-Team`); `kind` is `env`, `file` or `blank`; `name` is the
    variable, the path, or the blank itself.
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
class ProviderEntry:
    """A provider. `settings` are columns; no repr shows a secret."""

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
        """Whether the user must enter its base URL. LiteLLM has those of its own vendors."""
        return not self.base_url and any(each.what == "address" for each in self.missing)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a file that is not imported, and why. `is_malformed`: it is written wrongly."""

    name: str
    reason: str
    is_malformed: bool = False

    @classmethod
    def because(cls, name: str, problem: Malformed) -> "Skipped":
        return cls(name, str(problem), not isinstance(problem, Unsupported))


@dataclass(frozen=True, slots=True)
class Ignored:
    """A setting of a file that is not used here, and how often it occurs."""

    name: str
    count: int = 1

    def __str__(self) -> str:
        return self.name if self.count == 1 else f"{self.name} ({self.count} times)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The contents of a file."""

    source: str
    entries: tuple[ProviderEntry, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: tuple[Ignored, ...] = ()


_WORDS = {dict: "an object", list: "a list", str: "text", int: "a number", bool: "true or false"}


def expect[T](value: Any, kind: type[T], place: str) -> T:
    """The value, checked to be of this type. Raises Malformed that names the place."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{place or 'The file'}: {_WORDS[kind]} is expected here.")
    if kind is str and "\0" in str(value):
        raise Malformed(f"{place}: contains a NUL character.")
    return value


def address(typed: str, place: str) -> str:
    """Normalise a base URL for storing. Raises Malformed."""
    tidied = base_url_module.tidy(typed)
    if tidied.problem or len(tidied.url) > 500:
        raise Malformed(f"{place}: {tidied.problem or 'the address is too long.'}")
    return tidied.url


def slugify_name(name: str) -> str:
    """Turn a name into its form in URLs."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:50].strip("-")
    return f"{slug}-provider" if slug in ("new", "test", "fix") else slug or "provider"
