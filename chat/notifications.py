"""Notifications between web processes and runners, over Redis: a turn is new, a turn is to stop.

A notification only saves time. A runner looks for new turns and stop requests in the rows each
second, so a notification that Redis loses is no error.

    turns:wake    list     ids of new turns
    turns:stop    channel  ids of turns to stop
"""

import logging
from collections.abc import AsyncGenerator

from redis.exceptions import RedisError

from chat import event_log
from providers.infra.redis_client import Redis, blocking_client, patient_client

log = logging.getLogger(__name__)

WAKE_LIST, STOP_CHANNEL = "turns:wake", "turns:stop"
MAX_WAKE_UPS = 1000  # ids kept in the list; runners find the others in the rows


def wake_runner(turn_id: int) -> None:
    """Announces a new turn."""
    try:
        with patient_client().pipeline(transaction=False) as pipe:
            pipe.lpush(WAKE_LIST, turn_id)
            pipe.ltrim(WAKE_LIST, 0, MAX_WAKE_UPS - 1)
            pipe.execute()
    except RedisError as exc:
        log.warning("wake_up_not_sent turn=%s problem=%s", turn_id, type(exc).__name__)


def drop_log(turn_id: int) -> None:
    """Removes a turn's event log."""
    try:
        patient_client().delete(event_log.key(turn_id))
    except RedisError as exc:
        log.warning("log_not_dropped turn=%s problem=%s", turn_id, type(exc).__name__)


async def wait_for_wake(client: Redis, timeout: float) -> None:
    """Returns when a new turn is announced, or after `timeout` seconds."""
    await client.brpop([WAKE_LIST], timeout=timeout)


def request_stop(turn_id: int) -> None:
    """Asks the turn's runner to stop it; the row's flag does the same within a second."""
    try:
        patient_client().publish(STOP_CHANNEL, turn_id)
    except RedisError as exc:
        log.warning("stop_not_sent turn=%s problem=%s", turn_id, type(exc).__name__)


async def stop_requests() -> AsyncGenerator[int]:
    """The ids of turns to stop, as they are requested."""
    async with (
        blocking_client() as client,
        client.pubsub(ignore_subscribe_messages=True) as channel,
    ):
        await channel.subscribe(STOP_CHANNEL)
        async for message in channel.listen():
            yield int(message["data"])
