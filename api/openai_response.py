"""A stream's events as OpenAI's answers: chunks for those who stream, one JSON for the others.

What the provider sent in this format goes on as it came, but for the model's name; what came in
another format is said in this one. Specification:
https://platform.openai.com/docs/api-reference/chat-streaming. No I/O.
"""

from typing import Any

from providers.domain.types import (
    ClientEvent,
    Completed,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from providers.protocols.gather import Gatherer
from providers.protocols.openai_chat import encode_json
from providers.protocols.usage import openai_usage

DONE = b"data: [DONE]\n\n"


class Chunks:
    """One streamed answer's chunks. `usage`: the caller asked that the last one carries it."""

    def __init__(self, answer_id: str, created: int, *, usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
        }
        self._usage_asked = usage
        self._reported: Json | None = None
        self._last: Json | None = None
        self._begun = False

    def begin(self, model: str, earlier: str = "") -> None:
        """Content comes, of this model; or of another time, which is then said on each chunk."""
        self._head |= {"model": model} | _marked(earlier)

    def take(self, event: ClientEvent) -> bytes:
        """The event's chunk as sent; empty where there is nothing new to say."""
        raw = event.raw
        if isinstance(event, UsageReport):
            self._reported = event.reported or self._reported
        if raw is None or not _is_chunk(raw):
            return self._said(event)
        if raw is self._last:  # one chunk may be several events
            return b""
        self._last = raw
        if self._begun and event.line and self._is_ready(raw):
            return b"data: %b\n\n" % event.line.encode()
        return self._passed_on(raw)

    def _is_ready(self, raw: Json) -> bool:
        """Whether a chunk can go on to the letter, as nearly all can: encoding is dear."""
        return (
            raw.get("model") == self._head["model"]
            and "created" in raw
            and "object" in raw
            and bool(raw.get("id"))
            and bool(raw["choices"])
            and not raw.get("usage")
        )

    def end(self, completed: Completed) -> bytes:
        """The last chunk, with the usage where it was asked for, and the end mark."""
        if not self._usage_asked:
            return DONE
        usage = openai_usage(completed.usage, self._reported)
        return _event({**self._head, "choices": [], "usage": usage}) + DONE

    def _passed_on(self, raw: Json) -> bytes:
        """A provider's own chunk. Usage is kept for the end, where every client looks for it."""
        usage = raw.get("usage")
        if usage and not raw.get("choices"):
            return b""
        chunk = self._completed(raw)
        if usage:
            del chunk["usage"]
        if not self._begun:
            self._begun = True
            self._head["id"] = chunk["id"]
            chunk["choices"] = [_with_role(choice) for choice in chunk["choices"]]
        return _event(chunk)

    def _completed(self, raw: Json) -> dict[str, Any]:
        """The chunk with every field that clients rely on, in its own order."""
        chunk = {**raw, "model": self._head["model"]}
        for name, value in self._head.items():
            if not chunk.get(name):
                chunk[name] = value
        if not isinstance(chunk.get("choices"), list):
            chunk["choices"] = []
        return chunk

    def _said(self, event: ClientEvent) -> bytes:
        """A chunk made of an event that came in another format."""
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
        if not self._begun:
            self._begun = True
            choice = _with_role(choice)
        return _event({**self._head, "choices": [choice]})


class Whole:
    """One answer for a caller who does not stream, gathered from its events."""

    def __init__(self, answer_id: str, created: int) -> None:
        self._head: dict[str, Any] = {"id": answer_id, "object": "chat.completion"}
        self._head["created"] = created
        self._model = ""
        self._raw: Json | None = None
        self._gathered = Gatherer()
        self._reported: Json | None = None

    def begin(self, model: str, earlier: str = "") -> None:
        """Content comes, of this model; or of another time, which is then said beside it."""
        self._model = model
        self._head |= _marked(earlier)

    def take(self, event: ClientEvent) -> bytes:
        """Keeps what the event says; nothing is sent before all is there."""
        if isinstance(event, UsageReport):
            self._reported = event.reported or self._reported
        if event.raw is not None and _is_whole(event.raw):
            self._raw = event.raw
            return b""
        self._gathered.take(event)
        return b""

    def end(self, completed: Completed) -> bytes:
        """The answer's JSON, with the tokens: estimated where the provider sent none."""
        answer = {**self._head, **(self._raw or self._gathered.answer()), "model": self._model}
        answer["usage"] = openai_usage(completed.usage, self._reported)
        return encode_json(answer)


def _marked(earlier: str) -> dict[str, Any]:
    return {"earlier_answer": earlier} if earlier else {}


def _is_whole(raw: Json) -> bool:
    choices = raw.get("choices")
    first = choices[0] if choices and isinstance(choices, list) else None
    return isinstance(first, dict) and "message" in first


def _is_chunk(raw: Json) -> bool:
    """Neither another protocol's payload, nor one JSON where a stream was asked for."""
    return "choices" in raw and not _is_whole(raw)


def _with_role(choice: Any) -> Any:
    """The first chunk says who speaks."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or delta.get("role"):
        return choice
    return {**choice, "delta": {**delta, "role": "assistant"}}


def _event(payload: Json) -> bytes:
    return b"data: %b\n\n" % encode_json(payload)
