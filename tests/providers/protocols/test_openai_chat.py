"""The two chat formats, both ways."""

import contextlib
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from providers.protocols import anthropic_messages, openai_chat

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def read(payloads: list[dict[str, Any]], *, splits: bool) -> list[list[Any]] | str:
    """Each payload's events with all their fields, or the error's code."""
    reader, found = openai_chat.ChunkReader(splits=splits), []
    try:
        for payload in payloads:
            events = reader.events(payload, "line")
            found.append([(type(each), asdict(each), each.raw, each.line) for each in events])
    except CallError as error:
        return error.code
    return found


_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1, "", "0", False, [], {}, {"usage": {"prompt_tokens": 3}}]
)
_TEXTS = st.sampled_from(["Hi", "", " ", "<think>", "</think>", "a </thi", "nk>b", "\ud83d"]) | _ODD
_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": _TEXTS,
        "role": st.sampled_from(["assistant", None]),
        "reasoning_content": _TEXTS,
        "usage": _ODD,
    },
)
_CHOICES = st.fixed_dictionaries(
    {"delta": _DELTAS},
    optional={
        "index": _ODD,
        "finish_reason": st.sampled_from([None, "stop", "eos", ""]),
        "message": _ODD,
        "usage": _ODD,
        "logprobs": _ODD,
    },
)
_CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(_CHOICES, min_size=1, max_size=1) | st.lists(_CHOICES | _ODD) | _ODD},
    optional=dict.fromkeys(("error", "usage", "x_groq", "message", "id"), _ODD),
)


@given(st.lists(_CHUNKS, max_size=6), st.booleans())
def test_the_quick_check_of_aplain_text_changes_nothing(
    payloads: list[dict[str, Any]], splits: bool
) -> None:
    """Any mixture of chunks gives the events that the full check gives."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(openai_chat, "plain_text", lambda chunk: "")
        expected = read(payloads, splits=splits)
    assert read(payloads, splits=splits) == expected


def said(message: ChatMessage, **options: Any) -> dict[str, Any]:
    """The body of a request to Anthropic with one message after a system text."""
    system = ChatMessage(role="system", content="Be brief.")
    return anthropic_messages.body(ChatRequest(messages=(system, message), options=options), "m")


def test_a_request_keeps_what_we_do_not_name() -> None:
    """Options and a message's other fields pass through; the stream and its usage are asked for."""
    message = ChatMessage(role="user", content=({"type": "text", "text": "hi"},), extra={"x": 1})
    body = openai_chat.body(
        ChatRequest(messages=(message,), options={"temperature": 0, "y": [2]}), "m"
    )
    assert body == {
        "model": "m",
        "temperature": 0,
        "y": [2],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}], "x": 1}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_answer_is_asked_for_without_a_stream() -> None:
    """And without what belongs to one."""
    asked = ChatRequest(messages=(ChatMessage(role="user", content="hi"),), non_streaming=True)
    body = openai_chat.body(asked, "m")
    assert body["stream"] is False
    assert "stream_options" not in body


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('{"a": 1}{"b": 2}', [{"a": 1}, {"b": 2}]),
        ('{"a": 1} \n {"b": 2} [3]', [{"a": 1}, {"b": 2}, [3]]),
    ],
)
def test_json_values_that_are_glued_together_are_read_apart(text: str, values: object) -> None:
    """Some servers leave out the empty line between two events."""
    assert openai_chat.parse_json_values(text) == values


@pytest.mark.parametrize("value", ["half \ud83d", {"seed": 2**80}, {"text": "Grüße"}, [1.5, None]])
def test_anything_that_was_read_can_be_sent(value: object) -> None:
    """Half a surrogate pair and a number of any length too."""
    sent = openai_chat.encode_json(value)
    assert json.loads(sent) == value
    assert sent.decode("utf-8")


def test_what_is_cut_is_no_json() -> None:
    """Also behind a value that is whole."""
    with pytest.raises(ValueError, match="Expecting"):
        openai_chat.parse_json_values('{"a": 1}{"b":')


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (chunk({"content": "a"}), [TextDelta(text="a")]),
        (chunk({"content": [{"type": "text", "text": "a"}]}), [TextDelta(text="a")]),
        (chunk({"content": None, "role": "assistant"}), [Passed()]),
        (chunk({"content": ""}), [Passed()]),
        (chunk({"refusal": "No."}), [TextDelta(text="No.")]),
        (chunk({"extra_content": {"google": {}}}), [Passed(is_content=True)]),
        (chunk({"reasoning_content": "r"}), [ReasoningDelta(text="r")]),
        (
            chunk({"reasoning": "r", "content": "a"}),
            [ReasoningDelta(text="r"), TextDelta(text="a")],
        ),
        (chunk({"tool_calls": [CALL]}), [ToolCallDelta(call=CALL)]),
        (chunk({}, "length"), [Finish(reason="length")]),
        (chunk({"content": "a"}, "stop"), [TextDelta(text="a"), Finish(reason="stop")]),
        ({"choices": [{"index": 1, "delta": {"content": "other"}}]}, [Passed(is_content=True)]),
        ({"choices": []}, [Passed()]),
        ({}, [Passed()]),
        (
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": None}},
            [UsageReport(usage=Usage(input_tokens=3))],
        ),
        (
            {
                "choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 3,
                    "completion_tokens": 4,
                    "prompt_tokens_details": {"cached_tokens": 2},
                    "completion_tokens_details": {"reasoning_tokens": 1},
                },
            },
            [
                TextDelta(text="whole"),
                Finish(reason="stop"),
                UsageReport(
                    usage=Usage(
                        input_tokens=3, output_tokens=4, cached_tokens=2, reasoning_tokens=1
                    )
                ),
            ],
        ),
    ],
)
def test_a_chunk_becomes_events(payload: dict[str, Any], events: list[ClientEvent]) -> None:
    """Text as string or parts, reasoning under both names, tool calls, usage, a whole body."""
    assert list(openai_chat.ChunkReader().events(payload)) == events


def test_an_event_keeps_its_chunk() -> None:
    """Whoever passes a stream on sends the provider's own fields."""
    payload = chunk({"content": "a"}) | {"system_fingerprint": "fp"}
    (event,) = openai_chat.ChunkReader().events(payload)
    assert event.raw == payload


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        ({"message": "no", "code": "insufficient_quota"}, ErrorKind.QUOTA, None, None),
        ({"message": "no", "code": 429}, ErrorKind.RATE_LIMIT, 429, "429"),
        ({"message": "no", "code": "1113"}, ErrorKind.QUOTA, None, "1113"),
        ({"type": "overloaded_error", "message": "no"}, ErrorKind.OVERLOADED, None, None),
        ("plain words", ErrorKind.PROVIDER, None, "in_band_error"),
    ],
)
def test_an_error_inside_a_good_envelope_is_sorted(
    error: object, kind: ErrorKind, status: int | None, code: str | None
) -> None:
    """Its code decides, and a status in the code's place counts like one."""
    with pytest.raises(CallError) as caught:
        list(openai_chat.ChunkReader().events({"error": error}))
    assert (caught.value.kind, caught.value.status) == (kind, status)
    assert code is None or caught.value.code == code


@given(JSON, JSON)
def test_no_payload_breaks_a_reader(one: object, two: object) -> None:
    """Whatever JSON an upstream sends, it becomes events or a CallError."""
    reader = anthropic_messages.MessageReader()
    payloads: list[dict[str, Any]] = [
        {"choices": one, "usage": two},
        {"choices": [one, {"delta": two}, {"delta": {"content": one, "tool_calls": two}}]},
        {"choices": [{"finish_reason": one, "message": two}], "usage": {"prompt_tokens": one}},
        {"error": one, "choices": two},
    ]
    shapes = ("message_start", "content_block_start", "content_block_delta", "message_delta")
    for payload in payloads:
        with contextlib.suppress(CallError):
            list(openai_chat.ChunkReader().events(payload))
    for shape in (*shapes, "message", "error", "ping", one):
        for key in ("message", "content_block", "delta", "usage", "content", "error"):
            try:
                list(reader.events({"type": shape, key: one, "index": two}))
                list(reader.events({"type": shape, key: {"text": one, "type": two, "usage": two}}))
            except CallError:
                pass


def test_anthropic_gets_its_own_words() -> None:
    """System text apart, a limit always, options by its names, foreign ones left out."""
    body = said(ChatMessage(role="user", content="hi"), stop="X", max_completion_tokens=9, n=2)
    assert body == {
        "model": "m",
        "max_tokens": 9,
        "stop_sequences": ["X"],
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }
    assert said(ChatMessage(role="user", content="hi"))["max_tokens"] > 0


def test_anthropic_gets_pictures_and_tools_as_blocks() -> None:
    """An image, a tool call, its result and the tools on offer are translated."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    body = said(ChatMessage(role="user", content=(image,)))
    assert body["messages"][0]["content"] == [{"type": "image", "source": source}]
    body = said(ChatMessage(role="assistant", content="ok", extra={"tool_calls": [CALL]}))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "ok"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
    ]
    body = said(ChatMessage(role="tool", content="5", extra={"tool_call_id": "c1"}))
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "5"}
    assert body["messages"] == [{"role": "user", "content": [result]}]
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    body = said(ChatMessage(role="user", content="x"), tools=[{"function": function}])
    assert body["tools"][0]["input_schema"] == function["parameters"]


def test_an_anthropic_stream_becomes_events() -> None:
    """Thinking, text, a tool call in pieces, usage from both ends, the reason in our words."""
    reader = anthropic_messages.MessageReader()
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    payloads: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 5}}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"thinking": "hm"}},
        {"type": "content_block_delta", "index": 1, "delta": {"text": "a"}},
        {"type": "content_block_start", "index": 2, "content_block": tool},
        {"type": "content_block_delta", "index": 2, "delta": {"partial_json": "{}"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop"},
    ]
    events = [event for payload in payloads for event in reader.events(payload)]
    begun = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert events == [
        ReasoningDelta(text="hm"),
        TextDelta(text="a"),
        ToolCallDelta(call=begun),
        ToolCallDelta(call={"index": 0, "function": {"arguments": "{}"}}),
        UsageReport(usage=Usage(input_tokens=5, output_tokens=4)),
        Finish(reason="tool_calls"),
    ]


def test_an_anthropic_error_event_is_sorted() -> None:
    """Its type is the code."""
    payload = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(CallError, match="Overloaded") as caught:
        list(anthropic_messages.MessageReader().events(payload))
    assert caught.value.kind == ErrorKind.OVERLOADED
