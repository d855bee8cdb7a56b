"""A request's waits at rate-limited keys: how often it was sent again, how long it waited in all.

It waits in the queue of the key (limits.ConcurrencyLimiter), or beside it for the end of a short
cooldown. Whether it waits at all is decided by `providers.policy.next_step`.
"""

import math
import random

from providers.domain.errors import CallError
from providers.domain.tuning import RULES, Rules
from providers.router.limits import ConcurrencyLimiter


class Waits:
    """Those of one request. `repeats` counts the calls that were sent again after a 429; `jitter`
    is added to the next wait."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self.repeats = 0
        self.seconds = 0.0  # in queues and cooldowns
        self.jitter = self._draw_jitter()

    def seconds_left(self, remaining: float) -> float:
        """How long the request may still wait, with `remaining` seconds to its deadline."""
        return min(remaining, max(0.0, self._rules.queue_patience - self.seconds))

    def pause(self, remaining: float, *, elsewhere: bool) -> float:
        """How long a pause of the key is waited for: not for long where another key is left."""
        return self._rules.repeat_within if elsewhere else self.seconds_left(remaining)

    async def wait_out(self, limiter: ConcurrencyLimiter, seconds: float) -> bool:
        """Wait beside the queue of the key. False where that is full: the request then waits for
        nothing more."""
        self.jitter = self._draw_jitter()
        try:
            await limiter.wait_out(seconds)
        except CallError:
            self.seconds = math.inf
            return False
        self.seconds += seconds
        return True

    def _draw_jitter(self) -> float:
        return random.uniform(0, self._rules.repeat_within)  # noqa: S311 - not a secret
