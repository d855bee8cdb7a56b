"""The Anthropic Messages format both ways: a request to a body, an event to our events. No I/O.

Specification: https://docs.anthropic.com/en/api/messages and .../messages-streaming.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from providers.domain.types import (
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
from providers.protocols import finish, openai_chat
from providers.protocols.tool_calls import Numbering
from providers.protocols.usage import merge_usage, read_usage

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
        **({"tools": tools} if (tools := _tools(request.options.get("tools"))) else {}),
        "messages": [
            {"role": "assistant" if m.role == "assistant" else "user", "content": _content(m)}
            for m in request.messages
            if m.role not in ("system", "developer")
        ],
        "stream": True,
    }


def _tools(offered: object) -> list[dict[str, Any]]:
    functions = (openai_chat.fields(tool.get("function")) for tool in openai_chat.dicts(offered))
    return [
        {
            "name": function.get("name"),
            "description": function.get("description") or "",
            "input_schema": function.get("parameters") or {"type": "object"},
        }
        for function in functions
    ]


def _content(message: ChatMessage) -> str | list[Json]:
    """Text as it is; pictures, tool calls and their results as this format's blocks."""
    if message.role == "tool":
        call_id = message.extra.get("tool_call_id")
        return [{"type": "tool_result", "tool_use_id": call_id, "content": _plain(message)}]
    calls = openai_chat.dicts(message.extra.get("tool_calls"))
    if isinstance(message.content, str) and not calls:
        return message.content
    parts = message.content or ()
    if isinstance(parts, str):
        parts = ({"type": "text", "text": parts},)
    return [*map(_block, parts), *map(_tool_use, calls)]


def _block(part: Json) -> Json:
    url = openai_chat.fields(part.get("image_url")).get("url")
    if not isinstance(url, str):
        return part
    if url.startswith("data:"):
        kind, _, data = url.removeprefix("data:").partition(";base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _tool_use(call: Json) -> Json:
    function = openai_chat.fields(call.get("function"))
    try:
        given = json.loads(function.get("arguments") or "{}")
    except ValueError:
        given = {}  # a call that broke off in its middle
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given}


def _plain(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text") or "") for part in message.content or ())


class MessageReader:
    """Turns the stream's events into ours; remembers the tokens reported at its beginning.

    `passes`: the events carry the payload, and each payload is an event, for callers who read this
    format.
    """

    def __init__(self, *, passes: bool = False) -> None:
        self._passes = passes
        self._usage: Usage | None = None
        self._reported: dict[str, Any] = {}
        self._calls = Numbering()
        self._inputs: dict[object, str] = {}  # of blocks that came with it, while no piece follows

    def events(self, payload: Json, line: str = "") -> Iterable[ClientEvent]:
        """The events of one payload, streamed or whole. Raises CallError for an `error` event."""
        events = self._events(payload)
        if not self._passes:
            return events
        carrying = [replace(event, raw=payload, line=line) for event in events]
        return carrying or [Passed(raw=payload, line=line)]

    def _events(self, payload: Json) -> Iterable[ClientEvent]:
        match payload.get("type"):
            case "error":
                raise openai_chat.in_band_error(payload)
            case "message_start":
                self._merge_usage(
                    openai_chat.fields(openai_chat.fields(payload.get("message")).get("usage"))
                )
            case "content_block_start":
                yield from self._read_block_start(payload)
            case "content_block_delta":
                yield from self._read_block_delta(payload)
            case "content_block_stop":
                yield from self._read_block_stop(payload.get("index"))
            case "message_delta":
                yield from self._read_message_delta(payload)
            case "message":
                yield from self._read_full_message(payload)

    def _merge_usage(self, reported: Json) -> None:
        """Counts come at the beginning and at the end; the later ones lack some of the earlier."""
        self._reported = {**self._reported, **reported}
        self._usage = merge_usage(self._usage, read_usage(reported))

    def _read_block_start(self, payload: Json) -> Iterable[ClientEvent]:
        """What a block begins with: usually nothing, but some servers send all of it at once."""
        block, index = openai_chat.fields(payload.get("content_block")), payload.get("index")
        if block.get("type") != "tool_use":
            yield from self._read_texts(block)
            return
        yield from self._read_call(index, "", id=block.get("id"), name=block.get("name"))
        if given := block.get("input"):
            self._inputs[index] = json.dumps(given, ensure_ascii=False)

    def _read_block_delta(self, payload: Json) -> Iterable[ClientEvent]:
        delta = openai_chat.fields(payload.get("delta"))
        yield from self._read_texts(delta)
        if isinstance(piece := delta.get("partial_json"), str):
            if piece:
                self._inputs.pop(payload.get("index"), None)
            yield from self._read_call(payload.get("index"), piece)

    @staticmethod
    def _read_texts(block: Json) -> Iterable[ClientEvent]:
        if isinstance(thinking := block.get("thinking"), str) and thinking:
            yield ReasoningDelta(text=thinking)
        if isinstance(text := block.get("text"), str) and text:
            yield TextDelta(text=text)

    def _read_block_stop(self, index: object) -> Iterable[ClientEvent]:
        if given := self._inputs.pop(index, ""):
            yield from self._read_call(index, given)

    def _read_call(
        self, index: object, arguments: str, id: object = None, name: object = None
    ) -> Iterable[ClientEvent]:
        """A piece of a tool call, in OpenAI's form; its first one has an id and a name."""
        begins = {"id": id, "type": "function"} if name else {}
        function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
        for call in self._calls.number([{"index": index, **begins, "function": function}]):
            yield ToolCallDelta(call=call)

    def _read_message_delta(self, payload: Json) -> Iterable[ClientEvent]:
        for index in list(self._inputs):  # their blocks were never closed
            yield from self._read_block_stop(index)
        self._merge_usage(openai_chat.fields(payload.get("usage")))
        if self._usage and payload.get("usage"):
            yield UsageReport(usage=self._usage, reported=self._reported)
        if reason := str(openai_chat.fields(payload.get("delta")).get("stop_reason") or ""):
            yield Finish(reason=finish.standard(reason), native=reason)

    def _read_full_message(self, payload: Json) -> Iterable[ClientEvent]:
        for index, block in enumerate(openai_chat.dicts(payload.get("content"))):
            yield from self._read_block_start({"index": index, "content_block": block})
            yield from self._read_block_stop(index)
        yield from self._read_message_delta({"usage": payload.get("usage"), "delta": payload})
