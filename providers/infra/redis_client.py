"""Every Redis client of this program, and how long each waits: three policies, one place.

    policy    connect  reply           who uses it
    fast      0.5 s    REDIS_PATIENCE  what a request can do without: it goes on at once
    patient   0.5 s    1 s             background work, and what a person waits for
    blocking  2 s      5 s             commands that wait by design, and streams; a subscription
                                       waits without a limit

Nothing read by `fast` may be needed for correctness. No client repeats a command: a repeated append
or count would be one too many.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import cache

import redis.asyncio
import redis.asyncio.retry
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from providers.event_loop.per_loop import PerLoop
from providers.infra.redis_limit import LimitedPool, TimeLimit

log = logging.getLogger(__name__)

CONNECT_SECONDS = 0.5  # for a free connection, and to make one: a few round trips where TLS is used
PATIENT_SECONDS = 1.0  # a pause of Redis is no reason to give up where no request waits
BLOCKING_CONNECT_SECONDS = 2.0
BLOCKING_SECONDS = 5.0  # longer than any blocking command that is sent
AVOID_SECONDS = 5.0  # in which a Redis that failed is not tried again
MAX_CONNECTIONS = 32  # of one event loop; more callers wait for a free one

Redis = redis.asyncio.Redis
SyncRedis = redis.Redis

type Command[T] = Callable[[Redis], Awaitable[T]]


class RedisUnavailable(Exception):
    """Redis did not answer in time, or failed a moment ago."""


class Avoidance:
    """Whether to leave Redis alone: for AVOID_SECONDS after a failure."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def is_active(self) -> bool:
        return time.monotonic() < self._until

    def start(self) -> None:
        self._until = time.monotonic() + AVOID_SECONDS

    def end(self) -> None:
        self._until = 0.0


async def execute_fast[T](command: Command[T], seconds: float | None = None) -> T:
    """Return the result of a command on a request's path, and avoid a Redis that failed.

    Raises RedisUnavailable where Redis does not reply within `seconds` (default: REDIS_PATIENCE).
    """
    shared = _shared_clients.current()
    if shared.avoidance.is_active:
        raise RedisUnavailable
    try:
        return await _execute(command, shared.client, seconds or settings.REDIS_PATIENCE)
    except RedisUnavailable as exc:
        shared.avoidance.start()
        log.warning("redis_away problem=%s", type(exc.__cause__).__name__)
        raise


async def execute_patiently[T](command: Command[T]) -> T:
    """Return the result of a command that no request waits for, even if the last one failed.

    Raises RedisUnavailable.
    """
    shared = _shared_clients.current()
    result = await _execute(command, shared.client, PATIENT_SECONDS)
    shared.avoidance.end()
    return result


def fast_client() -> SyncRedis:
    """The fast client of synchronous code. It raises RedisError."""
    return _sync_client(settings.REDIS_URL, settings.REDIS_PATIENCE)


def patient_client() -> SyncRedis:
    """The patient client of synchronous code. It raises RedisError."""
    return _sync_client(settings.REDIS_URL, PATIENT_SECONDS)


def blocking_client() -> Redis:
    """A new client for commands that wait by design. It decodes text, and the caller closes it."""
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=BLOCKING_CONNECT_SECONDS,
        socket_timeout=BLOCKING_SECONDS,
        retry=_no_retry(),
    )


@cache
def _sync_client(url: str, reply_seconds: float) -> SyncRedis:
    return SyncRedis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=reply_seconds,
        retry=Retry(NoBackoff(), 0),
    )


def _no_retry() -> redis.asyncio.retry.Retry:
    return redis.asyncio.retry.Retry(NoBackoff(), 0)


async def _execute[T](command: Command[T], client: Redis, seconds: float) -> T:
    try:
        async with TimeLimit(connect=CONNECT_SECONDS, reply=seconds):
            return await command(client)
    except (RedisError, OSError, TimeoutError) as exc:
        raise RedisUnavailable from exc


class _SharedClient:
    """One event loop's client: all its requests share it."""

    def __init__(self) -> None:
        self._pool = LimitedPool.from_url(
            settings.REDIS_URL,
            max_connections=MAX_CONNECTIONS,
            timeout=None,
            protocol=2,
            retry=_no_retry(),
        )
        self.client = Redis.from_pool(self._pool)
        self.avoidance = Avoidance()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.disconnect()


_shared_clients = PerLoop(_SharedClient, _SharedClient.close)
