"""A log is bounded in time, and its writer learns when it is lost."""

import redis

from chat import event_log
from chat.events import Event, EventKind
from providers.infra.redis_client import blocking_client

END = Event(kind=EventKind.END, html="<p>finished</p>")


async def write(*events: Event, turn_id: int = 7) -> set[int]:
    async with blocking_client() as client:
        return await event_log.append(client, [(turn_id, event) for event in events])


async def test_a_log_that_is_gone_is_noticed_by_its_writer(clean_redis: "redis.Redis") -> None:
    """An append to a log that does not exist makes none: it says whose is missing."""
    assert await write(Event(kind=EventKind.RESET)) == set()
    clean_redis.flushdb()
    assert await write(Event(kind=EventKind.TAIL, text="x")) == {7}
    assert not clean_redis.exists("turn:7")


async def test_logs_expire(clean_redis: "redis.Redis") -> None:
    """An hour after the end at the latest nothing is left in Redis."""
    await write(Event(kind=EventKind.RESET))
    assert clean_redis.ttl("turn:7") > event_log.ENDED_LOG_SECONDS
    await write(END)
    assert 0 < clean_redis.ttl("turn:7") <= event_log.ENDED_LOG_SECONDS
