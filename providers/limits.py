"""What a process grants itself: how many retries, and how many calls at once with one key.

Both are of one process: a call must not wait for another machine's word before it goes out.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from providers.errors import CallError, ErrorKind
from providers.rules import RULES, Rules


class RetryBudget:
    """A bucket of retries: each request puts a tenth of one in, each retry takes a whole one out.

    So retries stay a tenth of the traffic where everything fails, and a few are always at hand.
    """

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self.left = rules.budget_floor

    def earn(self) -> None:
        self.left = min(self.left + self._rules.budget_share, self._rules.budget_most)

    def spend(self) -> bool:
        """Takes one retry; False where there is none left."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Gate:
    """How many calls go out at once with one key: fewer after a 429, more again after good ones.

    Additive increase, multiplicative decrease, as TCP does it (RFC 5681). Who comes too many waits
    in a bounded queue.
    """

    def __init__(self, most: int, rules: Rules = RULES) -> None:
        self._rules = rules
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.limit = float(most)
        self.busy = 0

    @asynccontextmanager
    async def entered(self, patience: float) -> AsyncGenerator[None]:
        """A place for one call. Raises CallError (overloaded) where none is free within `patience`
        seconds, or the queue is full."""
        if self.busy < int(self.limit):
            self.busy += 1
        else:
            await self._wait(min(patience, self._rules.queue_patience))
        try:
            yield
        finally:
            self._leave()

    def allow(self, most: int) -> None:
        """What the operator set; a change holds from the next call on."""
        if most != self._most:
            self._most, self.limit = most, float(most)

    def shrink(self) -> None:
        """The upstream said that it was too many."""
        self.limit = max(1.0, min(self.limit, self.busy or 1) * self._rules.shrink)

    def grow(self) -> None:
        """One call went well; as many as fit at once make the limit one larger."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    async def _wait(self, patience: float) -> None:
        if len(self._waiting) >= self._rules.queue:
            raise _full("The queue for this provider's key is full.")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(patience):
                await place
        except TimeoutError:
            self._give_up(place)
            problem = f"No place for this provider's key became free in {patience:.0f} s."
            raise _full(problem) from None
        except asyncio.CancelledError:
            self._give_up(place)
            raise

    def _give_up(self, place: asyncio.Future[None]) -> None:
        """Leaves the queue; a place that was given in the same moment goes to the next one."""
        if place.done() and not place.cancelled():
            self._leave()
        elif place in self._waiting:
            self._waiting.remove(place)

    def _leave(self) -> None:
        """Frees a place; whoever waits longest has it, if the limit did not shrink below."""
        self.busy -= 1
        while self._waiting and self.busy < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():
                self.busy += 1
                place.set_result(None)


def _full(message: str) -> CallError:
    return CallError(
        ErrorKind.OVERLOADED, message, code="too_many_at_once", retry_after=1.0, sent=False
    )
