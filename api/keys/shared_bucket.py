"""The token buckets that all processes share, in Redis, with Redis's own clock.

Redis also counts the processes that take from buckets: their number divides a limit while Redis is
away. A Redis that has lost its data starts with full buckets.
"""

import os
import secrets
from typing import Any

from api.keys.limits import Grant, Rate
from providers.infra import redis_client

PROCESSES = "limits:processes"
PROCESS_SECONDS = 60  # a process that took nothing for so long does not count
NAME = f"{os.getpid()}-{secrets.token_hex(4)}"

# KEYS: the bucket, the processes. ARGV: per minute, spent, requested, process, its seconds.
# Numbers are returned as text, because Redis would cut them to whole ones.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local limit = tonumber(ARGV[1])
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = limit
if held[1] then
  level = math.min(limit, held[1] + math.max(0, now - held[2]) * limit / 60)
end
level = level - ARGV[2]
local granted = math.max(0, math.min(tonumber(ARGV[3]), math.floor(level)))
level = math.min(limit, level - granted)
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(120 + math.max(0, -level) * 60 / limit))
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return {tostring(granted), string.format('%.6f', level), redis.call('ZCARD', KEYS[2])}
"""


async def take(name: str, rate: Rate, spent: float, requested: float) -> Grant:
    """Take from one bucket; see `TokenBucket.take`. Raises RedisUnavailable."""
    arguments = (rate.per_minute, spent, requested, NAME, PROCESS_SECONDS)

    async def command(client: redis_client.Redis) -> Any:
        return await client.eval(_TAKE, 2, f"limits:{name}", PROCESSES, *arguments)

    tokens, level, processes = await redis_client.execute_fast(command)
    return Grant(tokens=float(tokens), level=float(level), processes=int(processes))
