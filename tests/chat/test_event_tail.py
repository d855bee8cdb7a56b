"""A reader gets every event exactly once, and the whole answer even where the log is lost."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import redis
from pytest_django import Settings

from chat import event_log, event_tail
from chat.event_tail import StoredMessage
from chat.events import Event, EventKind
from providers.event_loop.per_loop import PerLoop
from providers.infra.redis_client import blocking_client
from tests.polling import until

END = Event(kind=EventKind.END, html="<p>finished</p>")


async def nothing() -> StoredMessage | None:
    """Postgres has the question and no word of the answer yet."""
    return StoredMessage()


async def write(*events: Event, turn_id: int = 7) -> set[int]:
    async with blocking_client() as client:
        return await event_log.append(client, [(turn_id, event) for event in events])


class Page:
    """A browser: applies messages and remembers the last id, as hx-sse does."""

    def __init__(self, stored: Callable[[], Awaitable[StoredMessage | None]] = nothing) -> None:
        self.blocks = self.tail = self.last_id = ""
        self.messages: list[str] = []
        self.done = False
        self._stored = stored
        self._stream: AsyncGenerator[bytes] | None = None

    async def follow(self, most: int = 100) -> None:
        self._stream = event_tail.tail(7, self.last_id, self._stored)
        async for chunk in self._stream:
            self._apply(chunk.decode())
            most -= 1
            if not most:
                break
        await self._stream.aclose()

    def _apply(self, text: str) -> None:
        self.messages.append(text)
        self.done = text.startswith("event: done")
        if match := re.match("id: ?(.*)\n", text):
            self.last_id = match[1]
        text = text.replace("\ndata: ", "\n")
        part = '<hx-partial hx-target="#{}-7" hx-swap="{}">(.*?)</hx-partial>'
        for name, swap in (("blocks", "innerHTML"), ("blocks", "beforeend")):
            if found := re.search(part.format(name, swap), text, re.S):
                self.blocks = ("" if swap == "innerHTML" else self.blocks) + found[1]
        if found := re.search(part.format("tail", "outerHTML"), text, re.S):
            self.tail = re.sub("</?div[^>]*>", "", found[1])
        if found := re.search(part.format("tail", "beforeend"), text, re.S):
            self.tail += found[1]


async def test_a_reader_gets_what_was_written_and_what_is_still_coming() -> None:
    """The log's past comes as one message, its future as it happens, and then the end."""
    await write(Event(kind=EventKind.RESET), Event(kind=EventKind.TAIL, text="Hel"))
    page = Page()
    reading = asyncio.create_task(page.follow())
    await until(lambda: page.tail == "Hel")
    await write(Event(kind=EventKind.TAIL, text="lo"))
    await until(lambda: page.tail == "Hello")
    await write(END)
    await reading
    assert page.done
    assert len(page.messages) == 4


@pytest.mark.parametrize("seen", range(1, 12, 3))
async def test_resuming_from_any_place_repeats_and_leaves_out_nothing(seen: int) -> None:
    """A connection that broke after any message goes on with the next event."""
    await write(Event(kind=EventKind.RESET))
    page = Page()
    pieces = [Event(kind=EventKind.TAIL, text=f"{n} ") for n in range(5)]
    pieces += [Event(kind=EventKind.BLOCK, text="x", html="<p>0 1 2 3 4</p>", tail="")]
    pieces += [Event(kind=EventKind.TAIL, text=f"{n} ") for n in range(5, 9)]
    reading = asyncio.create_task(page.follow(most=min(seen, 10)))
    for number, piece in enumerate(pieces, start=1):
        await until(lambda: reading.done() or len(page.messages) == number)  # noqa: B023
        await write(piece)
    assert reading.done()
    rest = asyncio.create_task(page.follow())
    await until(lambda: page.tail == "5 6 7 8 ")
    await write(END)
    await rest
    assert (page.blocks, page.tail) == ("<p>0 1 2 3 4</p>", "5 6 7 8 ")
    assert page.done


async def test_two_readers_of_one_log_each_get_all_of_it() -> None:
    """The second one joins late and starts at the beginning."""
    await write(Event(kind=EventKind.RESET), Event(kind=EventKind.TAIL, text="a"))
    first, second = Page(), Page()
    readings = [asyncio.create_task(first.follow())]
    await until(lambda: first.tail == "a")
    readings.append(asyncio.create_task(second.follow()))
    await until(lambda: second.tail == "a")
    await write(Event(kind=EventKind.TAIL, text="b"))
    await until(lambda: first.tail == second.tail == "ab")
    await write(END)
    await asyncio.gather(*readings)
    assert (first.tail, second.tail) == ("ab", "ab")


async def test_a_reset_replaces_what_the_page_shows(clean_redis: "redis.Redis") -> None:
    """A log that begins again starts with the whole state; nothing doubles."""
    await write(Event(kind=EventKind.RESET), Event(kind=EventKind.TAIL, text="Hello wor"))
    page = Page()
    reading = asyncio.create_task(page.follow())
    await until(lambda: page.tail == "Hello wor")
    clean_redis.flushdb()
    await write(Event(kind=EventKind.RESET, text="Hello world", tail="Hello world"))
    await until(lambda: page.tail == "Hello world")
    await write(END)
    await reading


async def test_without_a_log_the_stored_message_is_shown_until_it_is_finished() -> None:
    """Redis lost everything and nobody writes: Postgres alone has the answer."""
    states = [
        StoredMessage(html="<p>one</p>"),
        None,
        StoredMessage(html="<p>one two</p>"),
        StoredMessage(end="end"),
    ]
    page = Page(lambda: asyncio.sleep(0, states.pop(0)))
    await page.follow()
    assert page.blocks == "<p>one two</p>"
    assert "data: end" in page.messages[-2]
    assert page.done


async def test_a_page_that_shows_the_stored_message_starts_afresh() -> None:
    """Its place in the log means nothing any more: the empty id says so to the browser."""
    page = Page(lambda: asyncio.sleep(0, StoredMessage(html="<p>saved</p>")))
    page.last_id = "5-0"
    reading = asyncio.create_task(page.follow())
    await until(lambda: page.blocks == "<p>saved</p>")
    assert page.last_id == ""
    await write(Event(kind=EventKind.RESET, html="<p>live</p>", tail="x"))
    await until(lambda: page.tail == "x")
    await write(END)
    await reading
    assert page.blocks == "<p>live</p>"


async def test_a_finished_turn_whose_log_expired_ends_at_once() -> None:
    """Who comes back late gets the finished message and done."""
    page = Page(lambda: asyncio.sleep(0, StoredMessage(end="end")))
    await page.follow()
    assert len(page.messages) == 2
    assert page.done


async def test_an_end_that_was_never_logged_is_found_in_postgres(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log is there but silent: after some seconds the row is read."""
    monkeypatch.setattr(event_tail, "CHECK_STORED_SECONDS", 0.5)
    await write(Event(kind=EventKind.RESET))
    page = Page(lambda: asyncio.sleep(0, StoredMessage(end="end")))
    await page.follow()
    assert page.done


async def test_silence_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that thinks for a minute must not look like a dead connection."""
    monkeypatch.setattr(event_tail, "KEEP_ALIVE_SECONDS", 0.5)
    await write(Event(kind=EventKind.RESET))
    page = Page()
    await page.follow(most=2)
    assert page.messages[-1].startswith(":")


async def test_a_reader_that_leaves_is_forgotten() -> None:
    """Nothing is read for it any more."""
    await write(Event(kind=EventKind.RESET))
    page = Page()
    await page.follow(most=1)
    assert not event_tail._hubs.current()._readers


async def test_without_redis_postgres_reports_the_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away from the first moment on: logged once, noticed by nobody else."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(event_tail, "_hubs", PerLoop(event_tail.Hub))
    states = [StoredMessage(html="<p>one</p>"), StoredMessage(end="end")]
    page = Page(lambda: asyncio.sleep(0, states.pop(0)))
    await page.follow()
    assert page.blocks == "<p>one</p>"
    assert page.done


async def test_an_id_that_is_not_ours_means_from_the_start() -> None:
    """Last-Event-ID comes from outside."""
    await write(Event(kind=EventKind.RESET), Event(kind=EventKind.TAIL, text="all"), END)
    page = Page()
    page.last_id = "x'; drop"
    await page.follow()
    assert "finished" in page.messages[0]
