"""The log of one flight in Redis: who leads it, what has been said so far, how it ended.

Entries are numbered `<generation>-<n>`. Redis refuses a number that is not above the last one, and
that is all the locking there is: a generation begins once, and a leader that was taken for dead
cannot write after its successor has begun.

    flight:<name>        stream  a beginning (n = 0), pieces, an end
    flight:<name>:<g>    string  the lease of generation g's leader; gone soon after its process is
    flight:<name>:ears   string  there while somebody follows
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any

from redis.exceptions import ResponseError

from providers.domain.errors import CallError, KeyReused, RunInterrupted, deserialize
from providers.domain.frozen import frozen
from providers.infra import redis_client
from providers.infra.redis_client import Redis, RedisUnavailable

JOIN_SECONDS = 1.0  # for Redis to answer a caller that joins: a key dropped may be paid for twice
LEASE = 3.0  # seconds after which a leader that says nothing is taken for dead
EARS = 1.0  # seconds for which a follower is believed to listen
LIVES = 60.0  # seconds that a log outlives the last word of its leader, who may be dead
LINGERS = 5.0  # seconds that a finished log stays for its followers, where it is not kept longer
PACE = 0.05  # seconds between two looks of a follower
AT_ONCE = 64  # entries read in one go
OK, TOO_LARGE = "ok", "too large"


class LeaderLost(Exception):
    """The leader is gone without an end."""


class Move(Enum):
    """What one who joins a flight does."""

    LEAD = "lead"
    FOLLOW = "follow"
    ALONE = "alone"


@frozen
class Seen:
    """A flight as one who joins finds it. Generation 0: nobody has begun it.

    `of` is what it answers; `end` is empty on its way; `led` tells whether its leader lives.
    """

    generation: int = 0
    of: str = ""
    end: str = ""
    led: bool = False


def decide(seen: Seen, of: str, *, replay: bool) -> Move:
    """What to do about a flight. `replay`: whether one that ended well answers later callers too.

    Raises KeyReused where it answers something else.
    """
    if seen.generation and seen.of != of:
        raise KeyReused
    if not seen.end:
        return Move.FOLLOW if seen.led else Move.LEAD
    return Move.FOLLOW if seen.end == OK and replay else Move.LEAD


@frozen
class Entry:
    """One entry of a log."""

    generation: int
    number: int
    pieces: tuple[bytes, ...] = ()
    of: str = ""
    end: str = ""


def read(found: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """An entry as Redis gives it. Pieces are fields named by their place."""
    number, fields = found
    generation, _, place = number.partition(b"-")
    return Entry(
        generation=int(generation),
        number=int(place),
        pieces=tuple(value for name, value in fields.items() if name.isdigit()),
        of=fields.get(b"of", b"").decode(),
        end=fields.get(b"end", b"").decode(),
    )


class Log:
    """One flight's log. Raises RedisUnavailable where Redis does not answer."""

    def __init__(self, name: str) -> None:
        self._key = f"flight:{name}"

    def _lease(self, generation: int) -> str:
        return f"{self._key}:{generation}"

    async def seen(self) -> Seen:
        """The flight as it is now."""
        first, last = await redis_client.execute_fast(self._ends, JOIN_SECONDS)
        if last is None or first is None:
            return Seen()
        lease = self._lease(last.generation)
        led = bool(
            await redis_client.execute_fast(lambda client: client.exists(lease), JOIN_SECONDS)
        )
        if not led and not last.end:
            # A leader gives its lease back with its end: that one may have come in between.
            return await self._ended(last.generation)
        return Seen(generation=last.generation, of=first.of, end=last.end, led=led)

    async def _ended(self, generation: int) -> Seen:
        """A flight whose leader has no lease. A later generation may have begun."""
        first, last = await redis_client.execute_fast(self._ends, JOIN_SECONDS)
        if last is None or first is None:
            return Seen()
        led = last.generation > generation
        return Seen(generation=last.generation, of=first.of, end=last.end, led=led)

    async def _ends(self, client: Redis) -> tuple[Entry | None, Entry | None]:
        async with client.pipeline() as pipe:
            pipe.xrange(self._key, count=1)
            pipe.xrevrange(self._key, count=1)
            first, last = await pipe.execute()
        return (read(first[0]), read(last[0])) if last else (None, None)

    async def begin(self, generation: int, of: str) -> bool:
        """Whether this generation is ours. The one before it stays for its followers to read."""

        async def command(client: Redis) -> bool:
            async with client.pipeline() as pipe:
                pipe.xadd(
                    self._key,
                    {"of": of},
                    id=f"{generation}-0",
                    minid=f"{generation - 1}-0",
                    approximate=False,
                )
                pipe.set(self._lease(generation), "", px=_ms(LEASE))
                pipe.pexpire(self._key, _ms(LIVES))
                begun, *_ = await pipe.execute(raise_on_error=False)
            return not _refused(begun)

        return await redis_client.execute_fast(command, JOIN_SECONDS)

    async def write(self, generation: int, number: int, pieces: Sequence[bytes]) -> bool:
        """Writes what there is and renews the lease; False where the log is not ours any more."""
        fields: dict[Any, Any] = {str(place): piece for place, piece in enumerate(pieces)}

        async def command(client: Redis) -> bool:
            async with client.pipeline() as pipe:
                if fields:
                    pipe.xadd(self._key, fields, id=f"{generation}-{number}", nomkstream=True)
                pipe.set(self._lease(generation), "", px=_ms(LEASE))
                pipe.pexpire(self._key, _ms(LIVES))
                written, *_ = await pipe.execute(raise_on_error=False)
            return bool(written) and not _refused(written)

        return await redis_client.execute_patiently(command)

    async def close(self, generation: int, number: int, end: str, lives: float) -> None:
        """Writes the end, where there is one, and gives the lease back."""

        async def command(client: Redis) -> None:
            async with client.pipeline() as pipe:
                if end:
                    pipe.xadd(self._key, {"end": end}, id=f"{generation}-{number}", nomkstream=True)
                    pipe.pexpire(self._key, _ms(lives))
                pipe.delete(self._lease(generation))
                await pipe.execute(raise_on_error=False)

        await redis_client.execute_patiently(command)

    async def followed(self) -> bool:
        """Whether anybody follows."""
        ears = f"{self._key}:ears"
        return bool(await redis_client.execute_patiently(lambda client: client.exists(ears)))

    async def follow(self, generation: int) -> AsyncGenerator[bytes]:
        """All that a generation says, from its beginning.

        Raises the CallError it ended with, and LeaderLost where it has no end.
        """
        number = 0
        async with self._listening():
            while True:
                entries, led = await self._news(generation, number)
                for entry in entries:
                    if entry.generation != generation:
                        raise LeaderLost
                    for piece in entry.pieces:
                        yield piece
                    if entry.end:
                        _end(entry.end)
                        return
                    number = entry.number
                if not entries:
                    if not led:
                        raise LeaderLost
                    await asyncio.sleep(PACE)

    @asynccontextmanager
    async def _listening(self) -> AsyncGenerator[None]:
        """Shows the leader that somebody follows, however slowly."""

        async def show() -> None:
            while True:
                with suppress(RedisUnavailable):
                    await redis_client.execute_patiently(
                        lambda client: client.set(f"{self._key}:ears", "", px=_ms(EARS))
                    )
                await asyncio.sleep(EARS / 3)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()

    async def _news(self, generation: int, number: int) -> tuple[list[Entry], bool]:
        async def command(client: Redis) -> tuple[list[Entry], bool]:
            async with client.pipeline() as pipe:
                pipe.xrange(self._key, min=f"({generation}-{number}", count=AT_ONCE)
                pipe.exists(self._lease(generation))
                found, led = await pipe.execute()
            return [read(each) for each in found], bool(led)

        try:
            return await redis_client.execute_patiently(command)
        except RedisUnavailable as away:
            raise LeaderLost from away


def _refused(result: object) -> bool:
    """Whether Redis refused an entry because a later one is there. Raises what else it refused."""
    if isinstance(result, ResponseError) and "equal or smaller" not in str(result):
        raise result
    return isinstance(result, ResponseError)


def _end(end: str) -> None:
    """Raises what a flight ended with, if that is no good end."""
    if end == TOO_LARGE:
        raise RunInterrupted
    if end != OK:
        raise deserialize(json.loads(end), CallError)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
