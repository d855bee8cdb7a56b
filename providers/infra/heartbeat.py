"""Which processes are running: each role sends a heartbeat, a Redis key that soon expires.

All processes of a role share one key: what counts is that one of them runs.
"""

from contextlib import suppress
from enum import StrEnum

from providers.infra import redis_client
from providers.infra.redis_client import Redis, RedisUnavailable

INTERVAL_SECONDS = 5.0
EXPIRY_SECONDS = 15  # two heartbeats may be late


class ProcessRole(StrEnum):
    RUNNER = "runner"
    WORKER = "worker"


async def send(role: ProcessRole) -> None:
    """Report that a process of this role runs. A Redis that is away is reported elsewhere."""

    async def command(redis: Redis) -> None:
        await redis.set(_key(role), 1, ex=EXPIRY_SECONDS)

    with suppress(RedisUnavailable):
        await redis_client.execute_patiently(command)


async def missing_roles() -> list[ProcessRole]:
    """The roles without a recent heartbeat. Raises RedisUnavailable."""

    async def command(redis: Redis) -> list[bytes | str | None]:
        return await redis.mget([_key(role) for role in ProcessRole])

    beats = await redis_client.execute_patiently(command)
    return [role for role, beat in zip(ProcessRole, beats, strict=True) if beat is None]


def _key(role: ProcessRole) -> str:
    return f"heartbeat:{role}"
