"""An answer in the Responses format: every event in its place, whatever comes from upstream."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from providers.clients.answer_reader import AnswerReader
from providers.clients.deadlines import Deadlines
from providers.domain.types import (
    ClientEvent,
    Finish,
    Kind,
    Method,
    ReasoningDelta,
    Target,
    TextDelta,
    TextWasReasoning,
    Timeouts,
    ToolCallDelta,
    Usage,
)
from providers.protocols import anthropic_messages, openai_chat
from providers.protocols.responses_events import ResponseWriter, write_usage
from providers.protocols.responses_items import Payload
from providers.protocols.responses_tools import Tool
from tests.upstreams.dialects import Anthropic, OpenAI
from tests.upstreams.plans import REASONING, TOOL, Plan, words

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOLS = {
    "agents__ls": Tool(name="ls", namespace="agents"),
    "patch": Tool(name="patch", is_custom=True),
}
TIMES = Timeouts(connect=1, first_token=1, silence=1, total=1)


def writer(*, summarizes: bool = True, **request: Any) -> ResponseWriter:
    return ResponseWriter("0a", 1, request, TOOLS, summarizes=summarizes)


def write(*events: ClientEvent, summarizes: bool = True) -> list[Payload]:
    made = writer(summarizes=summarizes)
    payloads = made.start("m")
    for event in events:
        payloads += made.take(event)
    return [*payloads, *made.end_items(Usage(), 2), *made.end()]


def call(number: int, name: str = "", arguments: str = "") -> ToolCallDelta:
    head = {"id": f"c{number}", "type": "function"} if name else {}
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return ToolCallDelta(call={"index": number, **head, "function": function})


def check(payloads: list[Payload]) -> Response:
    """Each payload is what OpenAI's package reads; items and numbers are consistent."""
    events = [EVENT.validate_python(payload) for payload in payloads]
    assert [e.type for e in events[:2]] == ["response.created", "response.in_progress"]
    assert [p["sequence_number"] for p in payloads] == list(range(len(payloads)))
    added = [p for p in payloads if p["type"] == "response.output_item.added"]
    done = [p for p in payloads if p["type"] == "response.output_item.done"]
    assert [p["output_index"] for p in added] == list(range(len(added)))
    assert sorted(p["output_index"] for p in done) == list(range(len(added)))
    response = payloads[-1]["response"]
    for payload in done:
        assert response["output"][payload["output_index"]] == payload["item"]
    for payload in payloads:
        if "item_id" in payload:
            assert response["output"][payload["output_index"]]["id"] == payload["item_id"]
    deltas: dict[str, str] = {}
    for payload in payloads:
        if payload["type"].endswith(".delta"):
            deltas[payload["item_id"]] = deltas.get(payload["item_id"], "") + payload["delta"]
    for item in response["output"]:
        assert deltas.get(item["id"], "") == _text_of(item)
    return Response.model_validate(response)


def _text_of(item: Payload) -> str:
    match item["type"]:
        case "message":
            return str(item["content"][0]["text"])
        case "reasoning":
            return str(item["summary"][0]["text"])
        case "custom_tool_call":
            return str(item["input"])
    return str(item["arguments"])


def test_a_text_begins_and_ends_in_order() -> None:
    payloads = write(TextDelta(text="Hi "), TextDelta(text="there"), Finish(reason="stop"))
    assert [p["type"].removeprefix("response.") for p in payloads] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert check(payloads).output_text == "Hi there"


def test_reasoning_precedes_the_text_or_is_left_out() -> None:
    events = (ReasoningDelta(text="Hm."), TextDelta(text="Hi"), Finish(reason="stop"))
    assert [item.type for item in check(write(*events)).output] == ["reasoning", "message"]
    assert [i.type for i in check(write(*events, summarizes=False)).output] == ["message"]


def test_parallel_calls_whose_pieces_alternate() -> None:
    response = check(
        write(
            TextDelta(text="Look"),
            call(0, "agents__ls", '{"a'),
            call(1, "patch", '{"inp'),
            call(0, arguments='": 1}'),
            call(1, arguments='ut": "+1"}'),
            Finish(reason="tool_calls"),
        )
    )
    message, first, second = response.output
    assert message.type == "message"
    assert first.type == "function_call"
    assert (first.name, first.namespace, first.call_id) == ("ls", "agents", "c0")
    assert first.arguments == '{"a": 1}'
    assert second.type == "custom_tool_call"
    assert (second.name, second.input, second.call_id) == ("patch", "+1", "c1")


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_the_status_names_how_it_ended(reason: str, status: str, details: str | None) -> None:
    payloads = write(TextDelta(text="Hi"), Finish(reason=reason))
    response = check(payloads)
    assert (response.status, payloads[-1]["type"]) == (status, f"response.{status}")
    found = response.incomplete_details
    assert (found.reason if found else None) == details
    assert response.output[0].status == status  # type: ignore[union-attr]


def test_a_failure_ends_with_the_error_and_the_failed_response() -> None:
    made = writer()
    payloads = [*made.start("m"), *made.take(TextDelta(text="Hi")), *made.fail("cut", "It broke.")]
    error, failed = payloads[-2:]
    assert (error["code"], error["error"]["message"]) == ("cut", "It broke.")
    assert failed["response"]["error"] == {"code": "cut", "message": "It broke."}
    assert [p["sequence_number"] for p in payloads] == list(range(len(payloads)))


def test_the_response_repeats_the_request() -> None:
    made = writer(temperature=0.5, metadata={"a": "b"}, tools=None, vendor_field=1)
    made.start("m")
    made.end_items(Usage(), 2)
    response = made.end()[0]["response"]
    assert (response["temperature"], response["metadata"]) == (0.5, {"a": "b"})
    assert (response["tools"], response["store"]) == ([], False)
    assert "vendor_field" not in response


@pytest.mark.parametrize("summarizes", [False, True])
def test_text_that_turned_out_to_be_reasoning(summarizes: bool) -> None:
    """Where nothing was sent yet, it moves to its place."""
    made = writer(summarizes=summarizes)
    made.start("m")
    made.take(TextDelta(text="Hm."))
    made.retract_text()
    made.take(TextDelta(text="Hi"))
    made.end_items(Usage(), 2)
    output = made.end()[0]["response"]["output"]
    kinds = [item["type"] for item in output]
    assert kinds == (["reasoning", "message"] if summarizes else ["message"])
    assert output[-1]["content"][0]["text"] == "Hi"


def test_usage_by_this_formats_names() -> None:
    usage = Usage(input_tokens=9, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
    written = write_usage(usage)
    assert written["total_tokens"] == 14
    assert written["input_tokens_details"]["cached_tokens"] == 4
    assert written["output_tokens_details"] == {"reasoning_tokens": 2}
    assert "estimated" not in written
    assert write_usage(Usage(estimated=True))["estimated"] is True


_texts = st.text(min_size=1, max_size=5)
_events = st.one_of(
    st.builds(lambda t: TextDelta(text=t), _texts),
    st.builds(lambda t: ReasoningDelta(text=t), _texts),
    st.builds(lambda n, t: call(n, "ls", t), st.integers(0, 3), _texts),
    st.just(TextWasReasoning()),
)


@given(st.lists(_events, max_size=12), st.sampled_from(["stop", "length", "tool_calls"]))
def test_whatever_comes_the_events_are_consistent(events: list[ClientEvent], reason: str) -> None:
    response = check(write(*events, Finish(reason=reason)))
    texts = [e.text for e in events if isinstance(e, TextDelta)]
    assert response.output_text == "".join(texts)


def _upstream(kind: Kind) -> bytes:
    """A provider's stream with reasoning, text and a tool call."""
    spoken = OpenAI() if kind == Kind.OPENAI else Anthropic()
    pieces = [*spoken.begin("m")]
    pieces += [spoken.reasoning(piece) for piece in words(REASONING)]
    pieces += [spoken.text(piece) for piece in words("Hello there, café")]
    pieces += [*spoken.tool(), *spoken.finish(Plan(tool=True), (7, 3))]
    return b"".join(pieces)


def _payloads(kind: Kind, cuts: list[int]) -> list[Payload]:
    """The events of that stream, cut at these places."""
    chat = openai_chat.ChunkReader() if kind == Kind.OPENAI else anthropic_messages.MessageReader()
    target = Target(
        method=Method.DIRECT, kind=kind, base_url="", api_key="", model="m", timeouts=TIMES
    )
    reader = AnswerReader(chat.events, Deadlines(TIMES), target)
    stream = _upstream(kind)
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    events = [e for a, b in pairwise(places) for e in reader.feed(stream[a:b])]
    assert reader.error is None
    return write(*events, *reader.end())


def _without_rows(payloads: list[Payload]) -> list[Payload]:
    """The events without their numbers, with neighbouring pieces of text as one."""
    joined: list[Payload] = []
    for payload in payloads:
        event = {name: value for name, value in payload.items() if name != "sequence_number"}
        if joined and event["type"] == joined[-1]["type"] == "response.output_text.delta":
            joined[-1]["delta"] += event["delta"]
        else:
            joined.append(event)
    return joined


@pytest.mark.parametrize("kind", list(Kind))
@given(cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_any_chunking_gives_the_same_events(kind: Kind, cuts: list[int]) -> None:
    """Texts that came in one read are one event, so their number and all sequence numbers vary."""
    payloads = _payloads(kind, cuts)
    assert _without_rows(payloads) == _without_rows(_payloads(kind, []))
    response = check(payloads)
    reasoning, message, function = response.output
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == REASONING
    assert message.type == "message"
    assert response.output_text == "Hello there, café"
    assert function.type == "function_call"
    assert (function.call_id, function.name, function.arguments) == TOOL
