"""Check whether this process can serve, and which parts of the program are unavailable.

Ready: everything works. Degraded: it serves, and the reasons name what does not work. Not ready: it
cannot serve `/v1`, because it has never read the providers. If the database becomes unavailable
later, it is degraded: requests continue from memory. Every check has a time-out.
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

CHECK_TIMEOUT_SECONDS = 1.5  # for each check; they run at the same time
CACHE_SECONDS = 1.0  # more frequent requests get the same result
REPORT_DROPPED_SECONDS = 300.0  # in which lost attempts are a reason

MISSING = {
    heartbeat.ProcessRole.RUNNER: "No runner is running. Chat messages wait until one starts.",
    heartbeat.ProcessRole.WORKER: "Health checks are not running: `worker` or `beat` is down.",
}
GATEWAY_AWAY = (
    "The gateway process does not respond. Requests use direct connections where possible."
)
GATEWAY_BROKEN = "The gateway process is not ready: {problem}"
NOT_LOADED = "This process has not loaded the providers yet."
DROPPED = "{count} attempts were not recorded because the database was unavailable for too long."


@frozen
class Readiness:
    can_serve: bool
    reasons: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        if not self.can_serve:
            return "not ready"
        return "degraded" if self.reasons else "ready"


class _ReadinessCheck:
    """The check, its cached result, and the lost attempts seen so far."""

    def __init__(self) -> None:
        self.expires_at = 0.0
        self.result = Readiness(can_serve=False)
        self.dropped, self.dropped_at = 0, float("-inf")

    async def __call__(self) -> Readiness:
        if time.monotonic() >= self.expires_at:
            self.result = await self._check()
            self.expires_at = time.monotonic() + CACHE_SECONDS
        return self.result

    async def _check(self) -> Readiness:
        has_loaded, database_problem, redis_problems, gateway_problem = await asyncio.gather(
            _with_timeout(_has_loaded(), False),
            _with_timeout(database.run(liveness.database_problem), liveness.DATABASE_AWAY),
            _with_timeout(_find_redis_problems(), [liveness.REDIS_AWAY]),
            _with_timeout(_find_gateway_problem(), GATEWAY_AWAY),
        )
        reasons = (
            "" if has_loaded else NOT_LOADED,
            database_problem,
            *redis_problems,
            gateway_problem,
            self._describe_dropped(route_table.current().queue.dropped),
        )
        return Readiness(can_serve=has_loaded, reasons=tuple(filter(None, reasons)))

    def _describe_dropped(self, dropped: int) -> str:
        now = time.monotonic()
        if dropped > self.dropped:
            self.dropped, self.dropped_at = dropped, now
        is_recent = now - self.dropped_at < REPORT_DROPPED_SECONDS
        return DROPPED.format(count=self.dropped) if is_recent else ""


check = _ReadinessCheck()


async def _with_timeout[T](check: Awaitable[T], on_timeout: T) -> T:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check
    except TimeoutError:
        return on_timeout


async def _has_loaded() -> bool:
    """Whether this process has read the providers."""
    try:
        await route_table.current().ready()
    except django.db.Error:
        return False
    return True


async def _find_redis_problems() -> list[str]:
    """Redis itself, or the processes whose heartbeat is missing in it."""
    if problem := await database.run(liveness.redis_problem):
        return [problem]
    try:
        return [MISSING[part] for part in await heartbeat.missing_roles()]
    except RedisUnavailable:
        return [liveness.REDIS_AWAY]


async def _find_gateway_problem() -> str:
    """The problem of the gateway process; empty where it is fine or not used."""
    if not settings.GATEWAY_TOKEN:
        return ""
    times = Timeouts(
        connect=CHECK_TIMEOUT_SECONDS,
        first_token=CHECK_TIMEOUT_SECONDS,
        silence=CHECK_TIMEOUT_SECONDS,
        total=CHECK_TIMEOUT_SECONDS,
    )
    deadlines = Deadlines(times)
    url = f"{settings.GATEWAY_URL}/healthz"
    try:
        async with http.HttpCall("GET", url, headers={}, deadlines=deadlines) as response:
            status = await direct.read_json(response, deadlines)
    except CallError:
        return GATEWAY_AWAY
    return GATEWAY_BROKEN.format(problem=status["problem"]) if status["problem"] else ""
