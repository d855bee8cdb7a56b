"""Admit the requests of limited keys: from leases in memory, which are filled behind the requests.

A request waits for Redis only where its process has no lease and one request on credit already.
Keys without limits pass without any of this.
"""

import asyncio
import time
from collections.abc import Callable

from api.errors import ApiError, retry_after
from api.keys import shared_bucket
from api.keys.calls import KeyCalls
from api.keys.limits import Lease, Rate
from api.limit_headers import LimitFigures
from providers.domain.frozen import frozen
from providers.event_loop.per_loop import PerLoop
from providers.infra.redis_client import RedisUnavailable

IDLE_SECONDS = 2.0  # after which unspent tokens return to the shared bucket
MAX_WAITS = 3  # for the settlement of another request's credit


@frozen
class KeyLimits:
    """The limits of one key: a minute, and of calls at once; None where there is none."""

    requests: int | None = None
    tokens: int | None = None
    calls: int | None = None

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.requests, self.tokens, self.calls))


class LeasedLimit:
    """One limit of one key in one process: a lease, and the task that fills it."""

    def __init__(self, name: str, lease: Lease) -> None:
        self.lease = lease
        self._name = name
        self._filling: asyncio.Task[None] | None = None
        self._returning: asyncio.TimerHandle | None = None

    async def spend(self, cost: float) -> None:
        """Spend so many tokens. Raises ApiError (429)."""
        cost = min(cost, self.lease.rate.per_minute)
        for _ in range(MAX_WAITS):
            if self.lease.admits(cost, time.monotonic()) or not await self._wait(cost):
                break
        if not self.lease.admits(cost, time.monotonic()):
            raise self._refusal()
        self.lease.spend(cost, time.monotonic())
        self.fill_soon()

    async def _wait(self, cost: float) -> bool:
        """Wait while the lease is being filled; False where it is not."""
        if self._filling is None or self._filling.done():
            return False
        self.lease.demand += cost
        try:
            await asyncio.wait([self._filling])
        finally:
            self.lease.demand -= cost
        return True

    def correct(self, tokens: float) -> None:
        """Spend more, or with a number below 0 less, than was taken at first."""
        self.lease.left -= tokens
        self.fill_soon()
        self._return_later()

    def fill_soon(self) -> None:
        if self.lease.is_low and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        order = self.lease.take_order()
        if not any(order):
            return
        try:
            grant = await shared_bucket.take(self._name, self.lease.rate, *order)
        except RedisUnavailable:
            self.lease.fill_alone(order, time.monotonic())
        else:
            self.lease.fill(order, grant, time.monotonic())
            self._return_later()

    def _return_later(self) -> None:
        if self._returning is None and self.lease.left > 0:
            loop = asyncio.get_running_loop()
            self._returning = loop.call_later(IDLE_SECONDS, self._return_unspent)

    def _return_unspent(self) -> None:
        self._returning = None
        if time.monotonic() - self.lease.used_at < IDLE_SECONDS:
            self._return_later()
        elif self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._return())

    async def _return(self) -> None:
        unspent = self.lease.give_back()
        if not unspent:
            return
        try:
            await shared_bucket.take(self._name, self.lease.rate, -unspent, 0)
        except RedisUnavailable:
            self.lease.left += unspent

    def _refusal(self) -> ApiError:
        lease, seconds = self.lease, self.lease.wait_seconds(time.monotonic())
        message = (
            f"This API key may use {lease.rate.per_minute:g} {lease.what} a minute, and has used "
            f"them. Retry in {max(1, round(seconds))} s."
        )
        headers = retry_after(seconds)
        type_, code = "rate_limit_error", "rate_limit_exceeded"
        return ApiError(429, message, code=code, type=type_, headers=headers)


class KeyLimiter:
    """The limits of one key in one process. `used_tokens`: of the key's calls so far; `calls`:
    those under way."""

    def __init__(
        self,
        key_id: int,
        limits: KeyLimits,
        used_tokens: Callable[[], int],
        calls: KeyCalls | None = None,
    ) -> None:
        self.limits = limits
        self.calls = calls or KeyCalls(key_id)
        self.requests = _make(key_id, "requests", limits.requests)
        self.tokens = _make(key_id, "tokens", limits.tokens)
        self._used_tokens = used_tokens
        self._charged = used_tokens()

    def charge(self, reserved: float) -> None:
        """Replace what a request had reserved by what the key's calls have used since."""
        used, charged = self._used_tokens(), self._charged
        self._charged = used
        if self.tokens:
            self.tokens.correct(used - charged - reserved)

    def figures(self) -> tuple[LimitFigures, ...]:
        now = time.monotonic()
        return tuple(each.lease.figures(now) for each in (self.requests, self.tokens) if each)


def _make(key_id: int, what: str, limit: int | None) -> LeasedLimit | None:
    if limit is None:
        return None
    return LeasedLimit(f"{key_id}:{what}", Lease(what, Rate(per_minute=limit)))


class Admission:
    """One request of a limited key; release it at its end."""

    def __init__(self, limiter: KeyLimiter) -> None:
        self._limiter = limiter
        self._reserved = 0.0
        self._is_running = False

    async def count_request(self) -> None:
        """Raises ApiError (429)."""
        if self._limiter.limits.calls is not None:
            self._limiter.calls.start(self._limiter.limits.calls)
            self._is_running = True
        if self._limiter.requests:
            await self._limiter.requests.spend(1)

    async def reserve_tokens(self, estimate: int) -> None:
        """Take the tokens of the input. Raises ApiError (429); the request then does not count."""
        limiter = self._limiter
        if limiter.tokens is None:
            return
        try:
            await limiter.tokens.spend(estimate)
        except ApiError:
            if limiter.requests:
                limiter.requests.correct(-1)
            raise
        self._reserved = min(estimate, limiter.tokens.lease.rate.per_minute)

    def release(self) -> None:
        """Charge what the request really used, and end its call."""
        if self._is_running:
            self._is_running = False
            self._limiter.calls.end()
        self._limiter.charge(self._reserved)

    def figures(self) -> tuple[LimitFigures, ...]:
        return self._limiter.figures()


class KeyLimiters:
    """The limiters of one event loop."""

    def __init__(self) -> None:
        self._limiters: dict[int, KeyLimiter] = {}

    def find(self, key_id: int, limits: KeyLimits, used_tokens: Callable[[], int]) -> KeyLimiter:
        """The key's limiter; a new one where its limits have changed."""
        limiter = self._limiters.get(key_id)
        if limiter is None or limiter.limits != limits:
            calls = limiter.calls if limiter else None
            limiter = KeyLimiter(key_id, limits, used_tokens, calls)
            self._limiters[key_id] = limiter
        return limiter


current = PerLoop(KeyLimiters).current
"""The running loop's limiters."""
