"""The three policies of Redis clients, and what counts against the time limit of a command."""

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from providers.infra import redis_client
from providers.infra.redis_client import (
    Redis,
    RedisUnavailable,
    SyncRedis,
    blocking_client,
    fast_client,
    patient_client,
)
from tests import fakes

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
    with pytest.raises(RedisUnavailable):
        await redis_client.execute_fast(lambda client: blocked(client, key, 0.5))
    with pytest.raises(RedisUnavailable):
        await redis_client.execute_fast(lambda client: client.exists(key))
    await redis_client.execute_patiently(lambda client: client.exists(key))
    assert await redis_client.execute_fast(lambda client: client.exists(key)) == 0


async def test_the_wait_for_a_connection_of_ours_does_not_count(
    settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thrice as many callers as connections: the last one waits for longer than its limit."""
    monkeypatch.setattr(redis_client, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 10.0)
    calls = [
        redis_client.execute_fast(lambda client: blocked(client, key, 0.15), seconds=LIMIT)
        for _ in range(12)
    ]
    assert await asyncio.gather(*calls) == [None] * 12


async def test_the_time_in_which_this_process_was_busy_does_not_count(key: str) -> None:
    """Redis answered long ago; nobody here came to read it."""
    await redis_client.execute_fast(lambda client: client.exists(key), seconds=10)

    async def command(client: Redis) -> object:
        asyncio.get_running_loop().call_later(0.02, time.sleep, 2 * LIMIT)
        return await blocked(client, key, 0.1)

    assert await redis_client.execute_fast(command, seconds=LIMIT) is None


async def test_a_server_that_never_accepts_a_command_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection has a limit of its own."""
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 0.05)
    settings.REDIS_URL = "redis://10.255.255.1:6379"
    with pytest.raises(RedisUnavailable):
        await redis_client.execute_fast(lambda client: client.ping(), seconds=60)


@pytest.mark.parametrize("connect", [fast_client, patient_client])
def test_synchronous_clients_fail_at_once_and_do_not_retry(
    connect: Callable[[], SyncRedis], settings: Settings
) -> None:
    """The library's own default is three retries with seconds between them."""
    settings.REDIS_URL = f"redis://127.0.0.1:{fakes.refusing_port()}"
    client = connect()
    assert client is connect()
    retry = client.get_retry()
    assert retry
    assert retry.get_retries() == 0
    with pytest.raises(redis.exceptions.ConnectionError):
        client.ping()


async def test_a_subscription_outlives_the_limit_of_a_reply(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocking client limits its commands, and no subscription."""
    monkeypatch.setattr(redis_client, "BLOCKING_SECONDS", 0.05)
    async with blocking_client() as client, client.pubsub() as channel:
        await channel.subscribe(key)
        messages = channel.listen()
        await anext(messages)
        asyncio.get_running_loop().call_later(0.2, lambda: patient_client().publish(key, "late"))
        assert (await anext(messages))["data"] == "late"
        with pytest.raises(redis.exceptions.TimeoutError):
            await client.blpop([key], timeout=1)


def test_every_client_of_redis_is_made_in_one_module() -> None:
    """So that each has one of the three policies."""
    root = Path(redis_client.__file__).parents[2]
    packages = ("api", "chat", "health", "opencode_web", "providers")
    makers = {
        path.name
        for package in packages
        for path in (root / package).rglob("*.py")
        if "Redis.from_" in path.read_text() or "redis.asyncio" in path.read_text()
    }
    assert makers == {"redis_client.py", "redis_limit.py"}
