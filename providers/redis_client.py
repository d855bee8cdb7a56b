"""Redis as requests may use it: with a short patience, and left alone for a while once it failed.

One client an event loop. Nothing that is asked here may be needed for being right: whoever asks
goes on without it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

LONG_PATIENCE = 1.0  # seconds, where nobody waits: a pause of Redis is no reason to give up
AWAY_FOR = 5.0  # seconds in which a Redis that failed is not asked again
MOST_CONNECTIONS = 32  # of one event loop; more callers wait for a free one, within their patience

Redis = redis.asyncio.Redis


class Away(Exception):
    """Redis did not answer in time, or failed to a moment ago."""


@dataclass(slots=True)
class _Line:
    client: Redis
    away_until: float = 0.0


_lines: dict[asyncio.AbstractEventLoop, tuple[_Line, AsyncGenerator[_Line]]] = {}


type Command[T] = Callable[[Redis], Awaitable[T]]


async def ask[T](command: Command[T]) -> T:
    """What the command returns, on a request's path. Away where Redis does not answer at once."""
    line = await _line()
    if time.monotonic() < line.away_until:
        raise Away
    try:
        return await _bounded(command, line.client, settings.REDIS_PATIENCE)
    except Away as away:
        line.away_until = time.monotonic() + AWAY_FOR
        log.warning("redis_away problem=%s", type(away.__cause__).__name__)
        raise


async def ask_patiently[T](command: Command[T]) -> T:
    """The same beside a request's path: waits longer, and asks however the last time went."""
    return await _bounded(command, (await _line()).client, LONG_PATIENCE)


async def _bounded[T](command: Command[T], client: Redis, patience: float) -> T:
    try:
        async with asyncio.timeout(patience):
            return await command(client)
    except (RedisError, OSError, TimeoutError) as exc:
        raise Away from exc


async def _line() -> _Line:
    """The running loop's client, closed as the loop ends: asyncio closes what generators are left
    open then, and with this one the connections."""
    loop = asyncio.get_running_loop()
    if loop not in _lines:
        for closed in [known for known in _lines if known.is_closed()]:
            del _lines[closed]
        life = _life()
        _lines[loop] = (await anext(life), life)
    return _lines[loop][0]


async def _life() -> AsyncGenerator[_Line]:
    # Nothing is repeated here by itself: a repeated command could be one too many.
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=MOST_CONNECTIONS,
        timeout=None,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield _Line(Redis.from_pool(pool))
    finally:
        _lines.pop(asyncio.get_running_loop(), None)
        await pool.disconnect()
