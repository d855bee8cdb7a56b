"""Notifications reach a runner at once; without Redis nothing fails."""

import asyncio

import redis
from pytest_django import Settings

from chat import notifications
from providers.infra.redis_client import blocking_client
from tests.polling import until


async def test_a_stop_request_reaches_a_listener(clean_redis: "redis.Redis") -> None:
    """Over the channel, at once."""
    requests = notifications.stop_requests()
    waiting = asyncio.ensure_future(anext(requests))
    channel = notifications.STOP_CHANNEL
    await until(lambda: dict(clean_redis.pubsub_numsub(channel))[channel])
    await asyncio.to_thread(notifications.request_stop, 42)
    assert await asyncio.wait_for(waiting, 30) == 42
    await requests.aclose()


async def test_a_wake_up_ends_the_wait(clean_redis: "redis.Redis") -> None:
    """And is used up by it."""
    notifications.wake_runner(42)
    async with blocking_client() as client:
        await asyncio.wait_for(notifications.wait_for_wake(client, 60), 30)
    assert not clean_redis.exists(notifications.WAKE_LIST)


def test_notifying_runners_without_redis_is_no_error(settings: Settings) -> None:
    """They look for themselves."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    notifications.wake_runner(1)
    notifications.request_stop(1)
