"""An answer in the Messages format says what the upstream's events said, in both forms."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import (
    ClientEvent,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from providers.protocols import anthropic_messages
from providers.protocols.anthropic_events import (
    EventWriter,
    MessageGatherer,
    write_error,
    write_usage,
)
from providers.protocols.typed_events import encode_event

USAGE = Usage(input_tokens=100, output_tokens=7, cached_tokens=60, cache_write_tokens=10)


def write(*events: ClientEvent, thinking: bool = True) -> list[dict[str, Any]]:
    writer = EventWriter("1", "acme/m", 42, thinking=thinking)
    payloads = [payload for event in events for payload in writer.take(event)]
    return payloads + writer.end(USAGE)


def gather(payloads: Iterable[Json]) -> dict[str, Any]:
    gatherer = MessageGatherer()
    for payload in payloads:
        gatherer.take(payload)
    return gatherer.message()


def call(number: int, arguments: str, **begins: str) -> ToolCallDelta:
    name = {"name": begins.pop("name")} if "name" in begins else {}
    function = {**name, "arguments": arguments}
    return ToolCallDelta(call={"index": number, **begins, "function": function})


def test_a_text_is_one_block_between_its_start_and_stop() -> None:
    payloads = write(TextDelta(text="Hel"), TextDelta(text="lo"), Finish(reason="stop"))
    assert [payload["type"] for payload in payloads] == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert payloads[0]["message"]["usage"]["input_tokens"] == 42
    assert payloads[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_thinking_text_and_calls_are_blocks_in_order() -> None:
    message = gather(
        write(
            ReasoningDelta(text="Hm."),
            TextDelta(text="Look."),
            call(0, "", id="a", name="ls"),
            call(1, '{"p":', id="b", name="cat"),
            call(0, '{"p":1}'),
            call(1, "2}"),
            Finish(reason="tool_calls"),
        )
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "Look."},
        {"type": "tool_use", "id": "a", "name": "ls", "input": {"p": 1}},
        {"type": "tool_use", "id": "b", "name": "cat", "input": {"p": 2}},
    ]
    assert (message["id"], message["model"], message["stop_reason"]) == (
        "msg_1",
        "acme/m",
        "tool_use",
    )


def test_thoughts_that_were_not_requested_are_left_out() -> None:
    message = gather(write(ReasoningDelta(text="Hm."), TextDelta(text="Hi"), thinking=False))
    assert [block["type"] for block in message["content"]] == ["text"]


def test_an_empty_answer_is_a_message_without_blocks() -> None:
    assert gather(write(Finish(reason="stop")))["content"] == []


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        (Finish(reason="stop"), "end_turn"),
        (Finish(reason="length"), "max_tokens"),
        (Finish(reason="content_filter"), "refusal"),
        (Finish(reason="stop", native="stop_sequence"), "stop_sequence"),
        (Finish(reason="length", native="pause_turn"), "pause_turn"),
        (Finish(reason="eos", native="eos"), "end_turn"),
    ],
)
def test_each_finish_reason_has_a_stop_reason(finish: Finish, expected: str) -> None:
    assert gather(write(TextDelta(text="x"), finish))["stop_reason"] == expected


def test_a_call_that_ends_with_stop_is_a_call_all_the_same() -> None:
    message = gather(write(call(0, "{}", id="a", name="ls"), Finish(reason="stop")))
    assert message["stop_reason"] == "tool_use"


def test_usage_excludes_cached_tokens_from_the_input() -> None:
    assert write_usage(USAGE) == {
        "input_tokens": 30,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
    }


def test_an_upstreams_own_stream_gathers_to_its_message() -> None:
    """Signatures, citations and fields that we do not know are kept."""
    payloads: list[Json] = [
        {
            "type": "message_start",
            "message": {"id": "msg_9", "content": [], "usage": {"input_tokens": 3}, "new": 1},
        },
        {"type": "ping"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        *(
            {"type": "content_block_delta", "index": 0, "delta": delta}
            for delta in (
                {"type": "thinking_delta", "thinking": "Hm."},
                {"type": "signature_delta", "signature": "sig"},
            )
        ),
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 1, "delta": delta}
            for delta in (
                {"type": "text_delta", "text": "Hi"},
                {"type": "citations_delta", "citation": {"url": "u"}},
            )
        ),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    assert gather(payloads) == {
        "id": "msg_9",
        "new": 1,
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "text", "text": "Hi", "citations": [{"url": "u"}]},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 5},
        "stop_reason": "end_turn",
    }


def test_events_are_named_as_their_type() -> None:
    event = encode_event({"type": "message_stop"})
    assert event == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error")),
        *((403, "permission_error"), (404, "not_found_error"), (429, "rate_limit_error")),
        *((500, "api_error"), (502, "api_error"), (503, "overloaded_error")),
    ],
)
def test_errors_have_the_types_that_clients_know(status: int, kind: str) -> None:
    assert write_error(status, "No.")["error"] == {"type": kind, "message": "No."}


EVENTS = st.lists(
    st.one_of(
        st.builds(TextDelta, text=st.text(min_size=1, max_size=5)),
        st.builds(ReasoningDelta, text=st.text(min_size=1, max_size=5)),
    ),
    max_size=8,
)


@given(EVENTS, st.lists(st.dictionaries(st.text(max_size=3), st.integers()), max_size=3))
def test_what_is_written_is_read_back(
    events: list[TextDelta | ReasoningDelta], inputs: list[dict[str, int]]
) -> None:
    """A client of this format, ours among them, reads the events that were written."""
    calls = [
        call(number, json.dumps(given), id=f"t{number}", name="ls")
        for number, given in enumerate(inputs)
    ]
    payloads = write(*events, *calls, Finish(reason="tool_calls" if calls else "stop"))
    reader = anthropic_messages.MessageReader()
    read = [event for payload in payloads for event in reader.events(payload)]
    for kind in (TextDelta, ReasoningDelta):
        written = "".join(event.text for event in events if isinstance(event, kind))
        assert "".join(event.text for event in read if isinstance(event, kind)) == written
    arguments: dict[int, str] = {}
    for event in read:
        if isinstance(event, ToolCallDelta):
            number = event.call["index"]
            arguments[number] = arguments.get(number, "") + event.call["function"]["arguments"]
    assert [json.loads(text) for _, text in sorted(arguments.items())] == inputs
