"""A stream gathered into the one JSON that it would have been."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import ReasoningDelta, TextDelta
from providers.protocols import openai_chat, sse
from providers.protocols.framing import Framing
from providers.protocols.gather import Gatherer


def gathered(*chunks: dict[str, Any]) -> dict[str, Any]:
    reader, gatherer = openai_chat.ChunkReader(), Gatherer()
    for chunk in chunks:
        for event in reader.events(chunk):
            gatherer.take(event)
    return gatherer.answer()


def chunk(delta: dict[str, Any], reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return head | {"choices": [choice]} | fields


def test_nothing_of_a_stream_is_lost() -> None:
    """Texts are joined, lists extended, unknown fields kept, the usage that counts wins."""
    answer = gathered(
        chunk({"role": "assistant", "content": "H", "reasoning_content": "Hm"}, x={"y": 1}),
        chunk({"content": "i", "reasoning_content": ".", "annotations": [{"url": "a"}]}),
        chunk(
            {"annotations": [{"url": "b"}], "audio": {"id": "s", "data": "AA", "transcript": "H"}}
        ),
        chunk({"audio": {"data": "BB", "transcript": "i"}}, "stop", system_fingerprint="fp"),
        chunk({}) | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        chunk({}) | {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
    )
    message = {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "Hm.",
        "annotations": [{"url": "a"}, {"url": "b"}],
        "audio": {"id": "s", "data": "AABB", "transcript": "Hi"},
    }
    assert answer == {
        "id": "up-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "x": {"y": 1},
        "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def test_every_choice_is_gathered() -> None:
    """With its logprobs and its own reason."""

    def of(index: int, text: str, reason: str | None = None) -> dict[str, Any]:
        logprobs = {"content": [{"token": text}]}
        choice = {"index": index, "delta": {"content": text}, "logprobs": logprobs}
        return {"choices": [choice | {"finish_reason": reason}]}

    answer = gathered(of(1, "b"), of(0, "a"), of(1, "B", "length"), of(0, "A", "stop"))
    found = [(c["message"]["content"], c["finish_reason"]) for c in answer["choices"]]
    assert found == [("aA", "stop"), ("bB", "length")]
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "A"}]}


def test_the_chunks_themselves_are_not_changed() -> None:
    """They may still go elsewhere."""
    first = chunk({"annotations": [{"url": "a"}], "audio": {"data": "A"}})
    gathered(first, chunk({"annotations": [{"url": "b"}], "audio": {"data": "B"}}))
    assert first["choices"][0]["delta"] == {"annotations": [{"url": "a"}], "audio": {"data": "A"}}


_PIECES = st.one_of(
    st.builds(lambda text: chunk({"content": text}), st.text(max_size=5)),
    st.builds(lambda text: chunk({"role": "assistant", "content": text}), st.text(max_size=5)),
    st.sampled_from(
        [
            chunk({"reasoning_content": "Hm."}),
            chunk({"content": "x", "annotations": [{"url": "a"}]}, logprobs=None),
            chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
            chunk({"content": None}, system_fingerprint="fp", created=6),
            chunk({}, "stop"),
            chunk({}) | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
            {"choices": [{"index": 1, "delta": {"content": "other"}}]},
            {"choices": 5},
        ]
    ),
)


@given(st.lists(_PIECES, max_size=12), st.lists(st.integers(0, 3000), max_size=12))
def test_any_cut_of_a_stream_gathers_the_same_answer(
    chunks: list[dict[str, Any]], cuts: list[int]
) -> None:
    """However the bytes arrive, each chunk's texts are joined and the last of all else holds."""
    raw = b"".join(sse.encode(json.dumps(each)) for each in chunks)
    framing, at, texts = Framing(), 0, []
    for cut in [*sorted(cuts), len(raw)]:
        texts += framing.feed(raw[at : max(at, cut)])
        at = max(at, cut)
    assert [json.loads(text) for text in texts] == chunks
    answer = gathered(*map(json.loads, texts))
    first = [each["choices"][0]["delta"] for each in chunks if _index(each) == 0]
    text = "".join(delta.get("content") or "" for delta in first)
    if first:
        message = answer["choices"][0]["message"]
        assert message["content"] == (text or (None if message.get("tool_calls") else ""))
    for name in ("created", "system_fingerprint"):
        given = [each[name] for each in chunks if name in each]
        assert answer.get(name) == (given[-1] if given else None)


def _index(each: dict[str, Any]) -> int | None:
    return each["choices"][0]["index"] if each["choices"] not in ([], 5) else None


def test_events_of_another_format_are_gathered_too() -> None:
    """They carry no chunk."""
    gatherer = Gatherer()
    for event in (ReasoningDelta(text="Hm."), TextDelta(text="H"), TextDelta(text="i")):
        gatherer.take(event)
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}
    assert gatherer.answer()["choices"][0]["message"] == message
