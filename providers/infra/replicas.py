"""Tells every process that rows have changed, and keeps each one's copy of them in step.

Redis carries the news; without it a copy is still checked every moment, so nothing depends on it.
A copy serves on from memory while the database is away.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import django.db
from django.db import transaction
from redis.exceptions import RedisError

from providers.infra import database, redis_client

log = logging.getLogger(__name__)

CHANNEL = "changes"
CHECK_EVERY = 1.5  # seconds between two looks where nobody told of a change
REREAD_EVERY = 1.0  # seconds between two readings for what was missing: unknown names cost no more
REREAD_SHARE = 10  # nor sooner than so many times the CPU of the last reading
MOST_OF_A_CPU = 50  # a copy is checked no sooner than so many times the CPU of the last reading
MOST_OF_THE_DATABASE = 4  # nor sooner than so many times what it took in all, waiting included


_avoidance = redis_client.Avoidance()


def publish(topic: str) -> None:
    """Announce to all processes, after the transaction commits, that rows of a topic have changed.

    Topics: `providers` (what operators set), `routes` (what calls changed), `keys` (client keys).
    Never fails. A Redis that does not reply in time costs a caller that long every few seconds.
    """
    transaction.on_commit(lambda: _publish_now(topic))


def _publish_now(topic: str) -> None:
    if _avoidance.is_active:
        return
    try:
        redis_client.fast_client().publish(CHANNEL, topic)
    except (RedisError, OSError) as exc:
        _avoidance.start()
        log.warning("change_not_published topic=%s problem=%s", topic, type(exc).__name__)


class Replica[T]:
    """An in-process copy of some rows, of one event loop: read at first use, then kept in step.

    `guard`, where given, is held while the copy is read and taken.
    """

    def __init__(
        self,
        load: Callable[[], T],
        topics: Iterable[str],
        *,
        taken: Callable[[T], None] | None = None,
        guard: asyncio.Lock | None = None,
    ) -> None:
        self._load = load
        self._topics = frozenset(topics)
        self._taken = taken
        self._guard = guard or asyncio.Lock()
        self._value: T | None = None
        self._last = math.inf  # seconds of the last reading
        self._took = 0.0  # of the quicker of the last two: one that hung in an outage is no measure
        self._worked = 0.0  # of this process's CPU in the last one
        self._changed = asyncio.Event()
        self._rereading: asyncio.Task[None] | None = None
        self._may_reread = 0.0  # on the monotonic clock
        self._task: asyncio.Task[None] | None = None
        self.stale = False

    async def get(self) -> T:
        """The copy. Reads it the first time, and raises django.db.Error where that fails."""
        if self._value is None:
            await self.read()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        value = self._value
        if value is None:
            raise RuntimeError("the copy was read and is not there")
        return value

    def refresh_soon(self) -> None:
        """Has the copy read anew soon: something here shows that it is behind."""
        self._changed.set()

    async def reread(self) -> T:
        """The copy, read anew because something is missing in it: at most once in REREAD_EVERY
        seconds, unless a change was announced. All who come meanwhile share that reading.

        A database that is away leaves the copy as it is.
        """
        if self._rereading is None or self._rereading.done():
            now = time.monotonic()
            is_behind = self._changed.is_set() or self._guard.locked()
            if now < self._may_reread and not is_behind:
                return await self.get()
            self._may_reread = now + max(REREAD_EVERY, REREAD_SHARE * self._worked)
            self._rereading = asyncio.create_task(self._read_quietly())
        # Who leaves meanwhile must not end the reading of the others.
        await asyncio.shield(self._rereading)
        return await self.get()

    async def _read_quietly(self) -> None:
        with suppress(django.db.Error):
            await self.read()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def read(self) -> None:
        """Reads the copy anew, now. Raises django.db.Error where that fails."""
        async with self._guard:
            began = time.monotonic()
            value, self._worked = await database.run(self._timed)
            took = time.monotonic() - began
            self._took, self._last = min(took, self._last), took
            self._value = value
            if self._taken:
                self._taken(value)

    def _timed(self) -> tuple[T, float]:
        """The copy, and the CPU that reading it cost the thread it was read in."""
        began = time.thread_time()
        return self._load(), time.thread_time() - began

    def _pause(self) -> float:
        """Seconds until the copy is checked without news."""
        return max(CHECK_EVERY, MOST_OF_A_CPU * self._worked, MOST_OF_THE_DATABASE * self._took)

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.read()
            except django.db.Error as exc:
                self._say(stale=True, problem=type(exc).__name__)
            else:
                self._say(stale=False)
            # A storm of news must not become a storm of queries.
            await asyncio.sleep(self._took)

    def _say(self, *, stale: bool, problem: str = "") -> None:
        if stale != self.stale:
            self.stale = stale
            word = "copy_stale" if stale else "copy_fresh"
            log.warning("%s topics=%s %s", word, ",".join(sorted(self._topics)), problem)

    async def _listen(self) -> None:
        """Hears the news; while Redis is away the checks have to do."""
        while True:
            try:
                await self._hear()
            except (RedisError, OSError):
                await asyncio.sleep(1)

    async def _hear(self) -> None:
        client = redis_client.blocking_client()
        async with client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            # What changed while nobody listened.
            self._changed.set()
            async for message in channel.listen():
                if message["data"] in self._topics:
                    self._changed.set()
