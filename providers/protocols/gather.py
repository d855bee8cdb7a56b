"""Gather a stream's events into one full answer of `POST /chat/completions`. No I/O.

Unknown fields are kept: texts are joined, lists extended, of anything else the last value counts.
"""

from collections.abc import Mapping
from typing import Any

from providers.domain.types import (
    ClientEvent,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    TextWasReasoning,
    ToolCallDelta,
)

# Texts of a delta that are repeated, not continued.
_NOT_JOINED = frozenset({"role", "id", "type", "format", "object", "model"})


class Gatherer:
    """Takes a stream's events; `answer` is what they amount to.

    Chunks in OpenAI's format are merged as they are, other formats by their events.
    """

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._last: Json | None = None

    def take(self, event: ClientEvent) -> None:
        """Adds one event; the events of one chunk share it, and it is added once."""
        if isinstance(event, TextWasReasoning):
            _retract(self._get_choice(0)["message"])
        if event.raw is None:
            self._add_event(event)
        elif event.raw is not self._last:
            self._last = event.raw
            self._add_chunk(event.raw)

    def answer(self) -> dict[str, Any]:
        """The answer's JSON. Usage is in it only where a chunk carried some."""
        choices = [_finish_choice(self._choices[number]) for number in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices}

    def _add_chunk(self, chunk: Json) -> None:
        for name, value in chunk.items():
            if name == "usage":
                _add_usage(self._head, value)
            elif name != "choices" and (value or name not in self._head):
                self._head[name] = value
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add_choice(choice)

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        index = index if type(index) is int else 0
        gathered = self._choices.get(index) or self._get_choice(index)
        for name, value in choice.items():
            if name in ("delta", "message"):
                _merge(gathered["message"], value if isinstance(value, dict) else {})
            elif name == "logprobs":
                _join(gathered, name, value)
            elif name != "index" and (value or name not in gathered):
                gathered[name] = value

    def _add_event(self, event: ClientEvent) -> None:
        choice = self._get_choice(0)
        match event:
            case TextDelta():
                _merge(choice["message"], {"content": event.text})
            case ReasoningDelta():
                _merge(choice["message"], {"reasoning_content": event.text})
            case ToolCallDelta():
                _merge(choice["message"], {"tool_calls": [event.call]})
            case Finish():
                choice["finish_reason"] = event.reason
                if event.native and event.native != event.reason:
                    choice["native_finish_reason"] = event.native

    def _get_choice(self, index: int) -> dict[str, Any]:
        if index not in self._choices:
            message = {"role": "assistant"}
            made = {"index": index, "message": message, "finish_reason": None}
            self._choices[index] = made
        return self._choices[index]


def _retract(message: dict[str, Any]) -> None:
    """All text so far was reasoning."""
    if text := message.pop("content", None):
        _join(message, "reasoning_content", "".join(text))


def _merge(message: dict[str, Any], delta: Json) -> None:
    for name, value in delta.items():
        gathered = message.get(name)
        if type(gathered) is _Text and type(value) is str:  # nearly always
            gathered.append(value)
        elif name == "tool_calls":
            _merge_calls(message, value)
        else:
            _join(message, name, value)


def _merge_calls(message: dict[str, Any], pieces: object) -> None:
    """The pieces of each call joined, by their numbers: `tool_calls.Numbering` gave them."""
    calls: list[dict[str, Any]] = message.setdefault("tool_calls", [])
    for piece in pieces if isinstance(pieces, list) else ():
        number = piece.get("index", len(calls))
        while len(calls) <= number:
            calls.append({})
        for name, value in piece.items():
            if name != "index":
                _join(calls[number], name, value)


def _join(into: dict[str, Any], name: str, value: Any) -> None:
    """Adds one field's value to what has been gathered of it."""
    gathered = into.get(name)
    match value:
        case str() if name not in _NOT_JOINED:
            if type(gathered) is not _Text:
                gathered = into[name] = _Text()
            gathered.append(value)
        case list():
            if type(gathered) is not list:
                gathered = into[name] = []
            gathered.extend(value)
        case dict():
            if type(gathered) is not dict:
                gathered = into[name] = {}
            for inner, more in value.items():
                _join(gathered, inner, more)
        case _:
            if gathered is None or value:
                into[name] = value


class _Text(list[str]):
    """The pieces of one text: joined once, at the end."""


_HOLDERS = (list, dict)  # what may hold pieces of texts; they are a list themselves


def _join_texts(value: Any) -> Any:
    match value:
        case _Text():
            return "".join(value)
        case list():
            return [_join_texts(item) if isinstance(item, _HOLDERS) else item for item in value]
        case dict():
            return {
                name: _join_texts(item) if isinstance(item, _HOLDERS) else item
                for name, item in value.items()
            }
    return value


def _add_usage(head: dict[str, Any], usage: object) -> None:
    """The last usage that counts anything: some vendors send zeros after good figures."""
    if isinstance(usage, Mapping) and (any(usage.values()) or "usage" not in head):
        head["usage"] = usage


def _finish_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """The choice in the form of a full answer: its content is null only beside something else."""
    closed: dict[str, Any] = _join_texts(choice)
    message = closed["message"]
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    has_other_content = message.get("tool_calls") or message.get("refusal") or message.get("audio")
    message["content"] = message.get("content") or (None if has_other_content else "")
    return closed
