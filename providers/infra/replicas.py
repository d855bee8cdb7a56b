"""Announce to every process that rows have changed, and keep its copy of them current.

Redis carries the announcements. Without it a copy is still read again every moment, so nothing
depends on it. A copy keeps serving from memory while the database is away.
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
CHECK_SECONDS = 1.5  # between two readings without an announcement
CHECK_CPU_FACTOR = 50  # the same interval is at least so many times the CPU of the last reading
CHECK_DURATION_FACTOR = 4  # and at least so many times its duration, waiting included
REREAD_SECONDS = 1.0  # between two readings for a missing row, so that unknown names cost little
REREAD_CPU_FACTOR = 10  # the same interval is at least so many times the CPU of the last reading


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
    """An in-process copy of some rows, of one event loop: read at first use, then kept current.

    `guard`, where given, is held while the copy is read and passed to `on_read`. `now` is the
    clock that readings are timed with.
    """

    def __init__(
        self,
        load: Callable[[], T],
        topics: Iterable[str],
        *,
        on_read: Callable[[T], None] | None = None,
        guard: asyncio.Lock | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._load = load
        self._topics = frozenset(topics)
        self._on_read = on_read
        self._guard = guard or asyncio.Lock()
        self._value: T | None = None
        self._last_duration = math.inf  # seconds of the last reading
        # Of the quicker of the last two: one that hung in an outage is no measure.
        self._duration = 0.0
        self._cpu_seconds = 0.0  # of the last reading
        self._changed = asyncio.Event()
        self._rereading: asyncio.Task[None] | None = None
        self._reread_at = 0.0  # on the same clock as `now`
        self._task: asyncio.Task[None] | None = None
        self.stale = False

    async def get(self) -> T:
        """The copy. Reads it the first time, and raises django.db.Error where that fails."""
        if self._value is None:
            await self.read()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_current())
        value = self._value
        if value is None:
            raise RuntimeError("the copy was read and is not there")
        return value

    def refresh_soon(self) -> None:
        """Read the copy again soon: something here shows that it is behind."""
        self._changed.set()

    async def reread(self) -> T:
        """Read the copy again because something is missing in it: at most once in
        REREAD_SECONDS, unless a change was announced. Concurrent callers share that reading.

        A database that is away leaves the copy as it is.
        """
        if self._rereading is None or self._rereading.done():
            now = self._now()
            is_behind = self._changed.is_set() or self._guard.locked()
            if now < self._reread_at and not is_behind:
                return await self.get()
            self._reread_at = now + max(REREAD_SECONDS, REREAD_CPU_FACTOR * self._cpu_seconds)
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
        """Read the copy again, now. Raises django.db.Error where that fails."""
        async with self._guard:
            began = self._now()
            value, self._cpu_seconds = await database.run(self._load_timed)
            took = self._now() - began
            self._duration, self._last_duration = min(took, self._last_duration), took
            self._value = value
            if self._on_read:
                self._on_read(value)

    def _load_timed(self) -> tuple[T, float]:
        """The copy, and the CPU that reading it cost the thread it was read in."""
        began = time.thread_time()
        return self._load(), time.thread_time() - began

    def _check_interval(self) -> float:
        """Seconds until the copy is read again without an announcement."""
        return max(
            CHECK_SECONDS,
            CHECK_CPU_FACTOR * self._cpu_seconds,
            CHECK_DURATION_FACTOR * self._duration,
        )

    async def _keep_current(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._read_changes())

    async def _read_changes(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_interval()):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.read()
            except django.db.Error as exc:
                self._log_staleness(stale=True, problem=type(exc).__name__)
            else:
                self._log_staleness(stale=False)
            # A storm of announcements must not become a storm of queries.
            await asyncio.sleep(self._duration)

    def _log_staleness(self, *, stale: bool, problem: str = "") -> None:
        if stale != self.stale:
            self.stale = stale
            word = "copy_stale" if stale else "copy_fresh"
            log.warning("%s topics=%s %s", word, ",".join(sorted(self._topics)), problem)

    async def _listen(self) -> None:
        """Listen for announcements; while Redis is away the regular readings suffice."""
        while True:
            try:
                await self._receive()
            except (RedisError, OSError):
                await asyncio.sleep(1)

    async def _receive(self) -> None:
        client = redis_client.blocking_client()
        async with client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            # What changed while nobody listened.
            self._changed.set()
            async for message in channel.listen():
                if message["data"] in self._topics:
                    self._changed.set()
