"""Count the calls of a key that are under way, here and in the other processes.

A request is decided by what this process knows, and the numbers are exchanged behind it. So each
process may admit calls that others started a moment ago do not leave room for: at most the limit
once more for each. While Redis is away, each process counts only its own.
"""

import asyncio
from contextlib import suppress

from api.errors import ApiError, retry_after
from api.keys import shared_calls
from providers.infra.redis_client import RedisUnavailable

RENEW_SECONDS = 3.0  # between two exchanges without a change; well below the expiry


class KeyCalls:
    """The calls of one key in one event loop."""

    def __init__(self, key_id: int) -> None:
        self._key_id = key_id
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.running = 0
        self.others = 0

    def start(self, limit: int) -> None:
        """Begin a call. Raises ApiError (429) where as many as the limit are under way."""
        self._exchange_soon()
        if self.running + self.others >= limit:
            raise _refusal(limit)
        self.running += 1

    def end(self) -> None:
        self.running -= 1
        self._exchange_soon()

    def _exchange_soon(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._exchange())

    async def _exchange(self) -> None:
        """Exchange the numbers after each change, and now and then while calls are under way."""
        while self._changed.is_set() or self.running:
            self._changed.clear()
            try:
                self.others = await shared_calls.share(self._key_id, self.running)
            except RedisUnavailable:
                self.others = 0
            if self.running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RENEW_SECONDS):
                        await self._changed.wait()


def _refusal(limit: int) -> ApiError:
    message = f"This API key may have {limit} calls at once, and has them. Retry in 1 s."
    headers, type_ = retry_after(1), "rate_limit_error"
    return ApiError(429, message, code="too_many_calls", type=type_, headers=headers)
