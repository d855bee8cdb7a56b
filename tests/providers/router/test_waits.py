"""How long a request waits in all, and what a full queue means for it."""

import asyncio
from dataclasses import replace

from providers.domain.tuning import RULES
from providers.router.limits import ConcurrencyLimiter
from providers.router.waits import Waits
from tests import virtual_time


def test_all_its_waits_together_have_an_end() -> None:
    """Each shortens the next one, as does the deadline."""

    async def main() -> list[float]:
        waits, limiter, left = Waits(), ConcurrencyLimiter(8), []
        for _ in range(3):
            await waits.wait_out(limiter, RULES.queue_patience / 2.5)
            left.append(waits.seconds_left(600))
        assert asyncio.get_running_loop().time() == RULES.queue_patience / 2.5 * 3
        return [*left, Waits().seconds_left(1.5)]

    assert virtual_time.run(main()) == [18.0, 6.0, 0.0, 1.5]


def test_those_who_wait_for_a_cooldown_are_bounded_too() -> None:
    """They count with those in the queue; the others wait for nothing more."""

    async def main() -> list[tuple[bool, bool]]:
        limiter = ConcurrencyLimiter(1, replace(RULES, queue=3))

        async def one() -> tuple[bool, bool]:
            waits = Waits()
            return await waits.wait_out(limiter, 2.0), waits.seconds_left(60) > 0

        return await asyncio.gather(*(one() for _ in range(5)))

    assert virtual_time.run(main()) == [(True, True)] * 3 + [(False, False)] * 2


def test_each_wait_has_a_jitter_of_its_own() -> None:
    """Or those who wait together would all come at once."""

    async def main() -> tuple[float, float]:
        waits = Waits()
        first = waits.jitter
        await waits.wait_out(ConcurrencyLimiter(8), 1.0)
        return first, waits.jitter

    first, second = virtual_time.run(main())
    assert first != second
    assert 0 <= second <= RULES.repeat_within
