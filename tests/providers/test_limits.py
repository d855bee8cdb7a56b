"""The retry budget of a process, and how many calls go out at once with one key."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from providers.errors import CallError
from providers.limits import Gate, RetryBudget
from providers.rules import RULES


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
    gate, order = Gate(2), []

    async def one(number: int) -> None:
        async with gate.entered(1):
            assert gate.busy <= 2
            order.append(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))
    assert gate.busy == 0


async def test_who_waits_too_long_is_told_to_come_back() -> None:
    """And leaves the queue."""
    gate = Gate(1)
    async with gate.entered(1):
        with pytest.raises(CallError) as caught:
            async with gate.entered(0.01):
                raise AssertionError("there was no place")
        assert caught.value.retry_after
    async with gate.entered(0.01):
        assert gate.busy == 1


async def test_the_queue_is_bounded() -> None:
    """A thousand waiting callers would all wait in vain."""
    gate = Gate(1, replace(RULES, queue=1))
    async with gate.entered(1):
        waiting = asyncio.create_task(_enter(gate))
        await asyncio.sleep(0)
        with pytest.raises(CallError, match="full"):
            await _enter(gate)
    await waiting


async def _enter(gate: Gate) -> None:
    async with gate.entered(1):
        pass


async def test_a_caller_who_leaves_the_queue_takes_no_place() -> None:
    """Also in the very moment when one becomes free."""
    gate = Gate(1)
    async with AsyncExitStack() as first:
        await first.enter_async_context(gate.entered(1))
        waiting = [asyncio.create_task(_enter(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await first.aclose()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert gate.busy == 0
    async with gate.entered(0.01):
        assert gate.busy == 1


async def test_a_429_halves_the_limit_and_good_calls_bring_it_back() -> None:
    """By one for each round, never beyond what was set."""
    gate = Gate(8)
    async with AsyncExitStack() as held:
        for _ in range(8):
            await held.enter_async_context(gate.entered(1))
        gate.shrink()
        assert gate.limit == 4
    for _ in range(200):
        gate.grow()
    assert gate.limit == 8
    for _ in range(10):
        gate.shrink()
    assert gate.limit == 1
