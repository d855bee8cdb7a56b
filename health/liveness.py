"""Whether this instance itself can work: its database and its Redis, asked with a short patience.

The answer is kept for two seconds: every page asks, and a dead server must not slow each of them.
"""

import time
from collections.abc import Callable

from django.db import DatabaseError, connection
from redis.exceptions import RedisError

from providers.infra.redis_client import patient_client

KEPT_SECONDS = 2.0

DATABASE_AWAY = (
    "The database cannot be reached. Pages come back by themselves as soon as it answers;"
    " nothing that was saved is lost."
)
REDIS_AWAY = (
    "Redis cannot be reached. Answers still arrive and are kept, but appear with a delay, and"
    " background checks wait until it is back."
)


class _Kept:
    """A check whose answer is believed for KEPT_SECONDS."""

    def __init__(self, check: Callable[[], str]) -> None:
        self.check = check
        self.until = 0.0
        self.answer = ""

    def __call__(self) -> str:
        now = time.monotonic()
        if now >= self.until:
            self.answer = self.check()
            self.until = time.monotonic() + KEPT_SECONDS
        return self.answer


def _ask_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return DATABASE_AWAY
    return ""


def _ask_redis() -> str:
    try:
        patient_client().ping()
    except RedisError:
        return REDIS_AWAY
    return ""


database_problem = _Kept(_ask_database)
redis_problem = _Kept(_ask_redis)


def degraded() -> list[str]:
    """A sentence for each part that is away; empty when all is well."""
    return [sentence for sentence in (database_problem(), redis_problem()) if sentence]
