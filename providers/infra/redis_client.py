"""Redis as requests use it: every command has a time limit, and a Redis that failed is avoided.

One client an event loop. A limit counts from the moment a command is on the wire: neither the
wait for one of our own connections nor the time in which this process was busy says anything about
Redis. Nothing read here may be needed for correctness: the caller goes on without it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

BACKGROUND_SECONDS = 1.0  # where no request waits: a pause of Redis is no reason to give up
CONNECT_SECONDS = 0.5  # for a free connection, and to make one: a few round trips where TLS is used
AWAY_SECONDS = 5.0  # in which a Redis that failed is not tried again
MAX_CONNECTIONS = 32  # of one event loop; more callers wait for a free one
CHECK_SECONDS = 0.01  # between two looks at how late this process's own timers are

Redis = redis.asyncio.Redis


class Away(Exception):
    """Redis did not answer in time, or failed to a moment ago."""


@dataclass(slots=True)
class _Line:
    client: Redis
    away_until: float = 0.0


_lines: dict[asyncio.AbstractEventLoop, tuple[_Line, AsyncGenerator[_Line]]] = {}


type Command[T] = Callable[[Redis], Awaitable[T]]


async def ask[T](command: Command[T], seconds: float | None = None) -> T:
    """What the command returns, on a request's path.

    Raises Away where Redis does not answer within `seconds` (REDIS_PATIENCE where none are given).
    """
    line = await _line()
    if time.monotonic() < line.away_until:
        raise Away
    try:
        return await _bounded(command, line.client, seconds or settings.REDIS_PATIENCE)
    except Away as away:
        line.away_until = time.monotonic() + AWAY_SECONDS
        log.warning("redis_away problem=%s", type(away.__cause__).__name__)
        raise


async def ask_patiently[T](command: Command[T]) -> T:
    """The same beside a request's path: waits longer, and tries however the last time went."""
    line = await _line()
    answer = await _bounded(command, line.client, BACKGROUND_SECONDS)
    line.away_until = 0.0
    return answer


async def _bounded[T](command: Command[T], client: Redis, seconds: float) -> T:
    try:
        async with _Limit(seconds):
            return await command(client)
    except (RedisError, OSError, TimeoutError) as exc:
        raise Away from exc


class _Limit:
    """Ends a command that takes longer than CONNECT_SECONDS to have a connection, or, from then
    on, longer than `seconds` to be answered.

    A process that was too busy to run its timers has not read Redis's answer either, so what they
    come too late is added to the limit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(CONNECT_SECONDS)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._before = _limit.set(self)
        self._check_soon()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._check.cancel()
        _limit.reset(self._before)
        await self._timeout.__aexit__(*exc)

    def connected(self) -> None:
        """A connection is there: the command goes out now."""
        self._end_at(self._loop.time() + self._seconds)

    def _check_soon(self) -> None:
        self._due = self._loop.time() + CHECK_SECONDS
        self._check = self._loop.call_at(self._due, self._add_delay)

    def _add_delay(self) -> None:
        late, end = self._loop.time() - self._due, self._timeout.when()
        if end is not None and late > CHECK_SECONDS:
            self._end_at(end + late)
        self._check_soon()

    def _end_at(self, when: float) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(when)


_limit: ContextVar[_Limit] = ContextVar("limit")  # of the command that runs in this task


class _Pool(redis.asyncio.BlockingConnectionPool):
    """Connections of which each starts its command's limit as it is handed out."""

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        connection = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        if limit := _limit.get(None):
            limit.connected()
        return connection


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
    pool = _Pool.from_url(
        settings.REDIS_URL,
        max_connections=MAX_CONNECTIONS,
        timeout=None,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield _Line(Redis.from_pool(pool))
    finally:
        _lines.pop(asyncio.get_running_loop(), None)
        await pool.disconnect()
