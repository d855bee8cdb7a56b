"""Each event loop has an object of its own, which ends with it."""

import asyncio

import pytest

from providers.event_loop.per_loop import PerLoop


class Session:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = 0

    async def close(self) -> None:
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is self.loop
        self.closed += 1


async def use(sessions: PerLoop[Session]) -> Session:
    first = sessions.current()
    await asyncio.sleep(0)
    assert sessions.current() is first
    return first


@pytest.mark.parametrize("closes", [True, False])
def test_each_loop_has_its_own(closes: bool) -> None:
    """The same one for as long as the loop runs; then it is closed, and forgotten."""
    sessions = PerLoop(Session, Session.close if closes else None)
    one, two = asyncio.run(use(sessions)), asyncio.run(use(sessions))
    assert one is not two
    assert [one.closed, two.closed] == [closes, closes]
    assert one.loop not in sessions
    assert (two.loop in sessions) is not closes


def test_it_can_be_closed_early() -> None:
    """The next one is new, and each is closed once."""
    sessions = PerLoop(Session, Session.close)

    async def run() -> tuple[Session, Session]:
        await sessions.close()  # nothing to do yet
        one = await use(sessions)
        await sessions.close()
        return one, await use(sessions)

    one, two = asyncio.run(run())
    assert one is not two
    assert [one.closed, two.closed] == [1, 1]


def test_it_can_be_taken_out() -> None:
    """The caller that takes it closes it."""
    sessions = PerLoop(Session)

    async def run() -> tuple[Session, Session | None, Session | None]:
        return await use(sessions), sessions.pop(), sessions.pop()

    one, taken, nothing = asyncio.run(run())
    assert taken is one
    assert nothing is None


def test_another_loop_of_the_same_process_is_not_disturbed() -> None:
    """A thread's loop may end while the server's goes on."""
    sessions = PerLoop(Session, Session.close)

    async def outer() -> Session:
        own = await use(sessions)
        other = await asyncio.to_thread(asyncio.run, use(sessions))
        assert other is not own
        assert other.closed == 1
        assert sessions.current() is own
        assert own.closed == 0
        return own

    assert asyncio.run(outer()).closed == 1
