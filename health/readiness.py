"""Whether this process can serve, and what of the program is amiss, each question with a limit.

Ready: all is there. Degraded: answers still come, and the reasons say what does not. Not ready: it
cannot serve `/v1`, as it has never read whom to call. A database that is away later is a reason to
be degraded: calls go on from memory.
"""

import asyncio
import time
from collections.abc import Awaitable

import django.db
from django.conf import settings

from health import liveness
from providers.clients import direct, http
from providers.clients.deadlines import Deadlines
from providers.domain.errors import CallError
from providers.domain.frozen import frozen
from providers.domain.types import Timeouts
from providers.infra import database, heartbeat
from providers.infra.redis_client import RedisUnavailable
from providers.router import route_table

PATIENCE = 1.5  # seconds for each question; they are asked at the same time
KEPT_SECONDS = 1.0  # who asks more often gets the same answer
DROPPED_LATELY = 300.0  # seconds in which lost attempts are a reason

MISSING = {
    heartbeat.Part.RUNNER: "No runner is at work: chat messages wait for one.",
    heartbeat.Part.WORKER: "No worker looks for due checks: `worker` or `beat` does not run.",
}
GATEWAY_AWAY = "The gateway process does not answer: calls go direct where they can."
GATEWAY_BROKEN = "The gateway process is not ready: {problem}"
NEVER_READ = "This process could not read the providers yet."
DROPPED = "{count} attempts could not be recorded, as the database was away for too long."


@frozen
class Readiness:
    serves: bool
    reasons: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        if not self.serves:
            return "not ready"
        return "degraded" if self.reasons else "ready"


class _Look:
    """The last answer, and what has to be remembered between two looks."""

    def __init__(self) -> None:
        self.until = 0.0
        self.found = Readiness(serves=False)
        self.dropped, self.dropped_at = 0, float("-inf")

    async def __call__(self) -> Readiness:
        if time.monotonic() >= self.until:
            self.found = await self._look()
            self.until = time.monotonic() + KEPT_SECONDS
        return self.found

    async def _look(self) -> Readiness:
        reads, away, redis, gateway = await asyncio.gather(
            _within(_reads(), False),
            _within(database.run(liveness.database_problem), liveness.DATABASE_AWAY),
            _within(_redis(), [liveness.REDIS_AWAY]),
            _within(_gateway(), GATEWAY_AWAY),
        )
        unread = "" if reads else NEVER_READ
        reasons = (unread, away, *redis, gateway, self._lost(route_table.current().dropped))
        return Readiness(serves=reads, reasons=tuple(reason for reason in reasons if reason))

    def _lost(self, dropped: int) -> str:
        now = time.monotonic()
        if dropped > self.dropped:
            self.dropped, self.dropped_at = dropped, now
        lately = now - self.dropped_at < DROPPED_LATELY
        return DROPPED.format(count=self.dropped) if lately else ""


look = _Look()


async def _within[T](asking: Awaitable[T], otherwise: T) -> T:
    try:
        async with asyncio.timeout(PATIENCE):
            return await asking
    except TimeoutError:
        return otherwise


async def _reads() -> bool:
    """Whether this process knows whom to call."""
    try:
        await route_table.current().ready()
    except django.db.Error:
        return False
    return True


async def _redis() -> list[str]:
    """What the pages say of Redis, and, where it is there, which parts it has not heard of."""
    if away := await database.run(liveness.redis_problem):
        return [away]
    try:
        return [MISSING[part] for part in await heartbeat.missing()]
    except RedisUnavailable:
        return [liveness.REDIS_AWAY]


async def _gateway() -> str:
    """Where the program has a gateway process of its own: what is wrong with it."""
    if not settings.GATEWAY_TOKEN:
        return ""
    times = Timeouts(connect=PATIENCE, first_token=PATIENCE, silence=PATIENCE, total=PATIENCE)
    deadlines = Deadlines(times)
    url = f"{settings.GATEWAY_URL}/healthz"
    try:
        async with http.HttpCall("GET", url, headers={}, deadlines=deadlines) as response:
            told = await direct.read_json(response, deadlines)
    except CallError:
        return GATEWAY_AWAY
    return GATEWAY_BROKEN.format(problem=told["problem"]) if told["problem"] else ""
