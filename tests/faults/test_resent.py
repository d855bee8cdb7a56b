"""A request that was sent twice is two attempts, on both routes: it died with a kept connection, or
the upstream does not stream."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.domain.types import STALE_CONNECTION, STREAM_REFUSED, RouteTaken
from providers.models import Attempt, Provider
from providers.router import route_table, router
from providers.router.call import Call
from tests import fakes
from tests.faults.asking import QUESTION, RouteSetup, make_call
from tests.upstreams.fixtures import GatewayProcess

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)

_CHOICE = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
_EVENT = f"data: {json.dumps({'id': 'x', 'choices': [_CHOICE]})}\n\ndata: [DONE]\n\n"
_REFUSAL = json.dumps({"error": {"message": "Streaming is not supported.", "param": "stream"}})
_FULL_ANSWER = json.dumps(
    {
        "id": "x",
        "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)
_ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(_EVENT)}\r\n\r\n"
    f"{_EVENT}"
)


@asynccontextmanager
async def one_answer_a_connection() -> AsyncGenerator[str]:
    """A server that announces to keep its connections, and closes each at its second request."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(_ANSWER.encode())
            await reader.readuntil(b"\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


@asynccontextmanager
async def full_answers_only() -> AsyncGenerator[str]:
    """A server that refuses to stream."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            received = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", received.lower())
            request = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            status, body = "400 No", _REFUSAL
            if not request.get("stream"):
                status, body = "200 OK", _FULL_ANSWER
            fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(
                f"HTTP/1.1 {status}\r\n{fields}\r\nConnection: close\r\n\r\n{body}".encode()
            )
        writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


@pytest.fixture(params=["direct", "process"])
def route(
    request: pytest.FixtureRequest, warm_process: GatewayProcess, settings: Settings
) -> RouteSetup:
    settings.GATEWAY_URL, settings.GATEWAY_TOKEN = warm_process.url, warm_process.token
    method = "direct" if request.param == "direct" else "gateway"
    fields = {"api_key": fakes.KEY, "routing_method": method, "fallback_enabled": False}
    return RouteSetup(fields=fields, method=method)


async def stream_twice(
    provider: Provider, *, non_streaming: bool
) -> tuple[list[Call], list[RouteTaken]]:
    """Send two requests one after the other, wait for their rows, and close what was opened."""
    taken: list[RouteTaken] = []
    calls = [make_call(provider, "m"), make_call(provider, "m")]
    try:
        for call in calls:
            async for event in router.stream(call, replace(QUESTION, non_streaming=non_streaming)):
                taken += [event] if isinstance(event, RouteTaken) else []
        await route_table.current().flush()
    finally:
        await route_table.close()
        await http.close()
    return calls, taken


async def attempts_of(call: Call) -> list[Attempt]:
    rows = Attempt.objects.filter(request_id=call.request_id).order_by("position")
    return [row async for row in rows]


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "in-one-piece"])
async def test_a_request_that_was_sent_again_is_two_attempts(
    make_provider: MakeProvider, route: RouteSetup, whole: bool
) -> None:
    """In the trace, and in what the caller gets; it says nothing against the route."""
    async with one_answer_a_connection() as url:
        provider = await sync_to_async(make_provider)(model_id="m", base_url=url, **route.fields)
        calls, taken = await stream_twice(provider, non_streaming=whole)
    assert [each.attempts for each in taken] == [1, 2]
    assert not taken[1].fallback
    first, second = await attempts_of(calls[1])
    assert (first.outcome, first.error_code) == ("network", STALE_CONNECTION)
    assert (second.outcome, second.position, second.error_code) == ("ok", 2, "")
    row = await provider.routes.aget(method=route.method)
    assert row.consecutive_failures == 0


async def test_a_request_that_was_sent_again_without_streaming_is_two_attempts(
    make_provider: MakeProvider, route: RouteSetup
) -> None:
    """The upstream's refusal is the first attempt's error; later requests do without it."""
    async with full_answers_only() as url:
        provider = await sync_to_async(make_provider)(model_id="m", base_url=url, **route.fields)
        calls, taken = await stream_twice(provider, non_streaming=True)
    assert [each.attempts for each in taken] == [2, 1]
    assert not taken[0].fallback
    first, second = await attempts_of(calls[0])
    assert (first.outcome, first.error_code, first.status) == ("request", STREAM_REFUSED, 400)
    assert "Streaming is not supported" in first.error_message
    assert (second.outcome, second.position, second.error_code) == ("ok", 2, "")
    row = await provider.routes.aget(method=route.method)
    assert row.consecutive_failures == 0
