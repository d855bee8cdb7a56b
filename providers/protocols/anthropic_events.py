"""Write an answer in the Anthropic Messages format: as a stream's payloads, or as one message.

Both forms come from the same payloads: a stream sends them, a message gathers them. An answer that
came in this format already is gathered here as well. No I/O.
Specification: https://docs.anthropic.com/en/api/messages-streaming and .../errors.
"""

import json
from collections.abc import Mapping
from typing import Any

from providers.domain.types import (
    ClientEvent,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from providers.protocols.openai_chat import fields

type Payload = dict[str, Any]

_STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_OWN_REASONS = frozenset(
    {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"}
)
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
"""What a stream sends while it waits; clients skip it, also before `message_start`."""

_ERRORS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class EventWriter:
    """Writes a stream's events as payloads. `take` each event, then `end` with the usage.

    A block of text or thinking ends where another begins. Blocks of tool calls stay open to the
    end, because the pieces of parallel calls may alternate.
    """

    def __init__(self, answer_id: str, model: str, input_tokens: int, *, thinking: bool) -> None:
        """`input_tokens` is an estimate, for readers of the beginning; `thinking`: the caller
        requested the model's thoughts."""
        self._head = {"id": f"msg_{answer_id}", "model": model}
        self._input_tokens = input_tokens
        self._thinking = thinking
        self._started = False
        self._count = 0
        self._open = ""  # the kind of the text block that is open
        self._calls: dict[object, int] = {}  # the blocks of tool calls, by the calls' numbers
        self._reason = "end_turn"

    def take(self, event: ClientEvent) -> list[Payload]:
        """The payloads that one event adds."""
        match event:
            case TextDelta(text=text):
                return self._start() + self._add_text("text", {"type": "text_delta", "text": text})
            case ReasoningDelta(text=text) if self._thinking:
                delta = {"type": "thinking_delta", "thinking": text}
                return self._start() + self._add_text("thinking", delta)
            case ToolCallDelta(call=call):
                return self._start() + self._add_call(call)
            case Finish():
                self._reason = self._stop_reason(event)
        return []

    def end(self, usage: Usage) -> list[Payload]:
        """The payloads that end the answer."""
        payloads = self._start() + self.close_text()
        payloads += [_block_stop(index) for index in self._calls.values()]
        delta = {"stop_reason": self._reason, "stop_sequence": None}
        return [
            *payloads,
            {"type": "message_delta", "delta": delta, "usage": write_usage(usage)},
            {"type": "message_stop"},
        ]

    def _start(self) -> list[Payload]:
        if self._started:
            return []
        self._started = True
        usage = write_usage(Usage(input_tokens=self._input_tokens))
        message: Payload = {
            **self._head,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return [{"type": "message_start", "message": message}]

    def _add_text(self, kind: str, delta: Json) -> list[Payload]:
        payloads: list[Payload] = []
        if self._open != kind:
            payloads = self.close_text()
            self._open = kind
            signature = {"signature": ""} if kind == "thinking" else {}
            payloads.append(self._block_start({"type": kind, kind: "", **signature}))
        index = self._count - 1
        return [*payloads, {"type": "content_block_delta", "index": index, "delta": delta}]

    def close_text(self) -> list[Payload]:
        """End the open block of text or thinking; a later text begins another."""
        was_open, self._open = self._open, ""
        return [_block_stop(self._count - 1)] if was_open else []

    def _add_call(self, call: Json) -> list[Payload]:
        function, number = fields(call.get("function")), call.get("index")
        payloads: list[Payload] = []
        if number not in self._calls:
            payloads = self.close_text()
            self._calls[number] = self._count
            name = function.get("name")
            block: Payload = {"type": "tool_use", "id": call.get("id"), "name": name, "input": {}}
            payloads.append(self._block_start(block))
        if arguments := function.get("arguments"):
            delta = {"type": "input_json_delta", "partial_json": arguments}
            index = self._calls[number]
            payloads.append({"type": "content_block_delta", "index": index, "delta": delta})
        return payloads

    def _block_start(self, block: Json) -> Payload:
        index, self._count = self._count, self._count + 1
        return {"type": "content_block_start", "index": index, "content_block": block}

    def _stop_reason(self, finish: Finish) -> str:
        """Some vendors end with `stop` where they call a tool; clients act on `tool_use` alone."""
        if self._calls and finish.reason == "stop":
            return "tool_use"
        if finish.native in _OWN_REASONS:
            return finish.native
        return _STOP_REASONS.get(finish.reason, "end_turn")


def _block_stop(index: int) -> Payload:
    return {"type": "content_block_stop", "index": index}


def write_usage(usage: Usage) -> dict[str, int | bool]:
    """Token counts by this format's names: its input tokens are those outside the cache.
    `estimated` is there where they were counted here."""
    cached = usage.cached_tokens + usage.cache_write_tokens
    marks = {"estimated": True} if usage.estimated else {}
    return {
        "input_tokens": max(0, usage.input_tokens - cached),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        **marks,
    }


def write_error(status: int, message: str) -> Payload:
    """An error in this format, for a body and for a stream's event alike."""
    error = {"type": _ERRORS.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error}


class MessageGatherer:
    """Gathers a stream's payloads into the message that they amount to."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[object, dict[str, Any]] = {}
        self._pieces: dict[tuple[object, str], list[str]] = {}  # by block and field

    def take(self, payload: Json) -> None:
        """Adds one payload; a kind that we do not know adds nothing."""
        match payload.get("type"):
            case "message_start" | "message":
                message = fields(payload.get("message")) or payload
                self._message = dict(message)
                self._blocks = dict(enumerate(map(dict, message.get("content") or ())))
            case "content_block_start":
                self._blocks[payload.get("index")] = dict(fields(payload.get("content_block")))
            case "content_block_delta":
                self._add_delta(payload.get("index"), fields(payload.get("delta")))
            case "message_delta":
                so_far = fields(self._message.get("usage"))
                usage = {**so_far, **fields(payload.get("usage"))}
                self._message |= {**fields(payload.get("delta")), "usage": usage}

    def message(self) -> dict[str, Any]:
        """The message's JSON."""
        blocks = {index: dict(block) for index, block in self._blocks.items()}
        for (index, name), pieces in self._pieces.items():
            text = "".join(pieces)
            if name == "partial_json":
                blocks[index]["input"] = _parse(text)
            else:
                blocks[index][name] = (blocks[index].get(name) or "") + text
        return {**self._message, "content": list(blocks.values())}

    def retract_text(self, *, keep: bool) -> None:
        """All text so far turned out to be reasoning: `keep` it as thinking, or drop it."""
        for index in [i for i, block in self._blocks.items() if block.get("type") == "text"]:
            pieces = self._pieces.pop((index, "text"), [])
            if keep:
                self._blocks[index] = {"type": "thinking", "thinking": "", "signature": ""}
                self._pieces[index, "thinking"] = pieces
            else:
                del self._blocks[index]

    def _add_delta(self, index: object, delta: Json) -> None:
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        if citation := delta.get("citation"):
            block.setdefault("citations", []).append(citation)
        for name in ("text", "thinking", "signature", "partial_json"):
            if isinstance(piece := delta.get(name), str):
                self._pieces.setdefault((index, name), []).append(piece)


def _parse(text: str) -> Any:
    """A tool call's input. A text that is no JSON stays readable."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {"input": text}
