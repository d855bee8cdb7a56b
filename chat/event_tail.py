"""Follow a turn's event log as server-sent messages, from any place in it to its end.

Each process reads all the logs that its browsers follow with one command (`Hub`); each browser has
its place in one log (`Reader`); `Tail` turns what is read into messages, and takes the stored
message where Redis has lost the log or is silent.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from chat import event_log, events
from chat.events import Event
from providers.domain.frozen import frozen
from providers.event_loop.per_loop import PerLoop
from providers.infra.redis_client import blocking_client
from providers.infra.stopping import stopping

log = logging.getLogger(__name__)

POLL_SECONDS = 0.045  # between two reads of the logs; what arrives meanwhile is one message
RETRY_SECONDS = 0.5  # between two reads while Redis cannot be reached
KEEP_ALIVE_SECONDS = 10.0  # without a message; proxies close silent connections
CHECK_STORED_SECONDS = 5.0  # of silence, after which the stored message is read: it may have ended

type Entries = list[tuple[str, dict[str, str]]]


@frozen
class StoredMessage:
    """The message in Postgres: `html` of the text so far, or `end`, its finished parts."""

    html: str = ""
    reasoning: str = ""
    end: str = ""


class Reader:
    """One browser's place in one log."""

    def __init__(self, log_key: str, after: str) -> None:
        self.key = log_key
        self.after = after
        self._unread: Entries = []
        self._arrived = asyncio.Event()

    def take(self, entries: Entries) -> None:
        """Adds the entries after this reader's place; other readers may need earlier ones."""
        place = event_log.position(self.after)
        if event_log.position(entries[0][0]) > place:
            fresh = entries
        else:
            fresh = [entry for entry in entries if event_log.position(entry[0]) > place]
        if fresh:
            self._unread += fresh
            self.after = fresh[-1][0]
            self._arrived.set()

    async def next(self, timeout: float) -> list[Event]:
        """The events since the last call; empty after `timeout` seconds without one."""
        try:
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        except TimeoutError:
            return []
        entries, self._unread = self._unread, []
        self._arrived.clear()
        return [Event.from_fields(fields) for _, fields in entries]

    def rewind(self) -> None:
        self._unread, self.after = [], event_log.START
        self._arrived.clear()


class Hub:
    """Reads all the logs that this process's browsers follow, with one command each time."""

    def __init__(self) -> None:
        self._redis = blocking_client()
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
                await self._read()
            except (RedisError, OSError) as exc:
                if not down:
                    log.warning("event_logs_unreachable problem=%s", type(exc).__name__)
                down = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if down:
                log.info("event_logs_reachable")
            down = False
            await asyncio.sleep(POLL_SECONDS)
        await self._redis.aclose()

    async def _read(self) -> None:
        places: dict[Any, Any] = {}
        for reader in self._readers:
            first = places.get(reader.key)
            if first is None or event_log.position(reader.after) < event_log.position(first):
                places[reader.key] = reader.after
        answer: Any = await self._redis.xread(places)
        entries_by_log = dict(answer)
        for reader in list(self._readers):
            if reader.key in entries_by_log:
                reader.take(entries_by_log[reader.key])


_hubs = PerLoop(Hub)


def tail(
    turn_id: int, after: str, stored: Callable[[], Awaitable[StoredMessage | None]]
) -> AsyncGenerator[bytes]:
    """The messages for a browser that shows the log up to the entry `after`."""
    return Tail(turn_id, after, stored).messages()


class Tail:
    """Send a turn as server-sent messages, from a place in its log to its end. Redis may fail
    meanwhile.

    `stored` reads the message from PostgreSQL; it returns None while PostgreSQL is unavailable.
    """

    def __init__(
        self, turn_id: int, after: str, stored: Callable[[], Awaitable[StoredMessage | None]]
    ) -> None:
        self._turn_id = turn_id
        self._stored = stored
        self._reader = Reader(
            event_log.key(turn_id), event_log.valid_event_id(after) or event_log.START
        )
        # Whether the page shows the log from its beginning up to the reader's place.
        self._complete = self._reader.after != event_log.START
        self._shown = StoredMessage()
        self._over = False

    async def messages(self) -> AsyncGenerator[bytes]:
        hub, now = _hubs.current(), asyncio.get_running_loop().time
        sent_at = heard_at = now()
        hub.join(self._reader)
        try:
            while not self._over and not stopping.is_set():
                message = self._fold(await self._reader.next(1.0))
                if message:
                    heard_at = now()
                elif not await hub.exists(self._reader.key):
                    message = await self._read_stored(lost=True)
                elif now() - heard_at > CHECK_STORED_SECONDS:
                    heard_at = now()
                    message = await self._read_stored(lost=False)
                if not message and now() - sent_at > KEEP_ALIVE_SECONDS:
                    message = events.KEEP_ALIVE
                if message:
                    sent_at = now()
                    yield message
            if self._over:
                yield events.DONE
        finally:
            hub.leave(self._reader)

    def _fold(self, new_events: list[Event]) -> bytes:
        change = events.fold(new_events)
        if not new_events or not (self._complete or change.replace or change.end):
            return b""
        self._complete, self._over = True, bool(change.end)
        return events.message(self._turn_id, change, self._reader.after)

    async def _read_stored(self, *, lost: bool) -> bytes:
        message = await self._stored()
        if message is None:
            return b""
        if message.end:
            self._over = True
            return events.sse(message.end, "")
        if not lost or message == self._shown:
            return b""
        # What the page now shows is no place in a log: the next reset replaces it.
        self._complete, self._shown = False, message
        self._reader.rewind()
        change = events.Change(
            replace=True, html=[message.html], new_tail=True, reasoning=[message.reasoning]
        )
        return events.message(self._turn_id, change, "")
