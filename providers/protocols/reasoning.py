"""Separate a model's reasoning from its answer where both come as one text. No I/O.

Reasoning stands between tags at the answer's very beginning (`<think>`, `<thinking>`, `<thought>`),
may never be closed, or is closed alone, where the prompt's template opened it. A tag anywhere else,
in code above all, belongs to the answer.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from providers.domain.frozen import frozen

_NAMES = ("think", "thinking", "thought")
_OPENING = tuple(f"<{name}>" for name in _NAMES)
_CLOSING_ALONE = (
    "</think>"  # what the templates of DeepSeek-R1, QwQ and their kin leave to the model
)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


@frozen
class Split:
    """What one piece of text amounts to; its reasoning comes before its text.

    `retracts`: all text that was given before this was reasoning too.
    """

    reasoning: str = ""
    text: str = ""
    retracts: bool = False


class _State(Enum):
    START = auto()  # nothing but blanks so far, or reasoning that has been closed
    REASONING = auto()
    ANSWER = auto()  # no tag at its beginning; one may still close what was never opened
    REST = auto()


class ReasoningSplitter:
    """Takes a text in pieces, however it is cut."""

    def __init__(self) -> None:
        self._state = _State.START
        self._held = ""  # may be the beginning of a tag, or blanks at an edge
        self._closing = ""
        self._begun = False  # some of the reasoning has been given
        self._closed = False
        self._answer: list[str] = []  # while it may turn out to have been reasoning

    @property
    def is_over(self) -> bool:
        """Whether all that follows is text, to the letter."""
        return self._state == _State.REST

    def passes(self, piece: str) -> bool:
        """Whether a piece is text to the letter: nearly all are, and a full look is dear."""
        if self._state == _State.ANSWER and not self._held and "<" not in piece:
            self._answer.append(piece)
            return True
        return self._state == _State.REST

    def feed(self, piece: str) -> Split:
        """What this piece adds."""
        text, self._held = self._held + piece, ""
        reasoning: list[str] = []
        while text and self._state in (_State.START, _State.REASONING):
            step = self._read_start if self._state == _State.START else self._read_reasoning
            piece_reasoning, text = step(text)
            reasoning.append(piece_reasoning)
        split = (
            self._split_answer(text) if text and self._state == _State.ANSWER else Split(text=text)
        )
        return replace(split, reasoning="".join([*reasoning, split.reasoning]))

    def end(self) -> Split:
        """What was still held back when the answer ended."""
        held, self._held = self._held, ""
        if self._state == _State.REASONING:
            return Split(reasoning=held.rstrip())
        self._state = _State.REST
        return Split(text=held)

    def _read_start(self, text: str) -> tuple[str, str]:
        """At the beginning: a tag, what may become one, or the answer."""
        begun = text.lstrip()
        for tag in _OPENING:
            if begun.startswith(tag):
                self._state, self._closing, self._begun = _State.REASONING, f"</{tag[1:]}", False
                return "", begun[len(tag) :]
            if tag.startswith(begun):
                self._held = begun if self._closed else text
                return "", ""
        self._state = _State.REST if self._closed else _State.ANSWER
        return "", begun if self._closed else text

    def _read_reasoning(self, text: str) -> tuple[str, str]:
        """Within reasoning, up to its closing tag; blanks at its edges are none of it."""
        text = text if self._begun else text.lstrip()
        at = text.find(self._closing)
        if at >= 0:
            self._state, self._closed = _State.START, True
            return text[:at].rstrip(), text[at + len(self._closing) :]
        end = len(_without_beginning(text, self._closing).rstrip())
        self._held, self._begun = text[end:], self._begun or end > 0
        return text[:end], ""

    def _split_answer(self, text: str) -> Split:
        """Within an answer that no tag began, where one tag alone closes reasoning."""
        at = -1
        while (at := text.find(_CLOSING_ALONE, at + 1)) >= 0:
            if not _is_quoted("".join([*self._answer, text[:at]])):
                return self._retract(text[:at], text[at + len(_CLOSING_ALONE) :])
        end = len(_without_beginning(text, _CLOSING_ALONE))
        self._held = text[end:]
        self._answer.append(text[:end])
        return Split(text=text[:end])

    def _retract(self, before: str, after: str) -> Split:
        """All text up to here was reasoning."""
        given = any(self._answer)
        self._state, self._closed, self._answer = _State.START, True, []
        rest = self.feed(after)
        return replace(rest, reasoning=before + rest.reasoning, retracts=given)


def split(content: object) -> Split:
    """A full content at once: a text, or a list of parts."""
    parts = Split()
    if isinstance(content, list):
        parts = content_parts(content)
        content = parts.text
    splitter = ReasoningSplitter()
    text = join_splits(splitter.feed(content if isinstance(content, str) else ""), splitter.end())
    return replace(text, reasoning=(parts.reasoning + text.reasoning).strip())


def join_splits(one: Split, other: Split) -> Split:
    """Two in a row."""
    return Split(reasoning=one.reasoning + other.reasoning, text=one.text + other.text)


def _is_quoted(before: str) -> bool:
    """Whether what follows is spoken of: after an opening tag, in a block or a span of code."""
    line = before.rpartition("\n")[2]
    if any(tag in before for tag in _OPENING) or line.count("`") % 2:
        return True
    return len(_FENCE.findall(before)) % 2 == 1


def _without_beginning(text: str, tag: str) -> str:
    """The text without what at its end may be the beginning of a tag."""
    at = text.rfind("<")
    return text[:at] if at >= 0 and tag.startswith(text[at:]) else text


def content_parts(content: list[Any]) -> Split:
    """A content that is a list of parts: Mistral's and others' have `thinking` among them."""
    parts = [part for part in content if isinstance(part, Mapping)]
    reasoning = [_text(part.get("thinking") or part.get("reasoning")) for part in parts]
    return Split(reasoning="".join(reasoning), text="".join(_text(p.get("text")) for p in parts))


def _text(held: object) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(held, list):
        return "".join(_text(p.get("text")) for p in held if isinstance(p, Mapping))
    return held if isinstance(held, str) else ""
