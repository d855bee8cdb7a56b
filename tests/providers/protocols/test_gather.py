"""A stream gathered into the one JSON that it would have been."""

from typing import Any

from providers.domain.types import ReasoningDelta, TextDelta
from providers.protocols import openai_chat
from providers.protocols.gather import Gatherer


def gathered(*chunks: dict[str, Any]) -> dict[str, Any]:
    reader, gatherer = openai_chat.Reader(), Gatherer()
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


def test_events_of_another_format_are_gathered_too() -> None:
    """They carry no chunk."""
    gatherer = Gatherer()
    for event in (ReasoningDelta(text="Hm."), TextDelta(text="H"), TextDelta(text="i")):
        gatherer.take(event)
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}
    assert gatherer.answer()["choices"][0]["message"] == message
