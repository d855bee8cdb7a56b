"""A request's waits at rate-limited keys: how often it goes again, and how long it waits in all.

It waits in the queue of the key (limits.Gate), or beside it for the end of a short cooldown.
"""

import random

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES, Rules
from providers.router.limits import ConcurrencyLimiter


class Waits:
    """Those of one request. `repeats` counts the calls that went out again after a 429."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self.repeats = 0
        self.seconds = 0.0  # seconds in queues and cooldowns

    def seconds_left(self, remaining: float) -> float:
        """How long the request may still wait, with `remaining` seconds to its deadline."""
        return min(remaining, max(0.0, self._rules.queue_patience - self.seconds))

    def pause(self, remaining: float, *, elsewhere: bool) -> float:
        """How long a pause of the key is waited for: not for long where another key is left."""
        return self._rules.repeat_within if elsewhere else self.seconds_left(remaining)

    @property
    def _is_last(self) -> bool:
        return self.repeats + 1 >= self._rules.throttles

    def may_queue(self, error: CallError, gate: ConcurrencyLimiter, remaining: float) -> bool:
        """Whether to go back to the queue after this error: a 429 that names no wait."""
        if error.kind != ErrorKind.RATE_LIMIT or not error.sent or error.retry_after:
            return False
        hopeless = gate.is_hopeless or gate.pause_left > self.seconds_left(remaining)
        return not (self._is_last or hopeless)

    async def wait_out(self, gate: ConcurrencyLimiter, cooldown: float, remaining: float) -> bool:
        """Waits for the end of the key's cooldown, in seconds; False at once where that is too
        long, or too many wait already."""
        jitter = random.uniform(0, self._rules.repeat_within)  # noqa: S311 - not a secret
        seconds = cooldown + jitter
        too_long = cooldown > self._rules.longest_wait or seconds > self.seconds_left(remaining)
        if self._is_last or too_long:
            return False
        try:
            await gate.wait_out(seconds)
        except CallError:
            return False
        self.seconds += seconds
        return True
