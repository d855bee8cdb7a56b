"""How often a request goes again after a 429, and how long it waits in all."""

import asyncio
from dataclasses import replace

import pytest

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES
from providers.router.limits import ConcurrencyLimiter
from providers.router.waits import Waits
from tests import virtual_time

LIMITED = CallError(ErrorKind.RATE_LIMIT, "x", status=429)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LIMITED, True),
        (CallError(ErrorKind.RATE_LIMIT, "x", retry_after=2.0), False),
        (CallError(ErrorKind.RATE_LIMIT, "x", sent=False), False),
        (CallError(ErrorKind.OVERLOADED, "x", status=503), False),
    ],
    ids=["no wait named", "a wait named", "refused by our own queue", "another failure"],
)
def test_only_a_429_that_names_no_wait_goes_back_to_the_queue(
    error: CallError, expected: bool
) -> None:
    """The others have rules of their own."""

    async def main() -> bool:
        return Waits().may_queue(error, ConcurrencyLimiter(8), 60)

    assert virtual_time.run(main()) is expected


def test_a_request_goes_out_so_often_and_no_more() -> None:
    """Five times in all."""

    async def main() -> int:
        waits, gate, calls = Waits(), ConcurrencyLimiter(8), 1
        while waits.may_queue(LIMITED, gate, 60):
            waits.repeats += 1
            calls += 1
        return calls

    assert virtual_time.run(main()) == RULES.throttles


def test_all_its_waits_together_have_an_end() -> None:
    """Short cooldowns, one after the other."""

    async def main() -> float:
        waits, gate, loop = Waits(), ConcurrencyLimiter(8), asyncio.get_running_loop()
        while await waits.wait_out(gate, 2.0, 600):
            pass
        return loop.time()

    assert RULES.queue_patience - 3 <= virtual_time.run(main()) <= RULES.queue_patience


@pytest.mark.parametrize(("cooldown", "remaining"), [(3.1, 60), (2.0, 1.5), (20.0, 60)])
def test_a_cooldown_that_is_too_long_is_not_waited_for(cooldown: float, remaining: float) -> None:
    """Longer than `longest_wait`, or than there is time."""

    async def main() -> tuple[bool, float]:
        waited = await Waits().wait_out(ConcurrencyLimiter(8), cooldown, remaining)
        return waited, asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == (False, 0.0)


def test_those_who_wait_for_a_cooldown_are_bounded_too() -> None:
    """They count with those in the queue."""

    async def main() -> list[bool]:
        gate = ConcurrencyLimiter(1, replace(RULES, queue=3))
        return await asyncio.gather(*(Waits().wait_out(gate, 2.0, 60) for _ in range(5)))

    assert virtual_time.run(main()) == [True, True, True, False, False]
