"""Answers that are right in their substance and odd in their form, as vendors were seen to send.

Each is what an upstream writes, byte for byte, and what must come of it over every route.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from providers.domain.errors import ErrorKind
from providers.domain.types import Kind

STREAM, JSON = "text/event-stream", "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """`calls` are (name, arguments) of each tool call; `kind` and `code` where it is a failure.

    `note` is the code of what is noted with a good answer; `other` the fields beside its text.
    """

    raw: str
    content_type: str = STREAM
    kind_of_format: Kind = Kind.OPENAI
    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = "stop"
    native: str = ""
    kind: ErrorKind | None = None
    code: str = ""
    note: str = ""
    other: dict[str, Any] = field(default_factory=dict)


def _chunk(delta: dict[str, Any], reason: str | None = None, **fields: Any) -> str:
    head = {"id": "q1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps({**head, "choices": [choice], **fields})


def _stream(*payloads: str, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {payload}\n\n" for payload in payloads) + end


def _answer(message: dict[str, Any], reason: str = "stop") -> str:
    message = {"role": "assistant", **message}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return json.dumps({"id": "w1", "object": "chat.completion", "model": "m", "choices": [choice]})


def _call(name: str, arguments: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", **fields, "function": {"name": name, "arguments": arguments}}


def _calls(*pieces: dict[str, Any]) -> str:
    return _chunk({"tool_calls": list(pieces)})


_A, _B = _call("ls", '{"p":1}', id="call_a"), _call("cat", '{"p":2}', id="call_b")
_BOTH = (("ls", '{"p":1}'), ("cat", '{"p":2}'))
_HI, _STOP, _CALLED = _chunk({"content": "Hello"}), _chunk({}, "stop"), _chunk({}, "tool_calls")
_USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
_USED = json.dumps({"id": "q1", "object": "chat.completion.chunk", "choices": [], **_USAGE})

_CITED = [{"type": "url_citation", "url_citation": {"url": "https://example.org", "title": "E"}}]
_PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]
_AUDIO = {"id": "audio_1", "data": "QUJD", "transcript": "", "expires_at": 9}

_MUSING = {"type": "text", "text": "I muse."}
_FENCED = "Write:\n\n```\n<think>x</think>\n```\n"


def _calling(*payloads: str) -> Oddity:
    return Oddity(raw=_stream(*payloads, _CALLED), calls=_BOTH, finish="tool_calls")


def _ended(reason: str, finish: str) -> Oddity:
    raw = _stream(_HI, _chunk({}, reason))
    return Oddity(raw=raw, text="Hello", finish=finish, native=reason)


def _failed(reason: str, kind: ErrorKind, code: str = "") -> Oddity:
    return Oddity(
        raw=_stream(_HI, _chunk({}, reason)), text="Hello", kind=kind, code=code or reason
    )


def _spoiled(trailer: str, note: str) -> Oddity:
    return Oddity(raw=_stream(_HI, _STOP, _USED, end=trailer), text="Hello", note=note)


def _claude(*payloads: dict[str, Any]) -> str:
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 3}}}
    return "".join(f"event: {p['type']}\ndata: {json.dumps(p)}\n\n" for p in (begun, *payloads))


def _use(index: int, name: str, argument: int, call_id: str) -> tuple[dict[str, Any], ...]:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": f'{{"p":{argument}}}'}
    return (
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    )


def _claude_end(reason: str) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason},
        "usage": {"output_tokens": 2},
    }


_CLAUDE_HI = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Hello"},
}

ODDITIES = {
    # Tool calls: two are two, whatever is missing or repeated.
    "calls-in-one-json": Oddity(
        raw=_answer({"content": None, "tool_calls": [_A, _B]}, "tool_calls"),
        content_type=JSON,
        calls=_BOTH,
        finish="tool_calls",
    ),
    "calls-without-index": _calling(_calls(_A), _calls(_B)),
    "calls-null-index": _calling(_calls({**_A, "index": None}), _calls({**_B, "index": None})),
    "calls-same-index": _calling(_calls({**_A, "index": 0}), _calls({**_B, "index": 0})),
    "calls-in-one-chunk": _calling(_calls(_A, _B)),
    "calls-name-repeated": _calling(
        _calls(_call("ls", '{"p"', index=0, id="call_a")),
        _calls(_call("ls", ":1}", index=0, id="call_a")),
        _calls(_call("cat", '{"p"', index=1, id="call_b")),
        _calls(_call("cat", ":2}", index=1, id="call_b")),
    ),
    "calls-empty-ids": _calling(
        _calls({**_A, "index": 0}),
        _calls({"index": 0, "id": "", "function": {"arguments": ""}}),
        _calls({**_B, "index": 1}),
        _calls({"index": 1, "id": "", "function": {"arguments": ""}}),
    ),
    "calls-alternating": _calling(
        _calls(_call("ls", "", id="call_a")),
        _calls(_call("cat", "", id="call_b")),
        _calls({"id": "call_a", "function": {"arguments": '{"p":1}'}}),
        _calls({"id": "call_b", "function": {"arguments": '{"p":2}'}}),
    ),
    # Finish reasons: what is an end, what is a cut, what is a failure.
    "ends-eos": _ended("eos", "stop"),
    "ends-max-tokens": _ended("max_tokens", "length"),
    "ends-pause": _ended("pause_turn", "length"),
    "ends-sensitive": _ended("sensitive", "content_filter"),
    "ends-unknown": _ended("brand_new", "brand_new"),
    "ends-network-error": _failed("network_error", ErrorKind.PROVIDER),
    "ends-error": _failed("error", ErrorKind.PROVIDER),
    "ends-no-capacity": _failed("insufficient_system_resource", ErrorKind.OVERLOADED),
    "ends-context-full": _failed(
        "model_context_window_exceeded", ErrorKind.REQUEST, "context_length_exceeded"
    ),
    "cut-before-a-word": Oddity(raw=_stream(_chunk({"content": ""}, "length")), finish="length"),
    # After a finish reason and usage nothing spoils the answer.
    "late-error": _spoiled('data: {"error": {"message": "Late.", "code": "oops"}}\n\n', "oops"),
    "late-garbage": _spoiled("data: {this is no JSON\n\n", "json"),
    "late-finish": _spoiled(f"data: {_chunk({}, 'error')}\n\n", "error"),
    # An answer need not be a text.
    "refusal": Oddity(
        raw=_stream(_chunk({"refusal": "I can't help."}), _STOP),
        text="I can't help.",
        other={"refusal": "I can't help."},
    ),
    "only-annotations": Oddity(
        raw=_stream(_chunk({"content": None, "annotations": _CITED}, "stop")),
        other={"annotations": _CITED},
    ),
    "only-images": Oddity(
        raw=_stream(_chunk({"images": _PICTURE}), _STOP), other={"images": _PICTURE}
    ),
    "only-audio": Oddity(
        raw=_answer({"content": None, "audio": _AUDIO}),
        content_type=JSON,
        other={"audio": _AUDIO},
    ),
    # Forms of a stream: two objects where one is due, and events with nothing in them.
    "two-objects": Oddity(raw=_stream(_HI + _STOP), text="Hello"),
    "two-data-on-a-line": Oddity(raw=_stream(f"{_HI}data: {_STOP}"), text="Hello"),
    "two-data-lines": Oddity(raw=_stream(f"{_HI}\ndata: {_STOP}"), text="Hello"),
    "done-on-the-line": Oddity(raw=_stream(f"{_HI}{_STOP}data: [DONE]", end=""), text="Hello"),
    "events-without-data": Oddity(
        raw=f"event: ping\n\n: hello\n\nid: 7\n\nevent: x\ndata:\n\n{_stream(_HI, _STOP)}",
        text="Hello",
    ),
    "no-field-name": Oddity(raw=f"data: {_HI}\n\n{_STOP}\n\ndata: [DONE]\n\n", text="Hello"),
    "lines-of-json": Oddity(raw=f"{_HI}\n{_STOP}\n", content_type=JSON, text="Hello"),
    "json-as-a-stream": Oddity(raw=_answer({"content": "Hello"}), text="Hello"),
    "stream-as-json": Oddity(raw=_stream(_HI, _STOP), content_type=JSON, text="Hello"),
    "page": Oddity(
        raw="<!DOCTYPE html><html></html>",
        content_type="text/html",
        kind=ErrorKind.PROVIDER,
        code="html",
    ),
    "error-with-a-status": Oddity(
        raw=_stream('{"error": {"message": "No.", "code": 401}}'), kind=ErrorKind.AUTH, code="401"
    ),
    # Reasoning within the text.
    "think-tags": Oddity(
        raw=_stream(_chunk({"content": "<think>I muse.</think>\n\nHello"}), _STOP),
        text="Hello",
        reasoning="I muse.",
    ),
    "think-tags-cut": Oddity(
        raw=_stream(*(_chunk({"content": c}) for c in "<think>I muse.</think>\n\nHello"), _STOP),
        text="Hello",
        reasoning="I muse.",
    ),
    "thinking-never-closed": Oddity(
        raw=_stream(_chunk({"content": "<thinking>I muse."}), _STOP), reasoning="I muse."
    ),
    "think-closed-alone": Oddity(
        raw=_answer({"content": "I muse.\n</think>\n\nHello"}),
        content_type=JSON,
        text="Hello",
        reasoning="I muse.",
    ),
    "content-list": Oddity(
        raw=_stream(
            _chunk({"content": [{"type": "thinking", "thinking": [_MUSING]}]}),
            _chunk({"content": [{"type": "text", "text": "Hello"}]}, "stop"),
        ),
        text="Hello",
        reasoning="I muse.",
    ),
    "tags-in-code": Oddity(
        raw=_stream(_chunk({"content": _FENCED}), _STOP),
        text=_FENCED,
    ),
    # The same in Anthropic's format.
    "claude-calls": Oddity(
        raw=_claude(
            *_use(0, "ls", 1, "call_a"), *_use(1, "cat", 2, "call_b"), _claude_end("tool_use")
        ),
        kind_of_format=Kind.ANTHROPIC,
        calls=_BOTH,
        finish="tool_calls",
        native="tool_use",
    ),
    "claude-calls-same-index": Oddity(
        raw=_claude(
            *_use(0, "ls", 1, "call_a"), *_use(0, "cat", 2, "call_b"), _claude_end("tool_use")
        ),
        kind_of_format=Kind.ANTHROPIC,
        calls=_BOTH,
        finish="tool_calls",
        native="tool_use",
    ),
    "claude-in-one-json": Oddity(
        raw=json.dumps(
            {
                "type": "message",
                "content": [
                    {"type": "thinking", "thinking": "I muse."},
                    {"type": "text", "text": "Hello"},
                    {"type": "tool_use", "id": "call_a", "name": "ls", "input": {"p": 1}},
                    {"type": "tool_use", "id": "call_b", "name": "cat", "input": {"p": 2}},
                ],
                "stop_reason": "tool_use",
            }
        ),
        content_type=JSON,
        kind_of_format=Kind.ANTHROPIC,
        text="Hello",
        reasoning="I muse.",
        calls=(("ls", '{"p": 1}'), ("cat", '{"p": 2}')),
        finish="tool_calls",
        native="tool_use",
    ),
    "claude-pause": Oddity(
        raw=_claude(_CLAUDE_HI, _claude_end("pause_turn")),
        kind_of_format=Kind.ANTHROPIC,
        text="Hello",
        finish="length",
        native="pause_turn",
    ),
    "claude-context-full": Oddity(
        raw=_claude(_CLAUDE_HI, _claude_end("model_context_window_exceeded")),
        kind_of_format=Kind.ANTHROPIC,
        text="Hello",
        kind=ErrorKind.REQUEST,
        code="context_length_exceeded",
    ),
    "claude-late-error": Oddity(
        raw=_claude(
            _CLAUDE_HI,
            _claude_end("end_turn"),
            {"type": "error", "error": {"type": "api_error", "message": "Late."}},
        ),
        kind_of_format=Kind.ANTHROPIC,
        text="Hello",
        native="end_turn",
        note="api_error",
    ),
}
