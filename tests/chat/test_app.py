"""The event streams' door: who may pass, and what is held while a stream is open."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from starlette.routing import Router

from chat import app, event_log, event_tail
from chat.events import Event, EventKind
from chat.models import Message, Status
from providers.infra import database
from providers.infra.redis_client import blocking_client
from tests.polling import until

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Message]


class Visit:
    """One request to the lean application, as an ASGI server would make it."""

    def __init__(self, turn_id: int, client: Client | None = None, last_id: str = "") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._leaves = asyncio.Event()
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value if client else ""
        given = {"cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}", "last-event-id": last_id}
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": f"/chat/turns/{turn_id}/events/",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in given.items() if v],
        }

    async def __call__(self) -> "Visit":
        async with asyncio.timeout(60):
            await Router(app.routes)(self.scope, self._receive, self._send)
        return self

    def leave(self) -> None:
        self._leaves.set()

    async def _receive(self) -> dict[str, Any]:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        self.body += message.get("body", b"")


async def test_the_owner_gets_the_events(make_turn: Make, owner_client: Client) -> None:
    """To the end, with headers that keep proxies from holding them back."""
    turn = await database.run(make_turn)
    async with blocking_client() as client:
        reset = Event(kind=EventKind.RESET, tail="Hi")
        await event_log.append(
            client, [(turn.pk, reset), (turn.pk, Event(kind=EventKind.END, html="e"))]
        )
    visit = await Visit(turn.pk, owner_client)()
    assert visit.status == 200
    assert visit.headers["content-type"].startswith("text/event-stream")
    assert visit.headers["cache-control"] == "no-store, no-transform"
    assert visit.headers["x-accel-buffering"] == "no"
    assert visit.body.endswith(b"event: done\ndata:\n\n")


async def test_a_finished_turn_without_a_log_ends_at_once(
    make_turn: Make, owner_client: Client
) -> None:
    """With the finished message."""
    turn = await database.run(lambda: make_turn(status=Status.DONE, html="<p>All of it.</p>"))
    visit = await Visit(turn.pk, owner_client)()
    assert b"All of it." in visit.body
    assert f'hx-target="#message-{turn.pk}"'.encode() in visit.body


async def test_nobody_gets_401(make_turn: Make) -> None:
    """No cookie, or one that means nothing."""
    turn = await database.run(make_turn)
    assert (await Visit(turn.pk)()).status == 401


async def test_a_stranger_gets_404(make_turn: Make, stranger_client: Client) -> None:
    """As for a turn that does not exist."""
    turn = await database.run(make_turn)
    assert (await Visit(turn.pk, stranger_client)()).status == 404
    assert (await Visit(0, stranger_client)()).status == 404


async def test_forty_open_streams_hold_no_connection(make_turn: Make, owner_client: Client) -> None:
    """However many read, Postgres does not notice."""
    turn = await database.run(make_turn)
    async with blocking_client() as client:
        await event_log.append(client, [(turn.pk, Event(kind=EventKind.RESET))])
        visits = [Visit(turn.pk, owner_client) for _ in range(40)]
        tasks = [asyncio.create_task(visit()) for visit in visits]
        await until(lambda: all(visit.status == 200 for visit in visits))
        assert await database.run(open_connections) <= 1
        await event_log.append(client, [(turn.pk, Event(kind=EventKind.END, html="e"))])
        await asyncio.gather(*tasks)
    assert all(visit.body.endswith(b"event: done\ndata:\n\n") for visit in visits)


def open_connections() -> int:
    """Of this database in use or in transaction, but for the one that asks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


async def test_a_reader_that_leaves_ends_its_stream(make_turn: Make, owner_client: Client) -> None:
    """At once, and nothing is read for it any more."""
    turn = await database.run(make_turn)
    visit = Visit(turn.pk, owner_client)
    reading = asyncio.create_task(visit())
    await until(lambda: event_tail._hubs.current()._readers)
    visit.leave()
    await reading
    assert not event_tail._hubs.current()._readers
