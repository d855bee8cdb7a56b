"""What counts against the time limit of a Redis command: Redis's own time, and nothing of ours."""

import asyncio
import time
import uuid

import pytest
from pytest_django import Settings

from providers.infra import redis_client
from providers.infra.redis_client import Away, Redis

LIMIT = 0.25


@pytest.fixture
def key() -> str:
    return f"test:{uuid.uuid4()}"


async def blocked(client: Redis, key: str, seconds: float) -> object:
    """A command that Redis answers after so many seconds."""
    return await client.blpop([key], timeout=seconds)


async def test_a_redis_that_takes_longer_than_the_limit_is_away(
    settings: Settings, key: str
) -> None:
    """And is not tried again at once; what waits in the background finds it back."""
    settings.REDIS_PATIENCE = 0.05
    with pytest.raises(Away):
        await redis_client.ask(lambda client: blocked(client, key, 0.5))
    with pytest.raises(Away):
        await redis_client.ask(lambda client: client.exists(key))
    await redis_client.ask_patiently(lambda client: client.exists(key))
    assert await redis_client.ask(lambda client: client.exists(key)) == 0


async def test_the_wait_for_a_connection_of_ours_does_not_count(
    settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thrice as many callers as connections: the last one waits for longer than its limit."""
    monkeypatch.setattr(redis_client, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 10.0)
    calls = [
        redis_client.ask(lambda client: blocked(client, key, 0.15), seconds=LIMIT)
        for _ in range(12)
    ]
    assert await asyncio.gather(*calls) == [None] * 12


async def test_the_time_in_which_this_process_was_busy_does_not_count(key: str) -> None:
    """Redis answered long ago; nobody here came to read it."""
    await redis_client.ask(lambda client: client.exists(key), seconds=10)

    async def command(client: Redis) -> object:
        asyncio.get_running_loop().call_later(0.02, time.sleep, 2 * LIMIT)
        return await blocked(client, key, 0.1)

    assert await redis_client.ask(command, seconds=LIMIT) is None


async def test_a_server_that_never_accepts_a_command_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection has a limit of its own."""
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 0.05)
    settings.REDIS_URL = "redis://10.255.255.1:6379"
    with pytest.raises(Away):
        await redis_client.ask(lambda client: client.ping(), seconds=60)
