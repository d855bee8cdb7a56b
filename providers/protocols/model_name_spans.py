"""Cut the model's name out of a request's body, so that another takes its place. No I/O.

Every other byte of the body stays as it came: unknown fields, spelling, order, files.
"""

import json
import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]

_SPACE = re.compile(r"[ \t\n\r]*")
_decoder = json.JSONDecoder()


def cut_json(text: str, name: str = "model") -> tuple[bytes, ...]:
    """The parts of a JSON object around the values of its own fields of this name.

    The text must be a valid object.
    """
    parts: list[bytes] = []
    end = start = 0
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = scanstring(text, at + 1)
        start = _skip(text, _skip(text, at) + 1)
        _, at = _decoder.raw_decode(text, start)
        if key == name:
            parts.append(text[end:start].encode())
            end = at
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return (*parts, text[end:].encode())


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


# Multipart


class InvalidForm(ValueError):
    """The body is no form of the announced kind; the text says why."""


_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,]{1,70}))', re.I)
_FIELD = re.compile(
    rb'^content-disposition:\s*form-data\b.*?;\s*name="?([^";\r\n]*)"?', re.I | re.M
)
_FILE = re.compile(rb"^content-disposition:[^\r\n]*;\s*filename\*?=", re.I | re.M)
_HEAD_END = b"\r\n\r\n"
LONGEST_HEAD = 4096  # bytes of one part's headers
MAX_PARTS = 100


def cut_form(
    body: bytes, content_type: str, name: str = "model"
) -> tuple[tuple[bytes, ...], Mapping[str, str | None]]:
    """The parts of a form around the values of this field, and its fields: a text each, None for a
    file. Raises InvalidForm."""
    mark = b"--" + _boundary(content_type)
    fields: dict[str, str | None] = {}
    parts: list[bytes] = []
    end, at = 0, _first_part(body, mark)
    for _ in range(MAX_PARTS):
        start = body.find(_HEAD_END, at - 2, at + LONGEST_HEAD)
        close = body.find(b"\r\n" + mark, max(start, 0) + 2)
        if start < 0 or close < 0:
            raise InvalidForm("a part of it has no end")
        head, start = body[at:start], min(start + len(_HEAD_END), close)
        key = _field_name(head)
        fields[key] = None if _FILE.search(head) else body[start:close].decode("utf-8", "replace")
        if key == name:
            parts.append(body[end:start])
            end = close
        at = close + 2 + len(mark)
        if body[at : at + 2] == b"--":
            return (*parts, body[end:]), fields
        at = body.find(b"\r\n", at) + 2
    raise InvalidForm(f"it has more than {MAX_PARTS} parts")


def _boundary(content_type: str) -> bytes:
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise InvalidForm("its content type must be multipart/form-data with a boundary")
    return (match[1] or match[2]).encode("latin-1", "replace")


def _first_part(body: bytes, mark: bytes) -> int:
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    end = body.find(b"\r\n", at + len(mark))
    if at == 1 or end < 0:
        raise InvalidForm("its boundary is not in it")
    return end + 2


def _field_name(head: bytes) -> str:
    match = _FIELD.search(head)
    if match is None:
        raise InvalidForm("a part of it has no name")
    return match[1].decode("utf-8", "replace")
