"""The Anthropic Messages format both ways: a request to a body, an event to our events. No I/O.

Specification: https://docs.anthropic.com/en/api/messages and .../messages-streaming.
"""

from collections.abc import Iterable
from typing import Any

from providers import wire
from providers.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

# The format demands a limit; this is what every current model takes.
DEFAULT_MAX_TOKENS = 4096

# What the option is called in OpenAI's format, and what here.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
}
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def body(request: ChatRequest, model: str) -> dict[str, Any]:
    """A streaming request's JSON body: system text apart, options by this format's names."""
    system = [_plain(m) for m in request.messages if m.role in ("system", "developer")]
    options = {_OPTIONS[k]: v for k, v in request.options.items() if k in _OPTIONS}
    if isinstance(options.get("stop_sequences"), str):
        options["stop_sequences"] = [options["stop_sequences"]]
    return {
        "max_tokens": DEFAULT_MAX_TOKENS,
        **options,
        **({"system": "\n\n".join(system)} if system else {}),
        "model": model,
        "messages": [
            {"role": m.role, "content": wire.message(m)["content"]}
            for m in request.messages
            if m.role in ("user", "assistant")
        ],
        "stream": True,
    }


def _plain(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text") or "") for part in message.content or ())


class Reader:
    """Turns the stream's events into ours; remembers the input tokens told at its beginning."""

    def __init__(self) -> None:
        self._input = 0
        self._cached = 0

    def events(self, payload: Json) -> Iterable[ClientEvent]:
        """The events of one payload, streamed or whole. Raises CallError for an `error` event."""
        match payload.get("type"):
            case "error":
                raise wire.in_band_error(payload)
            case "message_start":
                self._keep(payload["message"].get("usage") or {})
            case "content_block_start":
                yield from self._started(payload)
            case "content_block_delta":
                yield from self._delta(payload)
            case "message_delta":
                yield from self._ended(payload)
            case "message":
                yield from self._whole(payload)

    def _keep(self, usage: Json) -> None:
        self._cached = usage.get("cache_read_input_tokens") or 0
        self._input = (usage.get("input_tokens") or 0) + self._cached

    def _started(self, payload: Json) -> Iterable[ClientEvent]:
        block = payload.get("content_block") or {}
        if block.get("type") == "tool_use":
            call = {
                "index": payload.get("index", 0),
                "id": block.get("id"),
                "type": "function",
                "function": {"name": block.get("name"), "arguments": ""},
            }
            yield ToolCallDelta(call=call, raw=payload)

    def _delta(self, payload: Json) -> Iterable[ClientEvent]:
        delta = payload.get("delta") or {}
        if text := delta.get("text"):
            yield TextDelta(text=text, raw=payload)
        if thinking := delta.get("thinking"):
            yield ReasoningDelta(text=thinking, raw=payload)
        if "partial_json" in delta:
            function = {"arguments": delta["partial_json"]}
            call = {"index": payload.get("index", 0), "function": function}
            yield ToolCallDelta(call=call, raw=payload)

    def _ended(self, payload: Json) -> Iterable[ClientEvent]:
        if payload.get("usage"):
            yield UsageReport(usage=self._usage(payload["usage"]), raw=payload)
        if reason := (payload.get("delta") or {}).get("stop_reason"):
            yield Finish(reason=_REASONS.get(reason, reason), raw=payload)

    def _whole(self, payload: Json) -> Iterable[ClientEvent]:
        self._keep(payload.get("usage") or {})
        for block in payload.get("content") or ():
            if block.get("type") == "text" and block.get("text"):
                yield TextDelta(text=block["text"], raw=payload)
        yield from self._ended({"usage": payload.get("usage"), "delta": payload})

    def _usage(self, fields: Json) -> Usage:
        return Usage(
            input_tokens=self._input,
            output_tokens=fields.get("output_tokens") or 0,
            cached_tokens=self._cached,
        )
