"""A provider's answer in the Responses format as our events, streamed or in one piece."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError
from providers.domain.types import (
    ClientEvent,
    Finish,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from providers.protocols.openai_chat import parse_json_values
from providers.protocols.responses_reader import ResponseReader
from providers.protocols.sse import Parser
from tests.upstreams.dialects import Responses
from tests.upstreams.plans import REASONING, TOOL, Plan, words

TEXT = "Hello there, café"


def stream(plan: Plan) -> bytes:
    spoken = Responses()
    pieces = [*spoken.begin("m"), *map(spoken.reasoning, words(REASONING))]
    pieces += map(spoken.text, words(TEXT))
    pieces += [*(spoken.tool() if plan.tool else ()), *spoken.finish(plan, (7, 3))]
    return b"".join(pieces)


def read(chunks: Iterable[bytes]) -> list[ClientEvent]:
    parser, reader = Parser(), ResponseReader()
    texts = [text for chunk in chunks for text in parser.feed(chunk)]
    payloads: list[Any] = [value for text in texts for value in parse_json_values(text)]
    return [event for payload in payloads for event in reader.events(payload)]


def summary(events: list[ClientEvent]) -> dict[str, Any]:
    """What the events amount to."""
    calls = [e.call for e in events if isinstance(e, ToolCallDelta)]
    usages = [e.usage for e in events if isinstance(e, UsageReport)]
    return {
        "text": "".join(e.text for e in events if isinstance(e, TextDelta)),
        "thoughts": "".join(e.text for e in events if isinstance(e, ReasoningDelta)),
        "arguments": "".join(c["function"]["arguments"] for c in calls),
        "calls": [(c["id"], c["function"]["name"]) for c in calls if "id" in c],
        "usage": [(u.input_tokens, u.output_tokens) for u in usages],
        "reason": [e.reason for e in events if isinstance(e, Finish)],
    }


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    sent = stream(Plan(tool=True))
    places = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    events = read(sent[a:b] for a, b in pairwise(places))
    assert events == read([sent])
    assert summary(events) == {
        "text": TEXT,
        "thoughts": REASONING,
        "arguments": TOOL[2],
        "calls": [TOOL[:2]],
        "usage": [(7, 3)],
        "reason": ["tool_calls"],
    }


def test_one_response_is_read_like_its_stream() -> None:
    whole = Responses().whole("m", Plan(text=words(TEXT), tool=True), (7, 3))
    events = list(ResponseReader().events(whole))
    assert all(event.raw is whole for event in events)
    made = summary(events)
    assert (made["text"], made["arguments"], made["usage"]) == (TEXT, TOOL[2], [(7, 3)])
    assert made["reason"] == ["tool_calls"]


@pytest.mark.parametrize(("reason", "expected"), [("", "stop"), ("length", "length")])
def test_why_it_ended(reason: str, expected: str) -> None:
    assert summary(read([stream(Plan(reason=reason))]))["reason"] == [expected]


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        ({"type": "response.created"}, False),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, False),
        ({"type": "response.content_part.added"}, False),
        ({"type": "response.output_item.added", "item": {"type": "web_search_call"}}, True),
        ({"type": "response.web_search_call.searching"}, True),
    ],
)
def test_every_payload_is_an_event(payload: dict[str, Any], content: bool) -> None:
    """What the provider's own tools do is a part of the answer; empty beginnings are none."""
    (event,) = ResponseReader().events(payload)
    assert isinstance(event, Passed)
    assert (event.raw, event.is_content) == (payload, content)


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
        {
            "type": "response.failed",
            "response": {
                "status": "failed",
                "error": {"code": "rate_limit_exceeded", "message": "Slow down."},
            },
        },
    ],
)
def test_a_failure_is_raised(payload: dict[str, Any]) -> None:
    with pytest.raises(CallError, match="Slow down") as raised:
        ResponseReader().events(payload)
    assert raised.value.code == "rate_limit_exceeded"
