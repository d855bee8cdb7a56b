"""The OpenAI chat format both ways: a request to a body, a chunk to events. No I/O.

Fields we do not name pass through untouched, in both directions. Specification:
https://platform.openai.com/docs/api-reference/chat and .../chat-streaming.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from providers.errors import CallError, ErrorKind, classify, error_fields
from providers.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Json,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)


def body(request: ChatRequest, model: str) -> dict[str, Any]:
    """A request's JSON body; of a stream usage is always asked for."""
    sent = {
        **request.options,
        "model": model,
        "messages": [message(each) for each in request.messages],
        "stream": not request.whole,
    }
    how = fields(sent.pop("stream_options", None))
    return sent if request.whole else {**sent, "stream_options": {**how, "include_usage": True}}


def message(message: ChatMessage) -> dict[str, Any]:
    """One message with the fields it came with."""
    content = list(message.content) if isinstance(message.content, tuple) else message.content
    said = {} if content is None else {"content": content}
    return {**message.extra, "role": message.role, **said}


def events(chunk: Json, line: str = "") -> list[ClientEvent]:
    """The events of one chunk, or of a whole answer; `line` is its text. Never none at all.

    Raises CallError for an error inside a good envelope.
    """
    if chunk.get("error"):
        raise in_band_error(chunk)
    choices = chunk.get("choices")
    found: list[ClientEvent] = []
    if type(choices) is list:
        for choice in choices:
            # The answers beside the first one (`n`) are for callers who asked for them.
            if type(choice) is dict and choice.get("index") in (None, 0):
                _add_choice(found, choice, chunk, line)
    if type(reported := chunk.get("usage")) is dict:
        found.append(UsageReport(usage=usage(reported), raw=chunk, line=line))
    return found or [Passed(raw=chunk, line=line, content=_says_something(choices))]


def encoded(value: object) -> bytes:
    """A value as JSON. What UTF-8 or 64 bits cannot hold (a lone surrogate that somebody pasted, a
    huge number) goes out as Python writes it, in ASCII."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def payloads(text: str) -> list[object]:
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
    return list(_glued(text))


def _glued(text: str) -> Iterable[object]:
    at = 0
    while at < len(text):
        value, at = _decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


_decoder = json.JSONDecoder()


def _says_something(choices: object) -> bool:
    deltas = (fields(c.get("delta") or c.get("message")) for c in dicts(choices))
    return any(value for delta in deltas for name, value in delta.items() if name != "role")


def dicts(value: object) -> list[Json]:
    """The objects of a list that may be none, or hold anything: upstreams send what they like."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def fields(value: object) -> Json:
    """An object, or an empty one in the place of anything else."""
    return value if isinstance(value, Mapping) else {}


def count(value: object) -> int:
    """A number of tokens; zero for null, and for what is no number."""
    if type(value) is int:  # nearly always
        return max(0, value)
    return max(0, int(value)) if isinstance(value, float) and math.isfinite(value) else 0


def _add_choice(found: list[ClientEvent], choice: Json, chunk: Json, line: str) -> None:
    delta = choice.get("delta") or choice.get("message")
    if type(delta) is dict:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning and isinstance(reasoning, str):
            found.append(ReasoningDelta(text=reasoning, raw=chunk, line=line))
        # A refusal stands where the answer would.
        if text := _text(delta.get("content") or delta.get("refusal")):
            found.append(TextDelta(text=text, raw=chunk, line=line))
        if calls := delta.get("tool_calls"):
            for call in dicts(calls):
                found.append(ToolCallDelta(call=call, raw=chunk, line=line))
    if reason := choice.get("finish_reason"):
        found.append(Finish(reason=str(reason), raw=chunk, line=line))


def _text(content: object) -> str:
    """Content is a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, Mapping))
    return ""


def in_band_error(payload: Json) -> CallError:
    """The error that a chunk or a 200 answer carries; a status in its code counts like one."""
    code, text = error_fields(payload)
    number = str(fields(payload.get("error")).get("code") or "")
    status = int(number) if re.fullmatch("[45][0-9][0-9]", number) else None
    kind = classify(status, code)
    return CallError(kind, sentence(kind, text), status=status, code=code or "in_band_error")


_RESET = re.compile(r"reset at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_BEIJING = timezone(timedelta(hours=8))


def reset_after(text: str, now: datetime) -> float | None:
    """Seconds until the time at which a used-up plan is refilled, where Z.ai's words name it.

    "Your limit will reset at 2026-01-02 03:04:05" (codes 1308, 1310), in China's time.
    """
    if not (found := _RESET.search(text)):
        return None
    at = datetime.fromisoformat(found[1]).replace(tzinfo=_BEIJING)
    return max(0.0, (at - now).total_seconds())


def sentence(kind: ErrorKind, text: str) -> str:
    """A provider's own message on one line; ours where it sent none. `redaction` cuts it."""
    return " ".join(text.split()) or f"The provider answered with an error ({kind})."


def usage(reported: Json) -> Usage:
    """Token counts; null and missing are zero."""
    return Usage(
        input_tokens=count(reported.get("prompt_tokens")),
        output_tokens=count(reported.get("completion_tokens")),
        cached_tokens=count(fields(reported.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(
            fields(reported.get("completion_tokens_details")).get("reasoning_tokens")
        ),
    )
