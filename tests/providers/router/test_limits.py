"""The retry budget of a process, and how many calls go out at once with one key."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES
from providers.router.limits import ConcurrencyLimiter, RetryBudget
from tests import virtual_time


def test_retries_are_a_tenth_of_the_requests() -> None:
    """And a few at hand from the start."""
    budget = RetryBudget()
    first = sum(budget.spend() for _ in range(100))
    assert first == RULES.budget_floor
    for _ in range(1000):
        budget.earn()
    assert sum(budget.spend() for _ in range(1000)) == pytest.approx(100, abs=1)


async def test_no_more_calls_than_the_limit_are_under_way() -> None:
    """The next one goes as soon as one is done, in the order in which they came."""
    limiter, order = ConcurrencyLimiter(2), []

    async def one(number: int) -> None:
        async with limiter.slot(1):
            assert limiter.busy <= 2
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))
    assert limiter.busy == 0


async def test_a_caller_who_waits_too_long_gets_a_retry_after() -> None:
    """And leaves the queue."""
    limiter = ConcurrencyLimiter(1)
    async with limiter.slot(1):
        with pytest.raises(CallError) as caught:
            async with limiter.slot(0.01):
                raise AssertionError("there was no place")
        assert caught.value.retry_after
    async with limiter.slot(0.01):
        assert limiter.busy == 1


async def test_the_queue_is_bounded() -> None:
    """A thousand waiting callers would all wait in vain."""
    limiter = ConcurrencyLimiter(1, replace(RULES, queue=1))
    async with limiter.slot(1):
        waiting = asyncio.create_task(_take_slot(limiter))
        await asyncio.sleep(0)
        with pytest.raises(CallError, match="full"):
            await _take_slot(limiter)
    await waiting


async def _take_slot(limiter: ConcurrencyLimiter, seconds: float = 1) -> None:
    async with limiter.slot(seconds):
        pass


async def test_a_caller_who_leaves_the_queue_takes_no_place() -> None:
    """Also in the very moment when one becomes free."""
    limiter = ConcurrencyLimiter(1)
    async with AsyncExitStack() as first:
        await first.enter_async_context(limiter.slot(1))
        waiting = [asyncio.create_task(_take_slot(limiter)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await first.aclose()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert limiter.busy == 0
    async with limiter.slot(0.01):
        assert limiter.busy == 1


async def test_a_429_halves_the_limit_and_good_calls_bring_it_back() -> None:
    """By one for each round, never beyond what was set."""
    limiter = ConcurrencyLimiter(8)
    async with AsyncExitStack() as held:
        for _ in range(8):
            await held.enter_async_context(limiter.slot(1))
        limiter.on_throttled(0)
        assert limiter.limit == 4
    for _ in range(200):
        limiter.on_success(1)
    assert limiter.limit == 8
    for round_ in range(1, 11):
        limiter.on_throttled(round_)
    assert limiter.limit == 1


def test_a_wave_of_429s_counts_once() -> None:
    """Fifty calls that went out together say no more than the first of them."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(64)
        async with AsyncExitStack() as held:
            rounds = [await held.enter_async_context(limiter.slot(1)) for _ in range(50)]
            for round_ in rounds:
                limiter.on_throttled(round_, jitter=0)
            assert limiter.limit == 25
            assert limiter.pause_left == RULES.pause
            limiter.on_success(rounds[0])
            assert not limiter.is_hopeless

    virtual_time.run(main())


async def _throttle(limiter: ConcurrencyLimiter, times: int) -> None:
    """So many 429s in a row, each of a call that knew of the one before."""
    for _ in range(times):
        async with limiter.slot(60) as round_:
            limiter.on_throttled(round_, jitter=0)


def test_each_429_in_a_row_pauses_for_twice_as_long_up_to_a_cap() -> None:
    """A good answer starts again with the shortest."""

    async def main() -> list[float]:
        limiter, pauses = ConcurrencyLimiter(8, replace(RULES, throttles=99)), []
        for _ in range(7):
            await _throttle(limiter, 1)
            pauses.append(limiter.pause_left)
        async with limiter.slot(60) as round_:
            limiter.on_success(round_)
        await _throttle(limiter, 1)
        return [*pauses, limiter.pause_left]

    assert virtual_time.run(main()) == pytest.approx([0.5, 1, 2, 4, 8, 8, 8, 0.5])


def test_waiting_is_hopeless_after_so_many_429s_in_a_row() -> None:
    """Whoever waits is refused at once, and until the pause ends; then one call finds out."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(8)
        await _throttle(limiter, RULES.throttles - 1)
        async with limiter.slot(60) as round_:
            waiting = [asyncio.create_task(_take_slot(limiter, 30)) for _ in range(3)]
            await asyncio.sleep(0)
            limiter.on_throttled(round_, jitter=0)
        waiting.append(asyncio.create_task(_take_slot(limiter, 30)))
        for caught in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(caught, CallError)
            assert (caught.kind, caught.code) == (ErrorKind.RATE_LIMIT, "rate_limited")
            assert caught.retry_after == pytest.approx(8, abs=1)
        await virtual_time.elapse(8)
        async with limiter.slot(0) as round_:
            limiter.on_success(round_)
        assert not limiter.is_hopeless

    virtual_time.run(main())


def test_a_long_stated_wait_refuses_all_who_wait() -> None:
    """Nobody goes out before its end by having queued earlier."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(1)
        async with limiter.slot(1) as round_:
            waiting = [asyncio.create_task(_take_slot(limiter, 30)) for _ in range(5)]
            await asyncio.sleep(0)
            limiter.on_throttled(round_, 20)
        for caught in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(caught, CallError)
            assert caught.retry_after == 20

    virtual_time.run(main())


def test_a_short_stated_wait_is_waited_for() -> None:
    """And not broken by those in the queue."""

    async def main() -> float:
        limiter, loop = ConcurrencyLimiter(1), asyncio.get_running_loop()
        async with limiter.slot(1) as round_:
            waiting = asyncio.create_task(_take_slot(limiter, 30))
            await asyncio.sleep(0)
            limiter.on_throttled(round_, 2)
        await waiting
        return loop.time()

    assert virtual_time.run(main()) == pytest.approx(2)


def test_a_pause_that_is_longer_than_a_caller_waits_refuses_it_at_once() -> None:
    """It may have another key to try."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(8)
        await _throttle(limiter, 3)
        with pytest.raises(CallError, match="rate"):
            async with limiter.slot(60, pause=0.5):
                raise AssertionError("there was no place")
        async with limiter.slot(60, pause=3):
            assert limiter.busy == 1

    virtual_time.run(main())


@given(
    st.lists(st.tuples(st.sampled_from(["ok", "429", "stated", "left"]), st.integers(0, 30))),
    st.integers(1, 9),
)
def test_whatever_happens_the_limit_holds_and_no_place_is_lost(
    calls: list[tuple[str, int]], most: int
) -> None:
    """Never more calls than allowed, none during a pause, and all places are free at the end."""

    async def call(limiter: ConcurrencyLimiter, outcome: str, tenths: int) -> None:
        await virtual_time.elapse(tenths / 10)
        async with limiter.slot(30) as round_:
            assert limiter.busy <= most
            assert not limiter.pause_left
            await virtual_time.elapse(0.3)
            if outcome == "ok":
                limiter.on_success(round_)
            elif outcome != "left":
                limiter.on_throttled(round_, 2.0 if outcome == "stated" else None)

    async def main() -> None:
        limiter = ConcurrencyLimiter(most)
        tasks = [asyncio.create_task(call(limiter, *each)) for each in calls]
        for task, (outcome, _) in zip(tasks, calls, strict=True):
            if outcome == "left":
                asyncio.get_running_loop().call_later(1.0, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, (CallError, asyncio.CancelledError))
        assert limiter.busy == 0

    virtual_time.run(main())


def test_five_429s_among_254_answers_fail_none_of_300_requests() -> None:
    """Ten requests a second with one key: each 429 is waited out, and no wait is long."""
    bad = {20, 71, 122, 173, 224}  # of the upstream's answers, counted from 1

    async def main() -> tuple[int, float]:
        limiter, answers, longest = ConcurrencyLimiter(256), itertools.count(1), 0.0
        loop = asyncio.get_running_loop()

        async def one(number: int) -> None:
            nonlocal longest
            await virtual_time.elapse(number / 10)
            came = loop.time()
            for _ in range(RULES.throttles):
                async with limiter.slot(30) as round_:
                    await virtual_time.elapse(0.8)
                    if next(answers) not in bad:
                        limiter.on_success(round_)
                        longest = max(longest, loop.time() - came)
                        return
                    limiter.on_throttled(round_)
            raise AssertionError("refused")

        await asyncio.gather(*(one(number) for number in range(300)))
        return next(answers) - 1, longest

    calls, longest = virtual_time.run(main())
    assert calls == 305
    assert longest < 8


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_pause_ends_on_whichever_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """uvloop rounds its timers to milliseconds: one that came early would let nobody in."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(8, replace(RULES, throttles=100))
        for number in range(1, 20):
            async with limiter.slot(10) as round_:
                limiter.on_throttled(round_, wait=0.002 + number * 0.00005)
        async with limiter.slot(10):
            assert limiter.busy == 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
