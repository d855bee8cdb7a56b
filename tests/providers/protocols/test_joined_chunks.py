"""Chunks of text that arrive together are joined, and nothing of the answer changes."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.chat_completions.openai_response import AnswerSerializer, ChunkSerializer
from providers.clients import answer_reader
from providers.clients.answer_reader import AnswerReader
from providers.clients.deadlines import Deadlines
from providers.domain.types import (
    ClientEvent,
    Completed,
    Kind,
    Method,
    Passed,
    ReasoningDelta,
    RouteTaken,
    Target,
    TextDelta,
    Timeouts,
    Usage,
)
from providers.protocols import openai_chat, sse
from providers.protocols.gather import Gatherer
from providers.protocols.joined_chunks import MAX_LEARNED, ChunkJoiner

HEAD = {"id": "up-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def chunk(delta: Any, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields}


def words(*texts: str) -> list[str]:
    return [json.dumps(chunk({"content": text})) for text in texts]


class NoJoiner(ChunkJoiner):
    """Each event is read alone."""

    def join(self, texts: list[str]) -> list[tuple[str, str]]:
        return [(text, text) for text in texts]


def test_a_row_of_texts_is_one_chunk() -> None:
    """Its text is theirs; its data is the data of all of them, to be passed on."""
    texts = words("Say ", "“Hi”\n", "\\ and \U0001f600", " é")
    [(text, data)] = ChunkJoiner().join(texts)
    assert json.loads(text) == chunk({"content": "Say “Hi”\n\\ and \U0001f600 é"})
    assert data == "\n\ndata: ".join(texts)


@pytest.mark.parametrize(
    "other",
    [
        chunk({"content": ""}),
        chunk({"content": None}),
        chunk({"content": ["x"]}),
        chunk({"role": "assistant", "content": "x"}),
        chunk({"content": "x", "content2": "y"}),
        chunk({"content": "x"}, "stop"),
        chunk({"content": "x"}, usage={"prompt_tokens": 3}),
        chunk({"content": "x"}, error={"message": "No."}),
        chunk({"content": "x"}, id="up-2"),
        chunk({"reasoning_content": "x"}),
        chunk({}) | {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]},
    ],
)
def test_what_is_not_the_same_is_read_alone(other: dict[str, Any]) -> None:
    """Whatever differs beside the letters ends the row; the next one begins after it."""
    texts = [*words("a", "b"), json.dumps(other), *words("c", "d")]
    expected = ChunkJoiner().join(words("a", "b"))
    expected += [(texts[2], texts[2]), *ChunkJoiner().join(words("c", "d"))]
    assert ChunkJoiner().join(texts) == expected


@pytest.mark.parametrize(
    "letters",
    ["a\\", "\\ud83d", "\\ude00", "\\x41", "\\u12", "a\tb", 'a"b', "</think>", "\\u003c/think>"],
)
def test_what_is_no_string_of_its_own_joins_nothing(letters: str) -> None:
    """Two halves of a character, or half an escape: each is read as it came, or is no JSON."""
    before, after = words("@")[0].split("@")
    texts = [before + "ok" + after, before + letters + after, before + letters + after]
    assert ChunkJoiner().join(texts) == [(text, text) for text in texts]


def test_chunks_with_log_probabilities_are_read_alone() -> None:
    """They are lists, which a full answer holds one after the other."""
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}
    texts = [json.dumps({"choices": [choice]})] * 3
    assert ChunkJoiner().join(texts) == [(text, text) for text in texts]


def test_it_stops_looking_where_every_chunk_is_another() -> None:
    """Some vendors fill each chunk with noise, so that its length gives nothing away."""
    joiner = ChunkJoiner()
    for number in range(MAX_LEARNED):
        texts = [json.dumps(chunk({"content": "a"}, noise=str(number * 9 + n))) for n in range(2)]
        assert [text for text, _ in joiner.join(texts)] == texts
    assert len(joiner.join(words("a", "b"))) == 2


TARGET = Target(
    method=Method.DIRECT,
    kind=Kind.OPENAI,
    base_url="https://api.example/v1",
    api_key="",
    model="m",
    timeouts=Timeouts(connect=1, first_token=1, silence=1, total=1),
)
TAKEN = RouteTaken(
    route_id=1,
    method=Method.DIRECT,
    provider_name="P",
    model="m",
    reason="preferred",
    fallback=False,
    ttft_ms=1,
)
COMPLETED = Completed(attempts=(), usage=Usage(), cost=None, finish_reason="stop")
type Read = list[ClientEvent]


def read(reads: Iterable[bytes], joiner: type[ChunkJoiner], *, splits: bool) -> tuple[Read, Any]:
    """The events of an answer, and how it ended."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(answer_reader, "ChunkJoiner", joiner)
        reader = openai_chat.ChunkReader(splits=splits)
        answer = AnswerReader(reader.events, Deadlines(TARGET.timeouts), TARGET)
    events: Read = []
    for data in reads:
        if not answer.done:
            events += answer.feed(data)
    events += answer.end()
    error = answer.error
    return events, (answer.done, error and (error.kind, error.code, error.message))


def without_rows(events: Read) -> list[Any]:
    """The events that hold some of the answer, neighbouring texts of one kind as one."""
    joined: list[Any] = []
    for event in events:
        if isinstance(event, Passed) and not event.is_content:
            continue
        if not isinstance(event, TextDelta | ReasoningDelta):
            joined.append(event)
        elif joined and isinstance(joined[-1], tuple) and joined[-1][0] is type(event):
            joined[-1] = (type(event), joined[-1][1] + event.text)
        else:
            joined.append((type(event), event.text))
    return joined


def full_answer(events: Read) -> Any:
    serializer = AnswerSerializer("a", 1)
    serializer.start(TAKEN)
    for event in events:
        serializer.serialize(event)
    return json.loads(serializer.finish(COMPLETED))


def stream(events: Read) -> list[str]:
    """The data of the events that a client gets."""
    serializer = ChunkSerializer("a", 1, usage=True)
    serializer.start(TAKEN)
    body = b"".join(serializer.serialize(event) for event in events)
    return sse.Parser().feed(body + serializer.finish(COMPLETED))


def streamed_answer(events: Read) -> Any:
    """What the chunks that a client gets amount to."""
    gatherer = Gatherer()
    *chunks, end = stream(events)
    for text in chunks:
        gatherer.take(Passed(raw=json.loads(text)))
    return gatherer.answer(), end


def test_a_client_gets_the_chunks_of_a_row_as_they_came() -> None:
    """In one piece, but none is changed; only the first chunk of all is encoded again."""
    begin, row = json.dumps(chunk({"role": "assistant", "content": ""})), words("a", "b", "c")
    body = "".join(f"data: {text}\n\n" for text in [begin, *row]).encode()
    events, _ = read([body], ChunkJoiner, splits=False)
    assert [type(event) for event in events] == [Passed, TextDelta]
    assert stream(events)[1:-2] == row


_TEXTS = st.text(max_size=4) | st.sampled_from(
    ["Hi", " there", "\n", '"', "\\", "\ud83d", "\U0001f600", "<think>", "</think>", "a </thi", "<"]
)
_ODD = st.sampled_from(
    [
        chunk({"role": "assistant", "content": ""}),
        chunk({"role": "assistant", "content": "x"}),
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "x", "annotations": [{"url": "a"}]}),
        chunk({"content": "x"}, logprobs=None, usage=None),
        chunk({"content": "x"}, created=6),
        chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
        chunk({"content": "end"}, "stop"),
        chunk({}, "stop"),
        chunk({}) | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        chunk({"content": "x"}, usage={"prompt_tokens": 3}),
        chunk({}) | {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        {"choices": [{"delta": {"content": "bare"}, "logprobs": {"content": [{"token": "b"}]}}]},
        {"choices": 5},
        {"error": {"message": "No.", "code": 500}},
        chunk({"content": "x"}, error={"message": "No."}),
    ]
)
_CHUNKS = st.lists(st.builds(lambda text: chunk({"content": text}), _TEXTS) | _ODD, max_size=14)
_ENDS = st.sampled_from(["", "[DONE]", json.dumps(chunk({}, "stop")) + "\n\ndata: [DONE]"])


@settings(deadline=None)
@given(
    _CHUNKS,
    _ENDS,
    st.lists(st.integers(0, 3000), max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_any_chunks_in_any_cut_are_the_same_answer(
    chunks: list[dict[str, Any]], end: str, cuts: list[int], ascii_only: bool, splits: bool
) -> None:
    """Joined or each alone: the texts, all other events, the full answer, and the stream's."""
    texts = [json.dumps(each, ensure_ascii=ascii_only) for each in chunks]
    raw = b"".join(
        f"data: {text}\n\n".encode("utf-8", "surrogatepass") for text in [*texts, end] if text
    )
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    reads = [raw[begin:until] for begin, until in pairwise(edges)]
    (short, ending), (long, long_ending) = (
        read(reads, joiner, splits=splits) for joiner in (ChunkJoiner, NoJoiner)
    )
    assert ending == long_ending
    assert without_rows(short) == without_rows(long)
    assert full_answer(short) == full_answer(long)
    assert streamed_answer(short) == streamed_answer(long)
