"""Check this instance's own database and Redis, with a short time-out.

The result is cached for two seconds: every page needs it, and a dead server must not slow each one.
"""

import time
from collections.abc import Callable

from django.db import DatabaseError, connection
from redis.exceptions import RedisError

from providers.infra.redis_client import patient_client

CACHE_SECONDS = 2.0

DATABASE_AWAY = (
    "The database cannot be reached. Pages return as soon as it responds; no saved data is lost."
)
REDIS_AWAY = (
    "Redis cannot be reached. Answers are saved but appear with a delay, and"
    " background checks are paused until it is back."
)


class _CachedCheck:
    """A check whose result is valid for CACHE_SECONDS."""

    def __init__(self, check: Callable[[], str]) -> None:
        self.check = check
        self.expires_at = 0.0
        self.problem = ""

    def __call__(self) -> str:
        now = time.monotonic()
        if now >= self.expires_at:
            self.problem = self.check()
            self.expires_at = time.monotonic() + CACHE_SECONDS
        return self.problem


def _check_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return DATABASE_AWAY
    return ""


def _check_redis() -> str:
    try:
        patient_client().ping()
    except RedisError:
        return REDIS_AWAY
    return ""


database_problem = _CachedCheck(_check_database)
redis_problem = _CachedCheck(_check_redis)


def find_problems() -> list[str]:
    """A sentence for each unavailable part; empty where none is."""
    return [problem for problem in (database_problem(), redis_problem()) if problem]
