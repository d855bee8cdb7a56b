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


_BOUNDARY = re.compile(
    r'multipart/form-data\b[^"]*?;\s*boundary=(?:"([^"\\]{1,70})"|([^\s;,"]{1,70}))', re.I
)
_BOUNDARY_NAME = re.compile(r"\bboundary\b[^;]*=", re.I)
_PARAMETER = rb';[ \t]*([\w*-]+)=("(?:[^"\\\r\n]|\\[^\r\n])*"|[^\s;"]*)'
_PARAMETERS = re.compile(_PARAMETER)
_DISPOSITION = re.compile(
    rb"^content-disposition:[ \t]*form-data((?:[ \t]*" + _PARAMETER + rb")*)[ \t;]*\r?$",
    re.I | re.M,
)
_DISPOSITION_NAME = re.compile(rb"^[ \t]*content-disposition\b", re.I | re.M)
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LINE_END = re.compile(rb"[ \t]*\r\n")
_FILE = frozenset({b"filename", b"filename*"})
_HEAD_END = b"\r\n\r\n"
LONGEST_HEAD = 4096  # bytes of one part's headers
MAX_PARTS = 100


def cut_form(
    body: bytes, content_type: str, name: str = "model"
) -> tuple[tuple[bytes, ...], Mapping[str, str | None]]:
    """The parts of a form around the values of this field, and its fields: a text each, None for a
    file. Raises InvalidForm, also for what a provider might read in another way: it would find a
    field of this name where there is none here.
    """
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
        key, is_file = _read_head(head)
        fields[key] = None if is_file else body[start:close].decode("utf-8", "replace")
        if key == name:
            parts.append(body[end:start])
            end = close
        at = close + 2 + len(mark)
        if body[at : at + 2] == b"--":
            _require_end(body, at + 2)
            return (*parts, body[end:]), fields
        at = _next_line(body, at)
    raise InvalidForm(f"it has more than {MAX_PARTS} parts")


def _boundary(content_type: str) -> bytes:
    match = _BOUNDARY.match(content_type)
    if match is None or len(_BOUNDARY_NAME.findall(content_type)) > 1:
        raise InvalidForm("its content type must be multipart/form-data with one boundary")
    if not content_type.isascii():
        raise InvalidForm("its content type must be ASCII")
    return (match[1] or match[2]).encode()


def _first_part(body: bytes, mark: bytes) -> int:
    at = 2 if body.startswith(b"\r\n") else 0
    if not body.startswith(mark, at):
        raise InvalidForm("it does not begin with its boundary")
    return _next_line(body, at + len(mark))


def _next_line(body: bytes, at: int) -> int:
    """Where the line after a boundary begins."""
    match = _LINE_END.match(body, at)
    if match is None:
        raise InvalidForm("its boundary is not alone on its line")
    return match.end()


def _require_end(body: bytes, at: int) -> None:
    if body[at:].strip():
        raise InvalidForm("it goes on after its end")


def _read_head(head: bytes) -> tuple[str, bool]:
    """The name of a part's field, and whether it is a file."""
    match = _DISPOSITION.search(head)
    if match is None or len(_DISPOSITION_NAME.findall(head)) > 1 or _BARE_LINE_END.search(head):
        raise InvalidForm("a part of it has no readable Content-Disposition")
    pairs = [(key.lower(), value) for key, value in _PARAMETERS.findall(match[1])]
    parameters = dict(pairs)
    name = parameters.get(b"name", b"").strip(b'"')
    if not name or b"\\" in name or b"name*" in parameters or len(parameters) < len(pairs):
        raise InvalidForm("a part of it has no name, or several")
    return name.decode("utf-8", "replace"), not parameters.keys().isdisjoint(_FILE)
