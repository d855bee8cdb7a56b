"""Every door over both formats of providers: what goes up and comes back means the same.

The canonical request, the client and the serializer are the real ones; the fake provider answers in
its format. The doors' own tests run the whole server.
"""

import json
from itertools import product
from typing import Any

import pytest

from api.chat_completions.openai_response import AnswerSerializer, ChunkSerializer
from api.chat_completions.request_parser import parse_request
from api.completion import Serializer
from api.messages.anthropic_response import MessageSerializer, StreamSerializer
from api.responses.serializer import ResponseSerializer
from providers.clients import direct
from providers.domain.types import (
    ChatRequest,
    Completed,
    Kind,
    Method,
    RouteTaken,
    Target,
    Timeouts,
    Usage,
)
from providers.protocols import anthropic_requests, responses_requests
from tests import fakes
from tests.upstreams.plans import REASONING, TOOL

HELLO = "Hello there, café"
PIXEL = "iVBORw0KGgo="
URL = f"data:image/png;base64,{PIXEL}"
TIMES = Timeouts(connect=5, first_token=20, silence=20, total=20)
TAKEN = RouteTaken(
    route_id=1,
    method=Method.DIRECT,
    provider_name="Acme",
    model="m",
    reason="",
    fallback=False,
    ttft_ms=1,
)
ENDED = Completed(
    attempts=(), usage=Usage(input_tokens=7, output_tokens=3), cost=None, finish_reason="stop"
)
CASES = ("text", "tools", "images", "reasoning")


def chat(case: str, stream: bool) -> tuple[ChatRequest, Serializer]:
    content: Any = HELLO
    if case == "images":
        picture = {"type": "image_url", "image_url": {"url": URL}}
        content = [{"type": "text", "text": HELLO}, picture]
    tool = {"type": "function", "function": {"name": TOOL[1], "parameters": {"type": "object"}}}
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": content}]}
    parsed = parse_request(json.dumps(body | {"tools": [tool]}).encode())
    made = ChunkSerializer("a", 1, usage=True) if stream else AnswerSerializer("a", 1)
    return parsed.request, made


def messages(case: str, stream: bool) -> tuple[ChatRequest, Serializer]:
    content: Any = HELLO
    if case == "images":
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        content = [{"type": "text", "text": HELLO}, {"type": "image", "source": source}]
    body: dict[str, Any] = {"model": "m", "stream": stream, "max_tokens": 50}
    body |= {"messages": [{"role": "user", "content": content}], "thinking": {"type": "adaptive"}}
    body |= {"tools": [{"name": TOOL[1], "input_schema": {"type": "object"}}]}
    parsed = anthropic_requests.read_request(body)
    return parsed.request, (StreamSerializer if stream else MessageSerializer)("a", parsed)


def responses(case: str, stream: bool) -> tuple[ChatRequest, Serializer]:
    content: Any = HELLO
    if case == "images":
        picture = {"type": "input_image", "image_url": URL}
        content = [{"type": "input_text", "text": HELLO}, picture]
    body: dict[str, Any] = {"model": "m", "stream": stream, "reasoning": {"summary": "auto"}}
    body |= {"input": [{"role": "user", "content": content}]}
    body |= {"tools": [{"type": "function", "name": TOOL[1], "parameters": {"type": "object"}}]}
    parsed = responses_requests.read_request(body)
    return parsed.request, ResponseSerializer("a", 1, body, parsed)


DOORS = {"chat": chat, "messages": messages, "responses": responses}


@pytest.mark.parametrize(
    ("door", "kind", "stream", "case"), list(product(DOORS, Kind, (False, True), CASES))
)
async def test_a_pair_of_formats(
    fake: fakes.Upstream, door: str, kind: Kind, stream: bool, case: str
) -> None:
    model = {"tools": "tools", "reasoning": "reasoning"}.get(case, "echo")
    request, serializer = DOORS[door](case, stream)
    target = Target(
        method=Method.DIRECT,
        kind=kind,
        base_url=fake.url,
        api_key=fakes.KEY,
        model=model,
        timeouts=TIMES,
    )
    serializer.start(TAKEN)
    sent = b""
    async for events in direct.stream(target, request):
        sent += b"".join(map(serializer.serialize, events))
    if isinstance(serializer, ResponseSerializer):
        serializer.complete(ENDED, 2)
    sent += serializer.finish(ENDED)
    body = fake.requests[-1].body
    _check_request(body, case)
    _check_answer(_texts(sent.decode(), stream=stream), kind, stream, case)


def _check_request(body: dict[str, Any], case: str) -> None:
    text = json.dumps(body, ensure_ascii=False)
    assert HELLO in text
    assert TOOL[1] in json.dumps(body["tools"])
    assert (PIXEL in text) == (case == "images")


def _texts(sent: str, *, stream: bool) -> str:
    """All pieces of text, thoughts and arguments in the answer, one after the other."""
    lines = [line[6:] for line in sent.splitlines() if line.startswith("data: {")]
    return "".join(map(_pieces, map(json.loads, lines if stream else [sent])))


_NAMES = ("reasoning_content", "content", "text", "thinking", "delta", "partial_json", "arguments")


def _pieces(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(_pieces, value))
    if not isinstance(value, dict):
        return ""
    if value.get("type") == "tool_use":
        return json.dumps(value["input"], ensure_ascii=False) if value["input"] else ""
    own = [value[name] for name in _NAMES if isinstance(value.get(name), str)]
    inner = [_pieces(each) for each in value.values() if not isinstance(each, str)]
    return "".join([*own, *inner])


def _check_answer(text: str, kind: Kind, stream: bool, case: str) -> None:
    if case == "tools":
        assert TOOL[2] in text
        return
    assert HELLO in text
    if case == "reasoning":
        assert REASONING in text
        assert text.index(REASONING) < text.rindex(HELLO)
