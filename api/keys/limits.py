"""Limits a minute, shared by all processes: a token bucket, and each process's lease of it. No I/O.

The shared bucket is in Redis. A process takes a batch of its tokens (a lease) and spends them by
itself. Where it has none, it spends one request's on credit and settles at once; until then it
admits nothing more. So N processes admit, in any T seconds, at most the bucket's capacity, plus
what T seconds refill, plus N requests on credit; every credit is deducted from what is refilled.

While Redis is away, a process fills its lease from a bucket of its own share of the limit.
"""

import math
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from api.limit_headers import LimitFigures
from providers.domain.frozen import frozen

BATCHES = 20  # a lease is this part of the capacity; less than one token: no lease
CHECK_SECONDS = 1.0  # to wait where it is not known when the next token comes


@frozen
class Rate:
    """A limit. The bucket holds what a minute refills."""

    per_minute: float

    @property
    def per_second(self) -> float:
        return self.per_minute / 60

    def share(self, processes: int) -> "Rate":
        """The part of one of so many processes."""
        return Rate(per_minute=self.per_minute / max(1, processes))


@frozen
class Grant:
    """What a bucket gave, and what it holds afterwards; below 0 where credit is not refilled."""

    tokens: float
    level: float
    processes: int = 1


@dataclass(slots=True)
class TokenBucket:
    """A token bucket. The script in `shared_bucket` does the same in Redis."""

    rate: Rate
    level: float
    at: float

    def take(self, now: float, spent: float, requested: float) -> Grant:
        """Deduct what was spent already, and grant what is there of what is requested."""
        refilled = self.level + max(0.0, now - self.at) * self.rate.per_second
        level = min(self.rate.per_minute, refilled) - spent
        tokens = max(0.0, min(requested, math.floor(level)))
        self.level, self.at = min(self.rate.per_minute, level - tokens), max(now, self.at)
        return Grant(tokens=tokens, level=self.level)


@dataclass(slots=True)
class Lease:
    """One process's tokens of one limit. `left` is below 0 while a request is on credit.

    Times are seconds of the process's monotonic clock.
    """

    what: str
    rate: Rate
    left: float = 0.0
    used_at: float = 0.0
    demand: float = 0.0  # of requests that wait for the next grant
    _level: float = dataclass_field(default=math.nan)  # of the shared bucket, at `_level_at`
    _level_at: float = 0.0
    _retry_at: float = 0.0
    _processes: int = 1
    _own: TokenBucket | None = None  # while Redis is away
    _unreported: float = 0.0  # taken from `_own`

    @property
    def batch(self) -> int:
        return math.floor(self.rate.per_minute / BATCHES)

    def admits(self, cost: float, now: float) -> bool:
        """Whether a request of this cost may go out now, from the lease or on credit."""
        return self.left >= cost or (self.left >= 0 and now >= self._retry_at)

    def spend(self, cost: float, now: float) -> None:
        self.left -= cost
        self.used_at = now

    @property
    def is_low(self) -> bool:
        """Whether the lease should be filled: it has credit to settle, or is half spent."""
        return self.left < 0 or self.left < self.batch / 2

    def wait_seconds(self, now: float) -> float:
        """How long until a request may be admitted."""
        return self._retry_at - now if self._retry_at > now else CHECK_SECONDS

    def take_order(self) -> tuple[float, float]:
        """What to ask the shared bucket for: what was spent, and what it requests. Follow with
        `fill` or `fill_alone`."""
        return max(0.0, -self.left) + self._unreported, max(
            0.0, self.batch + self.demand - max(0.0, self.left)
        )

    def fill(self, order: tuple[float, float], grant: Grant, now: float) -> None:
        """Redis granted this."""
        self.left += order[0] - self._unreported + grant.tokens
        self._unreported, self._own = 0.0, None
        self._processes = grant.processes
        self._note(grant.level, now, self.rate)

    def fill_alone(self, order: tuple[float, float], now: float) -> None:
        """Redis is away: take from the share of this process, which begins with its part of what
        the shared bucket had."""
        share = self.rate.share(self._processes)
        if self._own is None:
            level = share.per_minute
            if not math.isnan(self._level):
                level = min(level, max(0.0, self._level) / self._processes)
            self._own = TokenBucket(share, level, now)
        spent = order[0] - self._unreported
        grant = self._own.take(now, spent, order[1])
        self.left += spent + grant.tokens
        self._unreported += spent + grant.tokens
        self._note(grant.level, now, share)

    def _note(self, level: float, now: float, rate: Rate) -> None:
        self._level, self._level_at = level, now
        missing = 1 - level - max(0.0, self.left)
        self._retry_at = now + missing / rate.per_second if missing > 0 else 0.0

    def give_back(self) -> float:
        """Take the unspent tokens out of the lease, for the shared bucket."""
        unspent, self.left = max(0.0, self.left), min(0.0, self.left)
        return unspent

    def figures(self, now: float) -> LimitFigures:
        """The limit as this process knows it."""
        limit = self.rate.per_minute
        level = limit if math.isnan(self._level) else self._level
        level += (now - self._level_at) * self.rate.per_second
        left = max(0.0, min(limit, min(limit, level) + self.left))
        return LimitFigures(
            what=self.what,
            limit=int(limit),
            remaining=math.floor(left),
            reset_seconds=(limit - left) / self.rate.per_second,
        )
