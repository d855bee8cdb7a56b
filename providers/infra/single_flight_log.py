"""The log of one single-flight in Redis: its leader, the pieces so far, how it ended.

Entries are numbered `<generation>-<n>`. Redis refuses a number that is not above the last one, and
that is all the locking there is: a generation begins once, and a leader that was taken for dead
cannot write after its successor has begun.

    flight:<name>        stream  a beginning (n = 0), pieces, an end
    flight:<name>:<g>    string  the lease of generation g's leader; gone soon after its process is
    flight:<name>:listeners  string  there while somebody follows
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
LEASE_SECONDS = 3.0  # after which a silent leader counts as dead
LISTENER_SECONDS = 1.0  # that a follower counts as listening
LOG_SECONDS = 60.0  # that a log outlives its leader's last write; the leader may be dead
FINISHED_LOG_SECONDS = 5.0  # that a finished log stays for its followers, or longer if asked to
POLL_SECONDS = 0.05  # between two reads of a follower
MAX_ENTRIES = 64  # in one read
OK, TOO_LARGE = "ok", "too large"


class LeaderLost(Exception):
    """The leader is gone without an end."""


class CallerRole(Enum):
    """What a caller does that joins a single-flight."""

    LEADER = "lead"
    FOLLOWER = "follow"
    ALONE = "alone"


@frozen
class RunState:
    """A single-flight as a new caller finds it. Generation 0: nobody has begun it.

    `of` is a digest of the request; `end` is empty until it has ended.
    """

    generation: int = 0
    of: str = ""
    end: str = ""
    has_leader: bool = False


def decide(state: RunState, of: str, *, replay: bool) -> CallerRole:
    """The role of a new caller. `replay`: whether a run that ended well answers later callers.

    Raises KeyReused where it answers something else.
    """
    if state.generation and state.of != of:
        raise KeyReused
    if not state.end:
        return CallerRole.FOLLOWER if state.has_leader else CallerRole.LEADER
    return CallerRole.FOLLOWER if state.end == OK and replay else CallerRole.LEADER


@frozen
class LogEntry:
    """One entry of a log."""

    generation: int
    number: int
    pieces: tuple[bytes, ...] = ()
    of: str = ""
    end: str = ""


def read(raw: tuple[bytes, dict[bytes, bytes]]) -> LogEntry:
    """An entry as Redis gives it. Pieces are fields named by their place."""
    number, fields = raw
    generation, _, place = number.partition(b"-")
    return LogEntry(
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

    async def state(self) -> RunState:
        """Read the flight's state."""
        first, last = await redis_client.execute_fast(self._ends, JOIN_SECONDS)
        if last is None or first is None:
            return RunState()
        lease = self._lease(last.generation)
        has_leader = bool(
            await redis_client.execute_fast(lambda client: client.exists(lease), JOIN_SECONDS)
        )
        if not has_leader and not last.end:
            # A leader gives up its lease as it ends: the end may have come in between.
            return await self._read_ended(last.generation)
        return RunState(
            generation=last.generation, of=first.of, end=last.end, has_leader=has_leader
        )

    async def _read_ended(self, generation: int) -> RunState:
        """Read the state of a flight without a lease. A later generation may have begun."""
        first, last = await redis_client.execute_fast(self._ends, JOIN_SECONDS)
        if last is None or first is None:
            return RunState()
        has_leader = last.generation > generation
        return RunState(
            generation=last.generation, of=first.of, end=last.end, has_leader=has_leader
        )

    async def _ends(self, client: Redis) -> tuple[LogEntry | None, LogEntry | None]:
        async with client.pipeline() as pipe:
            pipe.xrange(self._key, count=1)
            pipe.xrevrange(self._key, count=1)
            first, last = await pipe.execute()
        return (read(first[0]), read(last[0])) if last else (None, None)

    async def begin(self, generation: int, of: str) -> bool:
        """Begin a generation; False where another leader has. The one before stays readable."""

        async def command(client: Redis) -> bool:
            async with client.pipeline() as pipe:
                pipe.xadd(
                    self._key,
                    {"of": of},
                    id=f"{generation}-0",
                    minid=f"{generation - 1}-0",
                    approximate=False,
                )
                pipe.set(self._lease(generation), "", px=_ms(LEASE_SECONDS))
                pipe.pexpire(self._key, _ms(LOG_SECONDS))
                begun, *_ = await pipe.execute(raise_on_error=False)
            return not _is_refused(begun)

        return await redis_client.execute_fast(command, JOIN_SECONDS)

    async def write(self, generation: int, number: int, pieces: Sequence[bytes]) -> bool:
        """Write the pieces and renew the lease; False where another leader has the log."""
        fields: dict[Any, Any] = {str(place): piece for place, piece in enumerate(pieces)}

        async def command(client: Redis) -> bool:
            async with client.pipeline() as pipe:
                if fields:
                    pipe.xadd(self._key, fields, id=f"{generation}-{number}", nomkstream=True)
                pipe.set(self._lease(generation), "", px=_ms(LEASE_SECONDS))
                pipe.pexpire(self._key, _ms(LOG_SECONDS))
                written, *_ = await pipe.execute(raise_on_error=False)
            return bool(written) and not _is_refused(written)

        return await redis_client.execute_patiently(command)

    async def close(self, generation: int, number: int, end: str, lives: float) -> None:
        """Write the end, where there is one, and give up the lease."""

        async def command(client: Redis) -> None:
            async with client.pipeline() as pipe:
                if end:
                    pipe.xadd(self._key, {"end": end}, id=f"{generation}-{number}", nomkstream=True)
                    pipe.pexpire(self._key, _ms(lives))
                pipe.delete(self._lease(generation))
                await pipe.execute(raise_on_error=False)

        await redis_client.execute_patiently(command)

    async def has_listeners(self) -> bool:
        """Whether anybody follows."""
        listeners = f"{self._key}:listeners"
        return bool(await redis_client.execute_patiently(lambda client: client.exists(listeners)))

    async def read_pieces(self, generation: int) -> AsyncGenerator[bytes]:
        """The pieces of a generation, from its beginning.

        Raises the CallError it ended with, and LeaderLost where it has no end.
        """
        number = 0
        async with self._announce_listener():
            while True:
                entries, has_leader = await self._read_new(generation, number)
                for entry in entries:
                    if entry.generation != generation:
                        raise LeaderLost
                    for piece in entry.pieces:
                        yield piece
                    if entry.end:
                        _raise_end(entry.end)
                        return
                    number = entry.number
                if not entries:
                    if not has_leader:
                        raise LeaderLost
                    await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def _announce_listener(self) -> AsyncGenerator[None]:
        """Let the leader know that somebody follows, however slowly."""

        async def show() -> None:
            while True:
                with suppress(RedisUnavailable):
                    await redis_client.execute_patiently(
                        lambda client: client.set(
                            f"{self._key}:listeners", "", px=_ms(LISTENER_SECONDS)
                        )
                    )
                await asyncio.sleep(LISTENER_SECONDS / 3)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()

    async def _read_new(self, generation: int, number: int) -> tuple[list[LogEntry], bool]:
        async def command(client: Redis) -> tuple[list[LogEntry], bool]:
            async with client.pipeline() as pipe:
                pipe.xrange(self._key, min=f"({generation}-{number}", count=MAX_ENTRIES)
                pipe.exists(self._lease(generation))
                raw, has_leader = await pipe.execute()
            return [read(each) for each in raw], bool(has_leader)

        try:
            return await redis_client.execute_patiently(command)
        except RedisUnavailable as away:
            raise LeaderLost from away


def _is_refused(result: object) -> bool:
    """Whether Redis refused an entry because a later one exists. Raises its other errors."""
    if isinstance(result, ResponseError) and "equal or smaller" not in str(result):
        raise result
    return isinstance(result, ResponseError)


def _raise_end(end: str) -> None:
    """Raise the error a flight ended with, if any."""
    if end == TOO_LARGE:
        raise RunInterrupted
    if end != OK:
        raise deserialize(json.loads(end), CallError)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
