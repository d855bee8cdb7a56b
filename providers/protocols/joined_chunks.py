"""Join the plain chunks that arrive together into one chunk, before any of them is read. No I/O.

Nearly all chunks of an answer in OpenAI's format are equal but for the letters of their text. What
stands before and after the letters is taken from one chunk; a row of chunks that have the same is
then one chunk with all their letters, which is read once instead of fifty times. Nothing changes by
it: the chunk from which it was taken is plain (`plain_text`), and the inside of one JSON string may
take the place of any other.
"""

import re
from typing import Any

import orjson

from providers.domain.types import Json

# The inside of a JSON string: what is between two quotes (RFC 8259, section 7). Left out are half a
# surrogate pair, as two of neighbours would become a character, and "<": a tag may end reasoning.
_LETTERS = (
    r"(?:[^\"\\<\x00-\x1f]"
    r"|\\[\"\\/bfnrt]"
    r"|\\u(?!003[cC]|[dD][89a-fA-F])[0-9a-fA-F]{4}"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+"
)
_IS_LETTERS = re.compile(_LETTERS)
_TEXT = re.compile(rf'"content": ?"({_LETTERS})"')
_MARK = "the letters"
MAX_LEARNED = 4  # in one answer: where every chunk is another, looking for equal ones is in vain

# Fields that have to be read, of a chunk beside its choices and of a choice beside its delta.
_BESIDE_CHOICES = frozenset({"error", "usageMetadata", "x_groq", "message", "response"})
_BESIDE_DELTA = frozenset({"usage", "message"})


def plain_text(chunk: Json) -> str:
    """The text of a chunk that holds nothing else; empty for any other."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (KeyError, TypeError, ValueError):
        return ""
    if type(text) is not str or choice.get("finish_reason") is not None:
        return ""
    if len(delta) > 1 and (len(delta) > 2 or "role" not in delta):
        return ""
    if choice.get("index") not in (None, 0) or not choice.keys().isdisjoint(_BESIDE_DELTA):
        return ""
    is_alone = chunk.keys().isdisjoint(_BESIDE_CHOICES) and not chunk.get("usage")
    return text if is_alone else ""


class ChunkJoiner:
    """Takes the texts of one answer's events, those of each read together."""

    def __init__(self) -> None:
        self._before = self._after = ""  # the letters of the chunk that was learned last
        self._learned = 0

    def join(self, texts: list[str]) -> list[tuple[str, str]]:
        """The texts to read, each with the event data that it stands for."""
        joined, at, last = [], 0, len(texts) - 1
        while at < last:
            end = self._end_of_row(texts, at)
            if end == at:
                end = self._end_of_row(texts, at) if self._learn(texts[at]) else at + 1
            if end - at > 1:
                row = texts[at:end]
                joined.append((self._join_row(row), "\n\ndata: ".join(row)))
            else:
                joined.append((texts[at], texts[at]))
            at = end
        if at == last:
            joined.append((texts[at], texts[at]))
        return joined

    def _end_of_row(self, texts: list[str], at: int) -> int:
        """The end of the row of chunks, from one on, that are equal but for their letters."""
        before, after = self._before, self._after
        if not before:
            return at
        begin, end = len(before), len(after)
        for text in texts[at:]:
            if not (text.startswith(before) and text.endswith(after)):
                break
            if not _IS_LETTERS.fullmatch(text, begin, len(text) - end):
                break
            at += 1
        return at

    def _join_row(self, row: list[str]) -> str:
        begin, end = len(self._before), -len(self._after)
        return "".join([self._before, *[text[begin:end] for text in row], self._after])

    def _learn(self, text: str) -> bool:
        """Take what surrounds the letters of a plain chunk."""
        if self._learned >= MAX_LEARNED or "\n" in text or not (match := _TEXT.search(text)):
            return False
        self._learned += 1
        before, after = text[: match.start(1)], text[match.end(1) :]
        if not _surrounds_letters(before, after):
            return False
        self._before, self._after = before, after
        return True


def _surrounds_letters(before: str, after: str) -> bool:
    """Whether any letters between the two make a plain chunk: it holds for others if it does for
    these. Log probabilities belong to their own letters."""
    try:
        chunk: Any = orjson.loads(before + _MARK + after)
    except orjson.JSONDecodeError:
        return False
    return plain_text(chunk) == _MARK and not chunk["choices"][0].get("logprobs")
