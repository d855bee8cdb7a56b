"""A request that died with a kept connection and was sent again is two attempts, on both routes."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.domain.types import STALE_CONNECTION, RouteTaken
from providers.models import Attempt, Provider
from providers.router import route_table, router
from tests import fakes
from tests.faults.asking import QUESTION, RouteSetup, make_call
from tests.upstreams.fixtures import GatewayProcess

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)

_CHOICE = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
_EVENT = f"data: {json.dumps({'id': 'x', 'choices': [_CHOICE]})}\n\ndata: [DONE]\n\n"
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


@pytest.fixture(params=["direct", "process"])
def route(
    request: pytest.FixtureRequest, warm_process: GatewayProcess, settings: Settings
) -> RouteSetup:
    settings.GATEWAY_URL, settings.GATEWAY_TOKEN = warm_process.url, warm_process.token
    method = "direct" if request.param == "direct" else "gateway"
    fields = {"api_key": fakes.KEY, "routing_method": method, "fallback_enabled": False}
    return RouteSetup(fields=fields, method=method)


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "in-one-piece"])
async def test_a_request_that_was_sent_again_is_two_attempts(
    make_provider: MakeProvider, route: RouteSetup, whole: bool
) -> None:
    """In the trace, and in what the caller gets; it says nothing against the route."""
    async with one_answer_a_connection() as url:
        provider = await sync_to_async(make_provider)(model_id="m", base_url=url, **route.fields)
        taken: list[RouteTaken] = []
        calls = [make_call(provider, "m"), make_call(provider, "m")]
        try:
            for call in calls:
                async for event in router.stream(call, replace(QUESTION, whole=whole)):
                    taken += [event] if isinstance(event, RouteTaken) else []
            await route_table.current().flush()
        finally:
            await route_table.close()
            await http.close()
    assert [each.attempts for each in taken] == [1, 2]
    assert not taken[1].fallback
    rows = Attempt.objects.filter(request_id=calls[1].request_id).order_by("position")
    first, second = [row async for row in rows]
    assert (first.outcome, first.error_code) == ("network", STALE_CONNECTION)
    assert (second.outcome, second.position, second.error_code) == ("ok", 2, "")
    row = await provider.routes.aget(method=route.method)
    assert row.consecutive_failures == 0
