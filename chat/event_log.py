"""A turn's event log in Redis, both ends, and the notices between web and runners.

Nothing here is the only copy of anything: a log that is gone is replaced by the stored message,
and whoever writes to a lost log is told so, and begins it again with a reset.

    turn:<id>     stream   the log; ids are what browsers send back as Last-Event-ID
    turns:wake    list     ids of new turns, so that a runner need not wait for its next look
    turns:stop    channel  ids of turns that their reader wants stopped
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat import events
from chat.events import Event, Kind
from providers.domain.frozen import frozen
from providers.infra.stopping import stopping

log = logging.getLogger(__name__)

PACE = 0.045  # seconds between two looks at the logs; what comes meanwhile is one message
KEEP_ALIVE_AFTER = 10.0  # seconds without a message; proxies close connections that say nothing
DOUBT_AFTER = 5.0  # seconds of silence after which the stored message is asked for the end
LIVES = 24 * 3600  # seconds; longer than any answer takes
LIVES_ON = 3600  # seconds after the end, for readers that come back
WAKE, STOP = "turns:wake", "turns:stop"
START = "0-0"

Redis = redis.asyncio.Redis


def key(turn_id: int) -> str:
    return f"turn:{turn_id}"


def connect() -> Redis:
    """A client that never repeats a command by itself: a repeated append would double text."""
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=2,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )


@cache
def _sync() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5, max_connections=20
    )


def wake(turn_id: int) -> None:
    """Tells a runner of a new turn. Runners look every second anyhow, so failing is no error."""
    try:
        with _sync().pipeline(transaction=False) as pipe:
            pipe.lpush(WAKE, turn_id)
            pipe.ltrim(WAKE, 0, 999)
            pipe.execute()
    except RedisError as exc:
        log.warning("wake_up_not_sent turn=%s problem=%s", turn_id, type(exc).__name__)


def restart(turn_id: int) -> None:
    """Drops the log of a turn that ended, so that no reader takes its end for the new one."""
    try:
        _sync().delete(key(turn_id))
    except RedisError as exc:
        log.warning("log_not_dropped turn=%s problem=%s", turn_id, type(exc).__name__)
    wake(turn_id)


def ask_stop(turn_id: int) -> None:
    """Tells the runner at once; it also sees the flag in the row when it renews its lease."""
    try:
        _sync().publish(STOP, turn_id)
    except RedisError as exc:
        log.warning("stop_not_sent turn=%s problem=%s", turn_id, type(exc).__name__)


async def append(client: Redis, appends: Sequence[tuple[int, Event]]) -> set[int]:
    """Writes events of many turns in one go; returns the turns whose log is not there any more.

    A reset begins a log anew; an end stands for itself, and lets the log live on for an hour.
    """
    pipe = client.pipeline(transaction=False)
    at = []
    for turn_id, event in appends:
        at.append(len(pipe))
        lives = {Kind.RESET: LIVES, Kind.END: LIVES_ON}.get(event.kind)
        fields: dict[Any, Any] = event.fields()
        pipe.xadd(key(turn_id), fields, nomkstream=lives is None)
        if lives:
            pipe.expire(key(turn_id), lives)
    results = await pipe.execute()
    return {turn_id for i, (turn_id, _) in zip(at, appends, strict=True) if results[i] is None}


async def woken(client: Redis, patience: float) -> None:
    """Returns when a new turn is announced, or after that many seconds."""
    await client.brpop([WAKE], timeout=patience)


async def stops() -> AsyncGenerator[int]:
    """The turns whose reader wants them stopped, as they ask."""
    async with connect() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(STOP)
        async for notice in channel.listen():
            yield int(notice["data"])


async def read_answer(client: Redis, turn_id: int) -> tuple[str, str]:
    """Text and reasoning by the log, for a runner that takes a turn over."""
    found: Any = await client.xrange(key(turn_id))
    return events.answer(Event.from_fields(fields) for _, fields in found)


@frozen
class Stored:
    """The message as Postgres has it: `html` of the text so far, or `end`, the finished parts."""

    html: str = ""
    reasoning: str = ""
    end: str = ""


class Reader:
    """One browser's place in one log."""

    def __init__(self, log_key: str, after: str) -> None:
        self.key = log_key
        self.after = after
        self._found: list[tuple[str, dict[str, str]]] = []
        self._news = asyncio.Event()

    def take(self, found: list[tuple[str, dict[str, str]]]) -> None:
        """Others may read the same log from an earlier place: only what is new here counts."""
        place = _place(self.after)
        fresh = found if _place(found[0][0]) > place else [f for f in found if _place(f[0]) > place]
        if fresh:
            self._found += fresh
            self.after = fresh[-1][0]
            self._news.set()

    async def next(self, patience: float) -> list[Event]:
        """What has come since the last time; empty after that many seconds of silence."""
        try:
            async with asyncio.timeout(patience):
                await self._news.wait()
        except TimeoutError:
            return []
        found, self._found = self._found, []
        self._news.clear()
        return [Event.from_fields(fields) for _, fields in found]

    def rewind(self) -> None:
        self._found, self.after = [], START
        self._news.clear()


class Hub:
    """Reads all the logs that anybody in this process follows, with one command each time."""

    def __init__(self) -> None:
        self._redis = connect()
        self._readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, reader: Reader) -> None:
        self._readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    async def exists(self, log_key: str) -> bool:
        try:
            return bool(await self._redis.exists(log_key))
        except (RedisError, OSError):
            return False

    async def _poll(self) -> None:
        down = False
        while self._readers:
            try:
                await self._look()
            except (RedisError, OSError) as exc:
                if not down:
                    log.warning("event_logs_unreachable problem=%s", type(exc).__name__)
                down = True
                await asyncio.sleep(0.5)
                continue
            if down:
                log.info("event_logs_reachable")
            down = False
            await asyncio.sleep(PACE)
        await self._redis.aclose()

    async def _look(self) -> None:
        places: dict[Any, Any] = {}
        for reader in self._readers:
            seen = places.get(reader.key)
            if seen is None or _place(reader.after) < _place(seen):
                places[reader.key] = reader.after
        answer: Any = await self._redis.xread(places)
        found = dict(answer)
        for reader in list(self._readers):
            if reader.key in found:
                reader.take(found[reader.key])


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def _hub() -> Hub:
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def _place(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number or 0)


def valid_place(event_id: str) -> str:
    """A browser's Last-Event-ID where it is one of ours; else empty: start afresh."""
    try:
        _place(event_id)
    except ValueError:
        return ""
    return event_id


def tail(
    turn_id: int, after: str, stored: Callable[[], Awaitable[Stored | None]]
) -> AsyncGenerator[bytes]:
    """What a browser that has seen the log up to `after` is to be sent."""
    return Tail(turn_id, after, stored).messages()


class Tail:
    """A turn as server-sent messages, from a place in its log to its end, whatever Redis does.

    `stored` gives the message as Postgres has it; None when Postgres cannot be asked just now.
    """

    def __init__(
        self, turn_id: int, after: str, stored: Callable[[], Awaitable[Stored | None]]
    ) -> None:
        self._turn_id = turn_id
        self._stored = stored
        self._reader = Reader(key(turn_id), valid_place(after) or START)
        # Whether the page shows the log from its beginning up to the reader's place.
        self._whole = self._reader.after != START
        self._shown = Stored()
        self._over = False

    async def messages(self) -> AsyncGenerator[bytes]:
        hub, now = _hub(), asyncio.get_running_loop().time
        spoke = heard = now()
        hub.join(self._reader)
        try:
            while not self._over and not stopping.is_set():
                message = self._news(await self._reader.next(1.0))
                if message:
                    heard = now()
                elif not await hub.exists(self._reader.key):
                    message = await self._ask_stored(lost=True)
                elif now() - heard > DOUBT_AFTER:
                    heard = now()
                    message = await self._ask_stored(lost=False)
                if not message and now() - spoke > KEEP_ALIVE_AFTER:
                    message = events.KEEP_ALIVE
                if message:
                    spoke = now()
                    yield message
            if self._over:
                yield events.DONE
        finally:
            hub.leave(self._reader)

    def _news(self, found: list[Event]) -> bytes:
        change = events.fold(found)
        if not found or not (self._whole or change.replace or change.end):
            return b""
        self._whole, self._over = True, bool(change.end)
        return events.message(self._turn_id, change, self._reader.after)

    async def _ask_stored(self, *, lost: bool) -> bytes:
        message = await self._stored()
        if message is None:
            return b""
        if message.end:
            self._over = True
            return events.sse(message.end, "")
        if not lost or message == self._shown:
            return b""
        # What the page is about to show is no place in a log: the next reset replaces it.
        self._whole, self._shown = False, message
        self._reader.rewind()
        change = events.Change(
            replace=True, html=[message.html], new_tail=True, reasoning=[message.reasoning]
        )
        return events.message(self._turn_id, change, "")
