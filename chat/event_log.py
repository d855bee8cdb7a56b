"""A turn's event log in Redis: append to it, read it, drop it.

The log is never the only copy: a lost log is replaced by the stored message, and `append` reports
the turns whose log is lost, so that their runner begins them again with a reset.

    turn:<id>     stream   the log; browsers send its entry ids back as Last-Event-ID
"""

from collections.abc import Sequence
from typing import Any

from chat import events
from chat.events import Event, EventKind
from providers.infra.redis_client import Redis

LOG_SECONDS = 24 * 3600  # longer than any answer takes
ENDED_LOG_SECONDS = 3600  # after the end, for readers that come back
START = "0-0"


def key(turn_id: int) -> str:
    return f"turn:{turn_id}"


async def append(client: Redis, appends: Sequence[tuple[int, Event]]) -> set[int]:
    """Writes events of many turns in one round trip; returns the turns whose log is lost.

    A reset creates the log. An end needs no log before it, and keeps the log for one more hour.
    """
    pipe = client.pipeline(transaction=False)
    positions = []
    for turn_id, event in appends:
        positions.append(len(pipe))
        seconds = {EventKind.RESET: LOG_SECONDS, EventKind.END: ENDED_LOG_SECONDS}.get(event.kind)
        fields: dict[Any, Any] = event.fields()
        pipe.xadd(key(turn_id), fields, nomkstream=seconds is None)
        if seconds:
            pipe.expire(key(turn_id), seconds)
    results = await pipe.execute()
    return {
        turn_id for i, (turn_id, _) in zip(positions, appends, strict=True) if results[i] is None
    }


async def read_answer(client: Redis, turn_id: int) -> tuple[str, str]:
    """Text and reasoning from the log, for a runner that takes a turn over."""
    entries: Any = await client.xrange(key(turn_id))
    return events.join_answer(Event.from_fields(fields) for _, fields in entries)


def position(event_id: str) -> tuple[int, int]:
    """An entry's id as numbers that compare. Raises ValueError where it is no id."""
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number or 0)


def valid_event_id(event_id: str) -> str:
    """A browser's Last-Event-ID where it is an entry's id; else empty: start from the beginning."""
    try:
        position(event_id)
    except ValueError:
        return ""
    return event_id
