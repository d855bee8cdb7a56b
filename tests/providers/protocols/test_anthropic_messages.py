"""Anthropic's format where it differs from OpenAI's; test_wire.py reads both side by side."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import (
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
from providers.protocols import anthropic_messages

PIECES = st.lists(st.text(min_size=1, max_size=8), max_size=6)


def read(*payloads: Json) -> list[ClientEvent]:
    reader = anthropic_messages.MessageReader()
    return [event for payload in payloads for event in reader.events(payload)]


def body(*messages: ChatMessage, **options: Any) -> dict[str, Any]:
    return anthropic_messages.body(ChatRequest(messages=messages, options=options), "claude")


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
        ("something_new", "something_new"),
    ],
)
def test_a_stop_reason_is_given_its_standard_name(theirs: str, ours: str) -> None:
    """Every reason has a word of ours, and one we do not know keeps its own."""
    assert read({"type": "message_delta", "delta": {"stop_reason": theirs}}) == [
        Finish(reason=ours)
    ]


def test_no_stop_reason_is_no_finish() -> None:
    """An end without a reason is for the caller to notice: nothing is invented."""
    assert read({"type": "message_delta", "delta": {"stop_reason": None}}) == []
    assert read({"type": "message_stop"}) == []


def test_cached_tokens_count_as_input() -> None:
    """The format leaves read and written cache out of its input tokens; ours hold them."""
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
    }
    events = read(
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}},
    )
    assert events == [
        UsageReport(
            usage=Usage(input_tokens=125, output_tokens=3, cached_tokens=100, cache_write_tokens=20)
        )
    ]


def test_a_whole_message_reads_like_a_stream() -> None:
    """A body sent where a stream was asked for gives text, usage and the reason."""
    whole = {
        "type": "message",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 2, "output_tokens": 1},
    }
    assert read(whole) == [
        TextDelta(text="a"),
        TextDelta(text="b"),
        UsageReport(usage=Usage(input_tokens=2, output_tokens=1)),
        Finish(reason="stop"),
    ]


@pytest.mark.parametrize("kind", ["ping", "content_block_stop", "message_stop", "new_thing"])
def test_an_event_that_says_nothing_gives_nothing(kind: str) -> None:
    """Also one the format gains later, as its versioning policy announces."""
    assert read({"type": kind, "index": 0}) == []


@given(thoughts=PIECES, words=PIECES, arguments=PIECES)
def test_pieces_keep_their_order_and_every_character(
    thoughts: list[str], words: list[str], arguments: list[str]
) -> None:
    """Thinking, text and a tool's arguments come out as they went in, each apart."""
    events = read(
        *(delta(thinking=piece) for piece in thoughts),
        *(delta(text=piece) for piece in words),
        *(delta(partial_json=piece) for piece in arguments),
    )
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == thoughts
    assert [e.text for e in events if isinstance(e, TextDelta)] == words
    calls = [e.call["function"]["arguments"] for e in events if isinstance(e, ToolCallDelta)]
    assert calls == arguments


def test_an_event_has_nothing_to_pass_on() -> None:
    """Its payload is of another format than the one our callers speak."""
    (event,) = read(delta(text="a"))
    assert (event.raw, event.line) == (None, "")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": "a"}, {"stop_sequences": ["a"]}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"seed": 1, "response_format": {}, "logprobs": True}, {}),
    ],
)
def test_options_go_out_by_this_formats_names(theirs: Json, ours: Json) -> None:
    """What has no name here is left out: the API refuses fields it does not know."""
    sent = body(ChatMessage(role="user", content="hi"), **theirs)
    for known in ("model", "messages", "stream"):
        del sent[known]
    assert sent == {"max_tokens": anthropic_messages.DEFAULT_MAX_TOKENS, **ours}


def test_system_texts_are_joined_and_leave_the_messages() -> None:
    """Wherever they stand, and whether a string or parts; developer counts as system."""
    sent = body(
        ChatMessage(role="system", content="One."),
        ChatMessage(role="user", content="hi"),
        ChatMessage(role="developer", content=({"type": "text", "text": "Two."},)),
    )
    assert sent["system"] == "One.\n\nTwo."
    assert sent["messages"] == [{"role": "user", "content": "hi"}]


def test_a_tool_call_that_broke_off_is_sent_without_arguments() -> None:
    """Half a JSON object cannot be sent as one, and must not break the conversation."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    sent = body(ChatMessage(role="assistant", content=None, extra={"tool_calls": [call]}))
    assert sent["messages"][0]["content"] == [
        {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    ]


def test_blocks_that_come_with_all_their_input_lose_none_of_it() -> None:
    """Some servers send no pieces; the calls stay two, whatever index they carry."""
    reader = anthropic_messages.MessageReader()
    found: list[ClientEvent] = []
    for wanted in ({"p": 1}, {"p": 2}):
        block = {"type": "tool_use", "id": f"t{wanted['p']}", "name": "ls", "input": wanted}
        found += reader.events({"type": "content_block_start", "index": 0, "content_block": block})
        found += reader.events({"type": "content_block_stop", "index": 0})
    calls = [event.call for event in found if isinstance(event, ToolCallDelta)]
    assert [(call["index"], call["function"]["arguments"]) for call in calls] == [
        (0, ""),
        (0, '{"p": 1}'),
        (1, ""),
        (1, '{"p": 2}'),
    ]


def test_a_full_message_has_its_thoughts_and_its_calls() -> None:
    """One JSON where a stream was requested: text is not all that a message holds."""
    content = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "Look:"},
        {"type": "tool_use", "id": "t1", "name": "ls", "input": {"p": 1}},
        {"type": "tool_use", "id": "t2", "name": "ls", "input": {}},
    ]
    found = read({"type": "message", "content": content, "stop_reason": "tool_use"})
    assert found[:2] == [ReasoningDelta(text="Hm."), TextDelta(text="Look:")]
    calls = [event.call for event in found if isinstance(event, ToolCallDelta)]
    assert [call.get("id") for call in calls] == ["t1", None, "t2"]
    assert found[-1] == Finish(reason="tool_calls")
