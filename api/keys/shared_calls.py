"""How many calls of a key each process has under way, in Redis, with Redis's own clock.

A process's number expires unless it is written again, so that one that died holds no place.
"""

from typing import Any

from api.keys.shared_bucket import NAME
from providers.infra import redis_client

EXPIRY_SECONDS = 15

# KEYS: the key's numbers. ARGV: process, its calls, seconds until they expire.
_SHARE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HDEL', KEYS[1], ARGV[1])
local held = redis.call('HGETALL', KEYS[1])
local others = 0
for i = 1, #held, 2 do
  local calls, ends = string.match(held[i + 1], '(%d+):(%d+)')
  if tonumber(ends) > now then
    others = others + tonumber(calls)
  else
    redis.call('HDEL', KEYS[1], held[i])
  end
end
if tonumber(ARGV[2]) > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. (now + ARGV[3]))
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return others
"""


async def share(key_id: int, calls: int, process: str = NAME) -> int:
    """Write this process's number of calls; return that of all others. Raises RedisUnavailable."""

    async def command(client: redis_client.Redis) -> Any:
        return await client.eval(_SHARE, 1, f"calls:{key_id}", process, calls, EXPIRY_SECONDS)

    return int(await redis_client.execute_fast(command))
