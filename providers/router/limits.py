"""The limits of one process: how many retries, and how many calls at once with one key.

Each process counts for itself: a call must not wait for another machine before it goes out.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES, Rules


class RetryBudget:
    """A bucket of retries: each request adds a tenth of one, each retry takes one.

    So retries stay a tenth of the traffic where everything fails, and a few are always at hand.
    """

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self.left = rules.budget_floor

    def earn(self) -> None:
        self.left = min(self.left + self._rules.budget_share, self._rules.budget_most)

    def spend(self) -> bool:
        """Take one retry; False where there is none left."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class ConcurrencyLimiter:
    """Limit the calls under way with one key: fewer after a 429, more again after good ones.

    Additive increase, multiplicative decrease, as TCP does it (RFC 5681). A 429 also pauses the
    key, for as long as the provider says, else for twice as long each time in a row. Callers wait
    in a bounded queue; once waiting is hopeless they are refused at once.
    """

    def __init__(self, most: int, rules: Rules = RULES) -> None:
        self._rules = rules
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sleeping = 0  # callers in wait_out
        self._round = 0  # of calls that knew of the last 429 as they went out
        self._throttled = 0  # 429s in a row
        self._paused_until = 0.0  # on the event loop's clock
        self._pause_end: asyncio.TimerHandle | None = None
        self._hopeless = False
        self.limit = float(most)
        self.busy = 0

    def slot(self, seconds: float, pause: float | None = None) -> "_Slot":
        """Hold a slot for one call; gives the round that on_throttled and on_success take.

        Raises CallError: overloaded where no slot is free within `seconds`, or the queue is full;
        rate_limit where the key is paused for longer than `pause` seconds (`seconds` by default).
        """
        return _Slot(self, seconds, seconds if pause is None else pause)

    async def enter(self, seconds: float, pause: float) -> int:
        """Take a slot, as `slot` does; returns the round."""
        seconds = min(seconds, self._rules.queue_patience)
        if self._paused_until:
            self._refuse_if_hopeless(min(pause, seconds))
        if self._waiting or not self._has_room:
            await self._wait(seconds)
        else:
            self.busy += 1
        return self._round

    def leave(self) -> None:
        """Give a slot to who waits longest."""
        self.busy -= 1
        if self._waiting:
            self._admit()

    async def wait_out(self, seconds: float) -> None:
        """Wait beside the queue for the end of the key's cooldown. Raises CallError (overloaded)
        where too many wait already."""
        if len(self._waiting) + self._sleeping >= self._rules.queue:
            raise _full_error("The queue for this provider's key is full.")
        self._sleeping += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._sleeping -= 1

    def set_limit(self, most: int) -> None:
        """Set the operator's limit; a change holds from the next call on."""
        if most != self._most:
            self._most, self.limit = most, float(most)

    def on_throttled(
        self, round_: int, wait: float | None = None, jitter: float | None = None
    ) -> None:
        """A call got a 429, with a `wait` in seconds where the provider stated one.

        What went out before the last 429 was known says nothing new. `jitter` in -1..1 is drawn
        where it is not given.
        """
        if round_ == self._round:
            self._round += 1
            self._throttled += 1
            self.limit = max(1.0, min(self.limit, self.busy or 1) * self._rules.shrink)
        elif not wait:
            return
        if wait and wait > self._rules.longest_wait:
            self._refuse_waiting(wait)  # the breaker keeps further calls away
            return
        self._pause(wait or self._backoff(jitter))
        self._hopeless = self._throttled >= self._rules.throttles
        if self._hopeless:
            self._refuse_waiting(self.pause_left)

    def on_success(self, round_: int) -> None:
        """One call went well; as many as fit at once make the limit one larger."""
        if round_ == self._round:
            self._throttled, self._hopeless = 0, False
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    @property
    def pause_left(self) -> float:
        """Seconds until a call may go out."""
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    @property
    def seconds_to_wait(self) -> float:
        """The same; infinite where callers are refused for now."""
        return math.inf if self.is_hopeless else self.pause_left

    @property
    def is_hopeless(self) -> bool:
        """Whether to refuse callers for now instead of letting them wait."""
        return self._hopeless and self.pause_left > 0

    @property
    def _has_room(self) -> bool:
        return self.busy < int(self.limit) and not (self._paused_until and self.pause_left)

    def _backoff(self, jitter: float | None) -> float:
        pause = self._rules.pause * 2.0 ** min(self._throttled - 1, 16)
        drawn = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311 - not a secret
        return min(pause, self._rules.longest_pause) * (1 + self._rules.jitter * drawn)

    def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._paused_until = max(self._paused_until, loop.time() + seconds)
        if self._pause_end:
            self._pause_end.cancel()
        self._pause_end = loop.call_at(self._paused_until, self._end_pause)

    def _end_pause(self) -> None:
        """End the pause without a look at the clock: a loop rounds its timers (uvloop's: to whole
        milliseconds), and a call a moment too early would leave everybody waiting."""
        self._paused_until = 0.0
        self._admit()

    def _refuse_if_hopeless(self, pause: float) -> None:
        if self.is_hopeless or self.pause_left > pause:
            raise _throttled_error(self.pause_left)

    def _refuse_waiting(self, wait: float) -> None:
        for slot in self._waiting:
            if not slot.done():
                slot.set_exception(_throttled_error(wait))
        self._waiting.clear()

    async def _wait(self, seconds: float) -> None:
        if len(self._waiting) + self._sleeping >= self._rules.queue:
            raise _full_error("The queue for this provider's key is full.")
        try:
            async with asyncio.timeout(seconds):
                await self._wait_for_slot(self._waiting.append)
                while self.pause_left:  # it began as the slot was given
                    self.busy -= 1
                    await self._wait_for_slot(self._waiting.appendleft)
        except TimeoutError:
            problem = f"Concurrency limit reached: no free slot within {seconds:.0f} s."
            raise _full_error(problem) from None

    async def _wait_for_slot(self, queue: Callable[[asyncio.Future[None]], None]) -> None:
        """Wait in the queue for a slot."""
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue(slot)
        try:
            await slot
        except asyncio.CancelledError:
            self._give_up(slot)
            raise

    def _give_up(self, slot: asyncio.Future[None]) -> None:
        """Leave the queue; a slot that was given in the same moment goes to the next one."""
        if slot in self._waiting:
            self._waiting.remove(slot)
        elif slot.done() and not slot.cancelled() and not slot.exception():
            self.leave()

    def _admit(self) -> None:
        """Give free slots to those who wait longest, unless the limit shrank or a pause holds."""
        while self._waiting and self._has_room:
            slot = self._waiting.popleft()
            if not slot.done():
                self.busy += 1
                slot.set_result(None)


class _Slot:
    """A slot of a limiter for the time of a block."""

    def __init__(self, limiter: ConcurrencyLimiter, seconds: float, pause: float) -> None:
        self._limiter = limiter
        self._seconds = seconds
        self._pause = pause

    async def __aenter__(self) -> int:
        return await self._limiter.enter(self._seconds, self._pause)

    async def __aexit__(self, *exc: object) -> None:
        self._limiter.leave()


def _full_error(message: str) -> CallError:
    return CallError(
        ErrorKind.OVERLOADED, message, code="too_many_at_once", retry_after=1.0, sent=False
    )


def _throttled_error(wait: float) -> CallError:
    return CallError(
        ErrorKind.RATE_LIMIT,
        "The provider limits the rate of calls with this key; no call was sent.",
        code="rate_limited",
        retry_after=max(1.0, wait),
        sent=False,
    )
