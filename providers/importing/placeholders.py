"""Fills in what a file only refers to: variables, files, and blanks such as `<HOST>`. No I/O.

A `Resolve` looks the values up. The command line does; the pages never do, and show a field for
each value that is missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.domain import http_headers
from providers.importing.schema import Malformed, Missing, Resolve, expect

# OpenCode's `{env:NAME}` and `{file:path}`, a shell's `${NAME}`.
_NAMED = r"\{(?P<kind>env|file):(?P<name>[^{}]+)\}|\$\{(?P<shell>[^{}$]+)\}"
# What people leave for others to fill in: `<HOST>`, `{resource}`, `YOUR_RESOURCE`, `your-resource`.
_BLANK = r"<[A-Za-z][^<>\s]*(?: [^<>\s]+)*>|\{[A-Za-z_][\w -]*\}|(?i:\byour[-_][a-z0-9_-]*[a-z0-9])"
_NAMED_ONLY = re.compile(_NAMED)
_ANY = re.compile(f"{_NAMED}|(?P<blank>{_BLANK})")


def from_litellm(value: str) -> str:
    """LiteLLM's `os.environ/NAME` as a placeholder."""
    name = value.strip().removeprefix("os.environ/")
    return value if name == value.strip() else f"{{env:{name}}}"


@dataclass(slots=True)
class Filling:
    """Replaces placeholders by their values, and collects those that are missing."""

    resolve: Resolve
    missing: list[Missing] = field(default_factory=list)

    def text(self, text: str, what: str) -> str | None:
        """The text with its values; None if one is missing. A blank counts only if it is the whole
        text: within a text it may be meant literally."""
        is_blank = _ANY.fullmatch(text.strip()) is not None
        return self._fill(text.strip() if is_blank else text, what, is_blank=is_blank)

    def address(self, text: str) -> str | None:
        """The same for a URL, in which a blank is never literal."""
        return self._fill(text.strip(), "address", is_blank=True)

    def _fill(self, text: str, what: str, *, is_blank: bool) -> str | None:
        pattern, ends, parts = _ANY if is_blank else _NAMED_ONLY, 0, list[str | None]()
        for match in pattern.finditer(text):
            parts += [text[ends : match.start()], self._look_up(match, what)]
            ends = match.end()
        parts.append(text[ends:])
        return None if None in parts else "".join(part or "" for part in parts)

    def _look_up(self, match: re.Match[str], what: str) -> str | None:
        groups = match.groupdict()
        kind = groups["kind"] or ("env" if groups["shell"] else "blank")
        name = (groups["name"] or groups["shell"] or match[0]).strip()
        value = self.resolve(kind, name)
        if not value:
            self.missing.append(Missing(what, kind, name))
            return None
        return value.strip()

    def headers(self, headers: Mapping[str, Any], place: str) -> dict[str, str] | None:
        """The headers with their values. Raises Malformed for an invalid header."""
        filled: dict[str, str] = {}
        for name, value in headers.items():
            where = f"{place}.{name}"
            if not http_headers.is_name(name) or http_headers.is_own(name):
                raise Malformed(f"{where}: this header cannot be set.")
            text = self.text(expect(value, str, where), f"header {name}")
            if text is not None and not http_headers.is_value(text):
                raise Malformed(f"{where}: a header value must be plain ASCII.")
            if text:
                filled[name] = text
        return filled or None

    def key(self, text: str, what: str, place: str) -> str | None:
        key = self.text(text.strip(), what)
        if key and (not key.isascii() or not key.isprintable() or " " in key):
            raise Malformed(f"{place}: a key has no spaces, line breaks or accents.")
        return key or None

    def parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """LiteLLM's parameters, with values for their placeholders; missing ones are left out."""
        filled = {
            name: self.text(_as_file(name, from_litellm(value)), f"parameter {name}")
            if isinstance(value, str)
            else value
            for name, value in parameters.items()
        }
        return {name: value for name, value in filled.items() if value is not None}


def _as_file(name: str, value: str) -> str:
    """Vertex AI's credentials are JSON, or the path of a file that holds it."""
    is_path = name.endswith("_credentials") and not value.lstrip().startswith(("{", "$"))
    return f"{{file:{value}}}" if is_path else value
