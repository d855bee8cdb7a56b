"""Events as OpenAI's answers: passed on as they came, or said in this format."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from api.chat_completions.openai_response import DONE, AnswerSerializer, ChunkSerializer
from providers.domain.types import (
    ClientEvent,
    Completed,
    Finish,
    Method,
    ReasoningDelta,
    RouteTaken,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from providers.protocols import openai_chat
from providers.protocols.usage import merge_usage, openai_usage

ENDED = Completed(
    attempts=(),
    usage=Usage(input_tokens=7, output_tokens=2, estimated=True),
    cost=None,
    finish_reason="stop",
)


def taken(model: str, cached_reason: str = "") -> RouteTaken:
    return RouteTaken(
        route_id=1,
        method=Method.DIRECT,
        provider_name="Acme",
        model=model,
        reason=cached_reason,
        fallback=False,
        ttft_ms=1,
        is_cached=bool(cached_reason),
    )


def chunk(delta: dict[str, Any], reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 5, "model": "m-2026"}
    return head | {"choices": [choice]} | fields


def ended(events: Iterable[ClientEvent]) -> Completed:
    """How the router ends it: with what was reported, else an estimate."""
    usage = None
    for event in events:
        if isinstance(event, UsageReport):
            usage = merge_usage(usage, event.usage)
    return replace(ENDED, usage=usage or ENDED.usage)


def streamed(events: Iterable[ClientEvent], *, usage: bool = False) -> list[dict[str, Any]]:
    """What is sent of these events, up to the end mark."""
    chunks = ChunkSerializer("chatcmpl-1", 9, usage=usage)
    chunks.start(taken("m"))
    events = list(events)
    sent = b"".join([*map(chunks.serialize, events), chunks.finish(ended(events))])
    assert sent.endswith(DONE)
    lines = sent.removesuffix(DONE).decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def passed_on(*raws: dict[str, Any], usage: bool = False) -> list[dict[str, Any]]:
    """The same from a provider's own chunks."""
    reader = openai_chat.ChunkReader()
    return streamed((event for raw in raws for event in reader.events(raw)), usage=usage)


def test_replaces_only_the_model_of_a_chunk() -> None:
    """Ids, unknown fields and all."""
    first = chunk({"role": "assistant", "content": "Hi"}, system_fingerprint="fp", x={"y": [1]})
    assert passed_on(first) == [first | {"model": "m"}]


def test_a_chunk_of_several_events_is_sent_once() -> None:
    """Reasoning, text and the finish reason may come together."""
    one = chunk({"role": "assistant", "reasoning": "Hm.", "content": "Hi"}, "stop")
    assert passed_on(one) == [one | {"model": "m"}]


def test_the_first_chunk_has_the_role() -> None:
    """Where the provider left it out; the others are left alone."""
    sent = passed_on(chunk({"content": "a"}), chunk({"content": "b"}))
    assert [each["choices"][0]["delta"].get("role") for each in sent] == ["assistant", None]


def test_adds_required_fields() -> None:
    """An id, a time, an object's name, and choices that are a list."""
    bare = {"choices": [{"delta": {"role": "assistant", "content": "a"}}]}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 9, "model": "m"}
    assert passed_on(bare) == [bare | head]


def test_sends_requested_usage_last() -> None:
    """On a chunk of its own, with every field, wherever the provider reported it."""
    said = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.1}
    for raws in (
        [chunk({"content": "a"}, "stop", usage=said)],
        [chunk({"content": "a"}, "stop"), chunk({}) | {"choices": [], "usage": said}],
    ):
        *content, last = passed_on(*raws, usage=True)
        assert (last["choices"], last["model"]) == ([], "m")
        assert last["usage"] == said | {
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        assert all("usage" not in each for each in content)


def test_sends_no_usage_unless_requested() -> None:
    """Some clients stumble over a chunk without choices."""
    said = {"prompt_tokens": 3, "completion_tokens": 4}
    sent = passed_on(chunk({"content": "a"}, "stop"), chunk({}) | {"choices": None, "usage": said})
    assert len(sent) == 1
    assert "usage" not in sent[0]


def test_marks_estimated_usage() -> None:
    """What was counted here is marked."""
    last = passed_on(chunk({"content": "a"}, "stop"), usage=True)[-1]
    assert last["usage"]["prompt_tokens"] == 7
    assert last["usage"]["estimated"] is True


def test_translates_events_of_another_format() -> None:
    """Each with the head that OpenAI's have."""
    first, args = {"index": 0, "id": "t1", "function": {"name": "f"}}, {"arguments": "{}"}
    sent = streamed(
        [
            ReasoningDelta(text="Hm."),
            TextDelta(text="Hi"),
            ToolCallDelta(call=first),
            ToolCallDelta(call={"index": 0, "function": args}),
            UsageReport(usage=Usage(input_tokens=1, output_tokens=2, cached_tokens=1)),
            Finish(reason="tool_calls"),
        ],
        usage=True,
    )
    deltas = [each["choices"][0]["delta"] for each in sent[:-1]]
    assert deltas == [
        {"role": "assistant", "reasoning_content": "Hm."},
        {"content": "Hi"},
        {"tool_calls": [first]},
        {"tool_calls": [{"index": 0, "function": args}]},
        {},
    ]
    assert sent[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert sent[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    assert {each["model"] for each in sent} == {"m"}
    assert {each["id"] for each in sent} == {"chatcmpl-1"}


def test_a_full_answer_to_a_stream_request_is_streamed() -> None:
    """Some providers ignore `stream`."""
    message = {"role": "assistant", "content": "Hi"}
    answer = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    sent = passed_on(answer)
    assert [each["choices"][0]["delta"] for each in sent] == [
        {"role": "assistant", "content": "Hi"},
        {},
    ]


def whole(events: Iterable[ClientEvent]) -> dict[str, Any]:
    form = AnswerSerializer("chatcmpl-1", 9)
    form.start(taken("m"))
    events = list(events)
    said = b"".join(form.serialize(event) for event in events)
    assert said == b""
    answer: dict[str, Any] = json.loads(form.finish(ended(events)))
    return answer


def test_replaces_only_the_model_of_a_full_answer() -> None:
    """Several choices, logprobs and all."""
    message = {"role": "assistant", "content": "Hi", "annotations": []}
    choices = [{"index": n, "message": message, "finish_reason": "stop"} for n in (0, 1)]
    answer = {"id": "x", "object": "chat.completion", "created": 5, "model": "m-2026"}
    usage = openai_usage(Usage(input_tokens=1, output_tokens=2), {"cost": 0.1})
    answer |= {"choices": choices, "usage": usage, "service_tier": "default"}
    assert whole(openai_chat.ChunkReader().events(answer)) == answer | {"model": "m"}


def test_gathers_an_answer_from_events() -> None:
    """Of another protocol, or of a stream that nobody asked for."""
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a": 1}'}}
    answer = whole(
        [
            ReasoningDelta(text="Hm."),
            TextDelta(text="H"),
            TextDelta(text="i"),
            ToolCallDelta(call=call),
            ToolCallDelta(call=more),
            Finish(reason="stop"),
        ]
    )
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "Hm.",
        "tool_calls": [{"id": "t1", "type": "function", "function": function}],
    }
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["estimated"] is True


def test_marks_a_cached_answer() -> None:
    """On every chunk, and beside a whole one."""
    chunks, one = ChunkSerializer("chatcmpl-1", 9, usage=False), AnswerSerializer("chatcmpl-1", 9)
    for form in (chunks, one):
        form.start(taken("m", "this is the answer of 3 h ago"))
    said = TextDelta(text="Hi")
    one.serialize(said)
    for sent in (chunks.serialize(said), one.finish(ENDED)):
        assert b'"earlier_answer":"this is the answer of 3 h ago"' in sent


def test_passes_an_unchanged_chunk_byte_by_byte() -> None:
    """Spaces, order and spelling; encoding each one again would be dear."""
    chunks = ChunkSerializer("chatcmpl-1", 9, usage=True)
    chunks.start(taken("m"))
    lines = [json.dumps(chunk({"content": text}, model="m", x="é")) for text in "ab"]
    reader = openai_chat.ChunkReader()
    sent = [
        b"".join(map(chunks.serialize, reader.events(json.loads(line), line))) for line in lines
    ]
    assert json.loads(sent[0].removeprefix(b"data: "))["choices"][0]["delta"]["role"]
    assert sent[1] == f"data: {lines[1]}\n\n".encode()


def test_passes_on_unknown_payloads() -> None:
    """A second choice, a signature, a vendor's own field."""
    second = chunk({"content": "b"})
    second["choices"][0]["index"] = 1
    signed = chunk({"extra_content": {"google": {"thought_signature": "x"}}})
    first = chunk({"role": "assistant", "content": "a"})
    assert passed_on(first, second, signed) == [
        each | {"model": "m"} for each in (first, second, signed)
    ]


TWO_CALLS = [
    {"id": "a", "type": "function", "function": {"name": "ls", "arguments": '{"p":1}'}},
    {"id": "b", "type": "function", "function": {"name": "cat", "arguments": '{"p":2}'}},
]


def calls_of(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool calls as a client gathers them: by index, later texts appended."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in (p for c in chunks for p in c["choices"][0]["delta"].get("tool_calls", ())):
        known = calls.setdefault(piece["index"], {"function": {"arguments": ""}})
        known |= {name: piece[name] for name in ("id", "type") if name in piece}
        function = piece["function"]
        known["function"] |= {"name": function["name"]} if "name" in function else {}
        known["function"]["arguments"] += function.get("arguments", "")
    return [calls[number] for number in sorted(calls)]


def test_two_calls_in_one_json_stay_two_where_a_stream_was_requested() -> None:
    """They carry no index there; a stream's must."""
    message = {"role": "assistant", "content": None, "tool_calls": TWO_CALLS}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    assert calls_of(passed_on({"id": "w1", "choices": [choice]})) == TWO_CALLS


def test_two_calls_without_an_index_stay_two() -> None:
    """In the stream that is passed on, and in the full answer that is gathered from it."""
    raws = [chunk({"tool_calls": [call]}) for call in TWO_CALLS] + [chunk({}, "tool_calls")]
    assert calls_of(passed_on(*raws)) == TWO_CALLS
    reader = openai_chat.ChunkReader()
    answer = whole(event for raw in raws for event in reader.events(raw))
    assert answer["choices"][0]["message"]["tool_calls"] == TWO_CALLS


def test_clients_get_the_standard_finish_reason_with_the_vendors_beside_it() -> None:
    """A client that does not know `eos` would ask again."""
    (_, last) = passed_on(chunk({"content": "a"}), chunk({}, "eos"))
    choice = last["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "eos")


def test_a_reason_that_is_a_failure_is_not_passed_on() -> None:
    """What came with it is; the error follows."""
    (sent,) = passed_on(chunk({"content": "Half"}, "network_error"))
    assert sent["choices"][0]["finish_reason"] is None
    assert sent["choices"][0]["delta"]["content"] == "Half"
