"""The time limit of one Redis command: it counts Redis's own time, and none of this process's.

A limit starts when the command is on the wire. Neither the wait for a free connection nor the time
in which this process was busy says anything about Redis.
"""

import asyncio
from contextvars import ContextVar
from typing import Any, Self

import redis.asyncio

CHECK_SECONDS = 0.01  # between two checks of how late this process's own timers are


class TimeLimit:
    """Raise TimeoutError where a command has no connection after `connect` seconds, or no reply
    `reply` seconds later.

    A process that was too busy to run its timers has not read the reply either, so the limit is
    extended by their delay.
    """

    def __init__(self, *, connect: float, reply: float) -> None:
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(connect)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._before = _limit.set(self)
        self._check_soon()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._check.cancel()
        _limit.reset(self._before)
        await self._timeout.__aexit__(*exc)

    def start_reply(self) -> None:
        """Start the limit of the reply: a connection is there, the command goes out now."""
        self._end_at(self._loop.time() + self._reply)

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


_limit: ContextVar[TimeLimit] = ContextVar("limit")  # of the command that runs in this task


class LimitedPool(redis.asyncio.BlockingConnectionPool):
    """Connections that start the limit of their command's reply when they are handed out."""

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        connection = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        if limit := _limit.get(None):
            limit.start_reply()
        return connection
