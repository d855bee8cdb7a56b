"""The OpenAI chat format both ways: a request to a body, a chunk to events. No I/O.

Fields we do not name pass through untouched, in both directions. Specification:
https://platform.openai.com/docs/api-reference/chat and .../chat-streaming.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import is_not
from typing import Any

import orjson

from providers.domain.errors import CallError, ErrorKind, classify
from providers.domain.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Json,
    Passed,
    ReasoningDelta,
    TextDelta,
    TextWasReasoning,
    ToolCallDelta,
    UsageReport,
)
from providers.protocols import finish, reasoning
from providers.protocols.error_body import read_error
from providers.protocols.joined_chunks import plain_text
from providers.protocols.retry_after import stated_wait
from providers.protocols.tool_calls import Numbering, full_calls
from providers.protocols.usage import find_usage, read_usage


def body(request: ChatRequest, model: str) -> dict[str, Any]:
    """A request's JSON body; of a stream usage is always asked for."""
    sent = {
        **request.options,
        "model": model,
        "messages": [message(each) for each in request.messages],
        "stream": not request.non_streaming,
    }
    how = fields(sent.pop("stream_options", None))
    if request.non_streaming:
        return sent
    return {**sent, "stream_options": {**how, "include_usage": True}}


def message(message: ChatMessage) -> dict[str, Any]:
    """One message with the fields it came with."""
    content = list(message.content) if isinstance(message.content, tuple) else message.content
    fields = {} if content is None else {"content": content}
    return {**message.extra, "role": message.role, **fields}


class ChunkReader:
    """Reads one answer's chunks, or the one JSON that it is, and brings them into standard form.

    What is in it already is passed on as it came: the events carry the chunk and its text.
    `splits`: reasoning within the text of an answer is separated from it.
    """

    def __init__(self, *, splits: bool = False) -> None:
        self._choices: dict[object, _Choice] = {}
        self._splits = splits

    def events(self, chunk: Json, line: str = "") -> list[ClientEvent]:
        """The events of one chunk; `line` is its text. Never none at all.

        Raises CallError for an error inside a good envelope.
        """
        # Nearly all chunks are of this kind, so this one check spares them all others.
        if (text := plain_text(chunk)) and (not self._splits or self._passes(text)):
            return [TextDelta(text=text, raw=chunk, line=line)]
        if chunk.get("error"):
            raise in_band_error(chunk)
        received = choices = chunk.get("choices")
        if type(received) is list:
            choices = [self._standard(c) if type(c) is dict else c for c in received]
            if any(map(is_not, choices, received)):
                chunk, line = {**chunk, "choices": choices}, ""
        events = _events(chunk, choices, received, line)
        if self._splits and (first := self._choices.get(0)) and first.retracts:
            first.retracts = False
            return [TextWasReasoning(raw=chunk), *events]
        return events

    def _passes(self, text: str) -> bool:
        """Whether a piece of the first choice's text holds no reasoning."""
        state = self._choices.get(0)
        return state is not None and state.splitter.passes(text)

    def _standard(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The choice with its tool calls numbered, its reasoning apart, its finish reason by the
        standard name."""
        reason = choice.get("finish_reason")
        if choice.get("delta") or type(choice.get("message")) is not dict:
            choice = self._standard_delta(choice, ends=reason is not None)
        else:
            choice = _with_value(choice, "message", full_message(choice["message"], self._splits))
        if reason is None or (type(reason) is str and reason in finish.STANDARD):
            return choice
        return _with_standard_reason(choice, str(reason))

    def _standard_delta(self, choice: dict[str, Any], *, ends: bool) -> dict[str, Any]:
        delta = choice.get("delta")
        if type(delta) is not dict:
            return choice
        calls = dicts(delta["tool_calls"]) if delta.get("tool_calls") else []
        if not calls and not (self._splits and (ends or delta.get("content"))):
            return choice
        index = choice.get("index")
        index = index if type(index) is int else 0
        if not (state := self._choices.get(index)):
            state = self._choices[index] = _Choice()
        made = delta
        if calls:
            made = _with_value(made, "tool_calls", state.number(calls))
        if self._splits and (type(delta.get("content")) is list or not state.splitter.is_over):
            made = state.split(made, ends=ends)
        return _with_value(choice, "delta", made)


class _Choice:
    """What is remembered of one choice from chunk to chunk."""

    def __init__(self) -> None:
        self.splitter = reasoning.ReasoningSplitter()
        self.retracts = False
        self._calls: Numbering | None = None

    def number(self, calls: list[Json]) -> list[Json]:
        """The pieces of tool calls with their numbers."""
        if self._calls is None:
            self._calls = Numbering()
        return self._calls.number(calls)

    def split(self, delta: dict[str, Any], *, ends: bool) -> dict[str, Any]:
        """The delta with its reasoning apart; `ends`: nothing follows it."""
        content = delta.get("content")
        split = reasoning.Split()
        if type(content) is list:
            split = reasoning.content_parts(content)
            content = split.text
        if type(content) is str and content:
            text = self.splitter.feed(content)
            self.retracts |= text.retracts
            split = reasoning.Split(reasoning=split.reasoning + text.reasoning, text=text.text)
        if ends:
            split = reasoning.join_splits(split, self.splitter.end())
        return with_split(delta, split)


def full_message(message: dict[str, Any], splits: bool) -> dict[str, Any]:
    """The message of a full answer in standard form."""
    if calls := dicts(message.get("tool_calls")):
        message = _with_value(message, "tool_calls", full_calls(calls))
    return with_split(message, reasoning.split(message.get("content"))) if splits else message


def with_split(message: dict[str, Any], split: "reasoning.Split") -> dict[str, Any]:
    """A delta or message with its reasoning in the field for it, and the rest as a text."""
    content = message.get("content")
    if split.text == (content or "") and not split.reasoning:
        return message
    changed = {**message, "content": split.text}
    if split.reasoning:
        changed["reasoning_content"] = (message.get("reasoning_content") or "") + split.reasoning
    return changed


def _with_value(fields: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The fields with another value in one of them; themselves where it is the same."""
    current = fields[name]
    return fields if value is current or value == current else {**fields, name: value}


def _with_standard_reason(choice: dict[str, Any], reason: str) -> dict[str, Any]:
    """The choice with the standard name for its finish reason; the vendor's stays beside it."""
    if not finish.is_given(reason):
        return {**choice, "finish_reason": None}
    standard = finish.standard(reason) or None
    return {**choice, "finish_reason": standard, "native_finish_reason": reason}


def _events(chunk: Json, choices: object, received: Any, line: str) -> list[ClientEvent]:
    events: list[ClientEvent] = []
    if type(choices) is list:
        for choice, original in zip(choices, received, strict=True):
            # The answers beside the first one (`n`) are for callers who asked for them.
            if type(choice) is dict and choice.get("index") in (None, 0):
                _add_delta(events, choice, chunk, line)
                if (native := original.get("finish_reason")) and finish.is_given(native):
                    reason = str(choice.get("finish_reason") or "")
                    events.append(Finish(reason=reason, native=str(native), raw=chunk, line=line))
    if reported := find_usage(chunk):
        counted = read_usage(reported)
        events.append(UsageReport(usage=counted, reported=reported, raw=chunk, line=line))
    return events or [Passed(raw=chunk, line=line, is_content=_any_content(choices))]


def encode_json(value: object) -> bytes:
    """A value as JSON. What UTF-8 or 64 bits cannot hold (a lone surrogate that somebody pasted, a
    huge number) goes out as Python writes it, in ASCII."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def parse_json_values(text: str) -> list[object]:
    """The JSON values of one event's text: some servers glue two together. Raises ValueError.

    Python's own reader takes what the quick one refuses, such as half a surrogate pair.
    """
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError:
        return _read_slowly(text)


def _read_slowly(text: str) -> list[object]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as exc:
        if exc.msg != "Extra data":
            raise
    return list(_split_glued(text))


def _split_glued(text: str) -> Iterable[object]:
    at = 0
    while at < len(text):
        value, at = _decoder.raw_decode(text, at)
        yield value
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr] # it matches nothing too


_decoder = json.JSONDecoder()
# Between two values: nothing, blanks, a second field's name, the end mark.
_BETWEEN = re.compile(r"(?:\s|data:|\[DONE\])*")


def _any_content(choices: object) -> bool:
    deltas = [fields(c.get("delta") or c.get("message")) for c in dicts(choices)]
    return any(map(_has_content, deltas))


def _has_content(delta: Json) -> bool:
    """Whether there is any content: audio, pictures and annotations count too."""
    return bool([name for name, value in delta.items() if value and name not in _NO_CONTENT])


_NO_CONTENT = frozenset({"role", "name", "id", "type", "index", "object", "model"})


def dicts(value: object) -> list[Json]:
    """The objects of a list that may be none, or hold anything: upstreams send what they like."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def fields(value: object) -> Json:
    """An object, or an empty one in the place of anything else."""
    return value if isinstance(value, Mapping) else {}


def _add_delta(events: list[ClientEvent], choice: Json, chunk: Json, line: str) -> None:
    delta = choice.get("delta") or choice.get("message")
    if type(delta) is dict:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str):
            events.append(ReasoningDelta(text=thought, raw=chunk, line=line))
        # A refusal takes the place of the answer.
        if text := _text(delta.get("content") or delta.get("refusal")):
            events.append(TextDelta(text=text, raw=chunk, line=line))
        if calls := delta.get("tool_calls"):
            for number, call in enumerate(dicts(calls)):
                indexed = call if "index" in call else {**call, "index": number}
                events.append(ToolCallDelta(call=indexed, raw=chunk, line=line))
        if not events and _has_content(delta):
            events.append(Passed(raw=chunk, line=line, is_content=True))


def _text(content: object) -> str:
    """Content is a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, Mapping))
    return ""


def in_band_error(payload: Json) -> CallError:
    """The error that a chunk or a 200 answer carries; a status in its code counts like one."""
    error = read_error(payload)
    number = str(fields(payload.get("error")).get("code") or "")
    status = int(number) if re.fullmatch("[45][0-9][0-9]", number) else None
    kind = classify(status, error.code)
    return CallError(
        kind,
        error_message(kind, error.message),
        status=status,
        code=error.code or "in_band_error",
        param=error.param,
        retry_after=stated_wait({}, kind, error.message, datetime.now(UTC)),
    )


def error_message(kind: ErrorKind, text: str) -> str:
    """A provider's own message on one line, or a general one. `redaction` shortens it."""
    return " ".join(text.split()) or f"The provider answered with an error ({kind})."
