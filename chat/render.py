"""Render a growing Markdown answer to sanitised HTML, each block once. Pure.

Feed a BlockSplitter an answer as it grows. It renders a block when no later text can change it; the
rest is the open tail. The result does not depend on how the text was cut into pieces.
"""

import re
from typing import Any

from markdown_it.token import Token

from chat.markdown import BLOCKS, document, to_html
from providers.domain.frozen import frozen

__all__ = ["BlockSplitter", "RenderedPiece", "document"]

GROWTH = 1.25  # an open block is looked at again when it has grown by a quarter: linear in all

_MARKER = re.compile(r"^ {0,3}(?:[-+*]|\d{1,9}[.)])(?:\s|$)")
_FENCE_END = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*$")


@frozen
class RenderedPiece:
    """What one feeding did. `tail` is the open part as it now is, or None where it only grew.

    `code` when the open part is a code block.
    """

    html: str
    tail: str | None
    code: bool


class BlockSplitter:
    """One answer's text on its way to HTML. `feed` it pieces, `close` it at the end."""

    def __init__(self) -> None:
        self._env: dict[str, Any] = {}  # link definitions, known to the blocks after them
        self._lines: list[str] = []  # complete lines of the open part, each with its end
        self._partial = ""  # the line that has not ended
        self._size = 0
        self._parsed_size = 0  # the size of the open part when it was last parsed
        self._cuts = 0  # how often finished lines were taken off the open part
        self._fence = ""  # the marker that opened the code block we are in

    @property
    def tail(self) -> str:
        return "".join(self._lines) + self._partial

    def feed(self, text: str) -> RenderedPiece:
        """Takes the next piece; returns the HTML of the blocks that it finished."""
        *ended, self._partial = (self._partial + text.replace("\r", "")).split("\n")
        before = (self._cuts, bool(self._fence))
        html = "".join([self._end_line(line + "\n") for line in ended])
        code = bool(self._fence)
        grew = before == (self._cuts, code)
        return RenderedPiece(html=html, tail=None if grew else self.tail, code=code)

    def close(self) -> RenderedPiece:
        """Render the open block as it is: the answer has ended."""
        rest = self.tail
        self._lines, self._partial, self._size, self._parsed_size, self._fence = [], "", 0, 0, ""
        return RenderedPiece(html=to_html(rest, self._env), tail="", code=False)

    def _end_line(self, line: str) -> str:
        self._lines.append(line)
        self._size += len(line)
        if not self._may_end(line):
            return ""
        self._parsed_size = self._size
        finished, self._fence = _count_finished(self._lines)
        if not finished:
            return ""
        self._cuts += 1
        done, self._lines = "".join(self._lines[:finished]), self._lines[finished:]
        self._parsed_size = self._size = self._size - len(done)
        return to_html(done, self._env)

    def _may_end(self, line: str) -> bool:
        """Whether parsing is worth its cost now; only when, never what, is decided here."""
        if self._fence:
            return _closes(line, self._fence)
        if self._size >= self._parsed_size * GROWTH:
            return True
        if _blank(line):
            return not (_MARKER.match(self._lines[0]) or self._lines[0].startswith("    "))
        after_blank = len(self._lines) > 1 and _blank(self._lines[-2])
        return after_blank and not line[0].isspace() and not _MARKER.match(line)


def _count_finished(lines: list[str]) -> tuple[int, str]:
    """How many lines belong to finished blocks, and the marker of a code block left open.

    Every block is finished once another has begun after it. The last one is, when it is of a kind
    that an end marker or a blank line closes for good (a list may go on after one).
    """
    blocks = [t for t in BLOCKS.parse("".join(lines)) if t.level == 0 and t.nesting >= 0 and t.map]
    if not blocks:
        return 0, ""
    last = blocks[-1]
    start, end = last.map or (0, 0)
    if _is_closed(last, lines[start:end], blank_after=len(lines) > end and _blank(lines[end])):
        return _past_blanks(lines, end), ""
    # Link definitions may stand between two blocks; the last of them may still grow a title.
    before = blocks[-2].map if len(blocks) > 1 else None
    return _past_blanks(lines, before[1] if before else 0), (
        last.markup if last.type == "fence" else ""
    )


def _is_closed(block: Token, lines: list[str], *, blank_after: bool) -> bool:
    if block.type == "fence":
        return len(lines) > 1 and _closes(lines[-1], block.markup)
    if block.type in ("heading_open", "hr"):
        return True
    return blank_after and block.type in ("paragraph_open", "table_open", "blockquote_open")


def _past_blanks(lines: list[str], index: int) -> int:
    while index < len(lines) and _blank(lines[index]):
        index += 1
    return index


def _blank(line: str) -> bool:
    return not line.strip()


def _closes(line: str, fence: str) -> bool:
    match = _FENCE_END.match(line)
    return match is not None and match[1].startswith(fence)
