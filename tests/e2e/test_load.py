"""Many at once: open streams cost no database connection, and every answer is the right one."""

import asyncio
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from chat import turns
from chat.models import Message
from providers.infra import database
from providers.models import LanguageModel
from tests import fakes
from tests.e2e.people import connect
from tests.e2e.site import Site
from tests.polling import until, wait_until

pytestmark = pytest.mark.stack


def cookie(user: User) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {name: client.cookies[name].value}


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: the browser tests keep a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def replies(user: User, model: LanguageModel, questions: list[str]) -> list[int]:
    """Starts one conversation for each question; the ids of the answers to come."""
    return [turns.start(user, None, text, model).pk for text in questions]


def connections() -> int:
    """Connections to the test database, ours left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def test_forty_open_streams_hold_no_database_connection(
    site: Site, transactional_owner: User, fake: fakes.Upstream
) -> None:
    """Forty readers of slow answers, and the pools are as they were."""
    provider = connect(fake.url, fake.url, models=("slow-400-50",))
    ids = replies(transactional_owner, provider.language_models.get(), ["count"] * 40)
    allowed = min(connections() + 10, 3 * settings.ENV.database_pool)

    async def has_released_connections() -> bool:
        return await database.run(connections) <= allowed

    async def read() -> int:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            base_url=site.url, cookies=cookies, limits=limits, timeout=120
        ) as client:
            opened = [
                await client.send(
                    client.build_request("GET", f"/chat/turns/{pk}/events/"), stream=True
                )
                for pk in ids
            ]
            # Held: httpx closes a connection with its iterator.
            pieces = [response.aiter_bytes() for response in opened]
            assert all(await asyncio.gather(*(anext(each) for each in pieces)))
            await until(has_released_connections)
            for response in opened:
                await response.aclose()
            return len(opened)

    cookies = cookie(transactional_owner)
    assert run(read()) == 40
    for pk in ids:
        turns.stop(Message.objects.get(pk=pk))
    wait_until(lambda: not Message.objects.active().exists())


def test_two_hundred_chats_at_once_finish_with_the_right_text(
    site: Site, transactional_owner: User, fake: fakes.Upstream
) -> None:
    """One runner, one web process, two hundred readers following; each gets its own words."""
    provider = connect(fake.url, fake.url, models=("slow-40-50",))
    ids = replies(transactional_owner, provider.language_models.get(), ["go"] * 200)
    cookies = cookie(transactional_owner)

    async def follow(client: httpx.AsyncClient, pk: int) -> str:
        async with client.stream("GET", f"/chat/turns/{pk}/events/") as response:
            return (await response.aread()).decode()

    async def all_of_them() -> list[str]:
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(
            base_url=site.url, cookies=cookies, limits=limits, timeout=240
        ) as client:
            return await asyncio.gather(*(follow(client, pk) for pk in ids))

    streams = run(all_of_them())
    whole = fakes.slow_text(40)
    texts = list(Message.objects.filter(pk__in=ids).values_list("text", flat=True))
    assert texts == [whole] * 200
    for body in streams:
        assert "event: done" in body
        assert re.search(r"w39\b", body)
