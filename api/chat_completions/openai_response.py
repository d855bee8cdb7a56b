"""Serialize the router's events in OpenAI's format: as chunks, or as one JSON object. No I/O.

Payloads that the provider sent in this format pass through, with only the model's name replaced;
those of other formats are translated. Specification:
https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from collections.abc import Mapping
from typing import Any

from providers.domain.types import (
    ClientEvent,
    Completed,
    Finish,
    Json,
    ReasoningDelta,
    RouteTaken,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from providers.protocols.gather import Gatherer
from providers.protocols.openai_chat import encode_json
from providers.protocols.usage import openai_usage

DONE = b"data: [DONE]\n\n"
_NO_HEADERS: Mapping[str, str] = {}


class ChunkSerializer:
    """A streamed answer. `usage`: the last chunk carries the token counts."""

    def __init__(self, answer_id: str, created: int, *, usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
        }
        self._sends_usage = usage
        self._usage: Json | None = None
        self._last: Json | None = None
        self._has_started = False

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """Set the model, and why a cached answer is sent, which each chunk carries."""
        self._head |= {"model": taken.model} | _cached_fields(taken)
        return _NO_HEADERS

    def serialize(self, event: ClientEvent) -> bytes:
        """The event as a chunk; empty where it adds nothing."""
        raw = event.raw
        if isinstance(event, UsageReport):
            self._usage = event.reported or self._usage
        if raw is None:
            return self._translate(event)
        if raw is self._last:  # one chunk may be several events
            return b""
        if event.line and self._has_started and self._is_unchanged(raw):
            self._last = raw
            return b"data: %b\n\n" % event.line.encode()
        if not _is_chunk(raw):
            return self._translate(event)
        self._last = raw
        return self._pass_on(raw)

    def _is_unchanged(self, raw: Json) -> bool:
        """Whether a chunk can pass through byte by byte, as nearly all can: encoding is slow."""
        return (
            raw.get("model") == self._head["model"]
            and "created" in raw
            and "object" in raw
            and bool(raw.get("id"))
            and bool(choices := raw.get("choices"))
            and isinstance(choices, list)
            and isinstance(choices[0], dict)
            and "delta" in choices[0]
            and "message" not in choices[0]
            and not raw.get("usage")
        )

    def finish(self, completed: Completed) -> bytes:
        """The last chunk, with the usage where requested, and the end mark."""
        if not self._sends_usage:
            return DONE
        usage = openai_usage(completed.usage, self._usage)
        return _event({**self._head, "choices": [], "usage": usage}) + DONE

    def _pass_on(self, raw: Json) -> bytes:
        """A chunk of the provider's. Its usage is sent at the end, where every client looks."""
        usage = raw.get("usage")
        if usage and not raw.get("choices"):
            return b""
        chunk = self._with_required_fields(raw)
        if usage:
            del chunk["usage"]
        if not self._has_started:
            self._has_started = True
            self._head["id"] = chunk["id"]
            chunk["choices"] = [_with_role(choice) for choice in chunk["choices"]]
        return _event(chunk)

    def _with_required_fields(self, raw: Json) -> dict[str, Any]:
        """The chunk with every field that clients rely on, in its own order."""
        chunk = {**raw, "model": self._head["model"]}
        for name, value in self._head.items():
            if not chunk.get(name):
                chunk[name] = value
        if not isinstance(chunk.get("choices"), list):
            chunk["choices"] = []
        return chunk

    def _translate(self, event: ClientEvent) -> bytes:
        """A chunk for an event of another format."""
        reason = None
        match event:
            case TextDelta():
                delta: dict[str, Any] = {"content": event.text}
            case ReasoningDelta():
                delta = {"reasoning_content": event.text}
            case ToolCallDelta():
                delta = {"tool_calls": [event.call]}
            case Finish():
                delta, reason = {}, event.reason
            case _:
                return b""
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        if not self._has_started:
            self._has_started = True
            choice = _with_role(choice)
        return _event({**self._head, "choices": [choice]})


class AnswerSerializer:
    """A non-streaming answer, gathered from its events."""

    def __init__(self, answer_id: str, created: int) -> None:
        self._head: dict[str, Any] = {"id": answer_id, "object": "chat.completion"}
        self._head["created"] = created
        self._model = ""
        self._raw: Json | None = None
        self._gathered = Gatherer()
        self._usage: Json | None = None

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """Set the model, and why a cached answer is sent."""
        self._model = taken.model
        self._head |= _cached_fields(taken)
        return _NO_HEADERS

    def serialize(self, event: ClientEvent) -> bytes:
        """Gather the event; always empty, because nothing is sent before the end."""
        if isinstance(event, UsageReport):
            self._usage = event.reported or self._usage
        if event.raw is not None and _is_full_answer(event.raw):
            self._raw = event.raw
            return b""
        self._gathered.take(event)
        return b""

    def finish(self, completed: Completed) -> bytes:
        """The answer's JSON. The token counts are estimates where the provider sent none."""
        answer = {**self._head, **(self._raw or self._gathered.answer()), "model": self._model}
        answer["usage"] = openai_usage(completed.usage, self._usage)
        return encode_json(answer)


def _cached_fields(taken: RouteTaken) -> dict[str, Any]:
    return {"earlier_answer": taken.reason} if taken.is_cached else {}


def _is_full_answer(raw: Json) -> bool:
    choices = raw.get("choices")
    first = choices[0] if choices and isinstance(choices, list) else None
    return isinstance(first, dict) and "message" in first


def _is_chunk(raw: Json) -> bool:
    """Neither another format's payload, nor a full answer where a stream was requested."""
    return "choices" in raw and not _is_full_answer(raw)


def _with_role(choice: Any) -> Any:
    """The choice with a role, which the first chunk carries."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or delta.get("role"):
        return choice
    return {**choice, "delta": {**delta, "role": "assistant"}}


def _event(payload: Json) -> bytes:
    return b"data: %b\n\n" % encode_json(payload)
