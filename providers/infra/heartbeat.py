"""Which parts of the program are at work: each says so, in a key of Redis that soon expires.

Any number of processes share a part's key: what counts is that one of them is there.
"""

from contextlib import suppress
from enum import StrEnum

from providers.infra import redis_client
from providers.infra.redis_client import Redis, RedisUnavailable

EVERY = 5.0  # seconds between two beats
LIVES = 15  # seconds; a beat or two may be late


class Part(StrEnum):
    RUNNER = "runner"
    WORKER = "worker"


async def beat(part: Part) -> None:
    """Says that this part is at work; a Redis that is away is told of elsewhere."""

    async def say(redis: Redis) -> None:
        await redis.set(_key(part), 1, ex=LIVES)

    with suppress(RedisUnavailable):
        await redis_client.execute_patiently(say)


async def missing() -> list[Part]:
    """The parts that have not been heard of. Raises RedisUnavailable where Redis cannot say."""

    async def ask(redis: Redis) -> list[bytes | str | None]:
        return await redis.mget([_key(part) for part in Part])

    beats = await redis_client.execute_patiently(ask)
    return [part for part, heard in zip(Part, beats, strict=True) if heard is None]


def _key(part: Part) -> str:
    return f"pulse:{part}"
