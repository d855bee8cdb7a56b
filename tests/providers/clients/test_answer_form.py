"""Answers are requested as streams wherever the upstream can send one, for every caller."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest

from providers.clients import answer_form, http
from providers.clients.answer_form import can_gather, read_answer, refuses_streaming
from providers.clients.answer_reader import AnswerReader
from providers.clients.deadlines import Deadlines
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import (
    STREAM_REFUSED,
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Kind,
    Method,
    Resent,
    Target,
    TextDelta,
    Timeouts,
)
from providers.protocols import openai_chat
from tests import fakes

ONE_JSON = ChatRequest(
    messages=(ChatMessage(role="user", content="hello world"),), non_streaming=True
)
TIMES = Timeouts(connect=2, first_token=5, silence=5, total=10)
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
EMPTY = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}
FULL = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
REFUSAL = {"error": {"message": "Streaming is not supported.", "param": "stream", "code": None}}

type Answer = Callable[[dict[str, Any]], Iterator[bytes]]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    answer_form._without_streams.clear()
    yield
    answer_form._without_streams.clear()


def target(url: str, **fields: Any) -> Target:
    made = Target(
        method=Method.DIRECT,
        kind=Kind.OPENAI,
        base_url=url,
        api_key=fakes.KEY,
        model="echo",
        timeouts=TIMES,
    )
    return replace(made, **fields)


def text(events: list[ClientEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def collect(to: Target, request: ChatRequest, said: list[ClientEvent]) -> None:
    """Adds what is answered, as far as it is."""
    try:
        async with aclosing(read_answer(to, request)) as reads:
            async for events in reads:
                said += events
    finally:
        await http.close()


async def answer(to: Target, request: ChatRequest = ONE_JSON) -> list[ClientEvent]:
    said: list[ClientEvent] = []
    await collect(to, request, said)
    return said


def sent(status: str, content_type: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def serving(answers: Answer, bodies: list[dict[str, Any]]) -> AsyncGenerator[str]:
    """A server that answers each body in pieces; yields its base URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            bodies.append(json.loads(await reader.readexactly(length)))
            for piece in answers(bodies[-1]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_one_json_is_requested_as_a_stream(fake: fakes.Upstream) -> None:
    """With its usage; and what no stream would carry, in one piece."""
    assert text(await answer(target(fake.url))) == "hello world"
    assert fake.requests[-1].body["stream_options"] == {"include_usage": True}
    spoken = replace(ONE_JSON, options={"modalities": ["text", "audio"]})
    assert text(await answer(target(fake.url), spoken)) == "hello world"
    assert fake.requests[-1].body["stream"] is False


@pytest.mark.parametrize("whole", [True, False])
async def test_a_model_that_does_not_stream_is_not_made_to(
    fake: fakes.Upstream, whole: bool
) -> None:
    """Whatever form the caller wants."""
    request = replace(ONE_JSON, non_streaming=whole)
    assert text(await answer(target(fake.url, streams=False), request)) == "hello world"
    assert [each.body["stream"] for each in fake.requests] == [False]


async def test_a_refusal_to_stream_is_remembered() -> None:
    """A second attempt is made in one piece, and announced; the next request starts that way."""

    def answers(body: dict[str, Any]) -> Iterator[bytes]:
        status, said = ("400 No", REFUSAL) if body["stream"] else ("200 OK", FULL)
        yield sent(status, "application/json", json.dumps(said))

    bodies: list[dict[str, Any]] = []
    async with serving(answers, bodies) as url:
        for expected in ([STREAM_REFUSED], []):
            events = await answer(target(url))
            assert text(events) == "Hi"
            assert [each.error.code for each in events if isinstance(each, Resent)] == expected
        assert [body["stream"] for body in bodies] == [True, False, False]
        await answer(target(url, model="other"))
        assert [body["stream"] for body in bodies[3:]] == [True, False]


async def test_one_json_in_place_of_a_stream_is_remembered() -> None:
    """The next answer may take as long as one in one piece."""
    bodies: list[dict[str, Any]] = []
    full = sent("200 OK", "application/json", json.dumps(FULL))
    async with serving(lambda body: iter([full]), bodies) as url:
        for _ in range(2):
            assert text(await answer(target(url))) == "Hi"
    assert [body["stream"] for body in bodies] == [True, False]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"n": 2, "logprobs": True, "tools": [{}], "response_format": {"type": "text"}}, True),
        ({"modalities": ["text"]}, True),
        ({"modalities": None, "audio": None}, True),
        ({"modalities": ["text", "audio"]}, False),
        ({"audio": {"voice": "alloy", "format": "wav"}}, False),
        ({"prompt_logprobs": 1}, False),
        ({"best_of": 3}, False),
    ],
)
def test_what_no_stream_carries_is_not_gathered(options: dict[str, Any], expected: bool) -> None:
    """Choices, logprobs and tool calls are; audio would come in another encoding."""
    assert can_gather(options) is expected


@pytest.mark.parametrize(
    ("status", "message", "param", "expected"),
    [
        (400, "Unsupported value: 'stream' does not support true.", "stream", True),
        (422, "stream_options: extra fields not permitted", "", True),
        (501, "Streaming is not implemented.", "", True),
        (400, "This model does not support streaming.", "", True),
        (400, "Unsupported parameter: stream", "", True),
        (400, "Upstream error: invalid image", "", False),
        (400, "The upstream cannot be reached", "", False),
        (400, "Content policy: 'write a poem on a stream of water'", "", False),
        (400, "max_tokens is too large.", "", False),
        (500, "The upstream broke.", "", False),
        (None, "stream", "", False),
    ],
)
def test_a_refusal_names_the_stream(
    status: int | None, message: str, param: str, expected: bool
) -> None:
    """Any other error is the request's own."""
    error = CallError(ErrorKind.REQUEST, message, status=status, param=param)
    assert refuses_streaming(error) is expected


@pytest.mark.parametrize("sign_of_life", [b": still here\n\n", f"data: {json.dumps(EMPTY)}\n\n"])
@pytest.mark.parametrize("whole", [True, False])
async def test_signs_of_life_are_silence(sign_of_life: bytes | str, whole: bool) -> None:
    """Comments and empty deltas may come for ever."""
    sign = sign_of_life.encode() if isinstance(sign_of_life, str) else sign_of_life
    word = f"data: {json.dumps(CHUNK)}\n\n".encode()

    def answers(body: dict[str, Any]) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        yield from [word, sign] * 20
        yield from repeat(sign)

    said: list[ClientEvent] = []
    async with serving(answers, []) as url:
        silent = target(url, timeouts=replace(TIMES, silence=0.4, total=60))
        with pytest.raises(CallError) as caught:
            await collect(silent, replace(ONE_JSON, non_streaming=whole), said)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.TIMEOUT, "silence_timeout")
    assert text(said) == "Hi" * 20


def test_only_content_ends_a_silence() -> None:
    """Not a comment, nor an empty delta."""
    deadlines = Deadlines(TIMES)
    answer = AnswerReader(openai_chat.ChunkReader().events, deadlines, target("http://x"))
    for sent, heard in ((b": here\n\n", False), (EMPTY, False), (CHUNK, True)):
        answer.feed(sent if isinstance(sent, bytes) else f"data: {json.dumps(sent)}\n\n".encode())
        assert deadlines.heard is heard
