"""Wait for what no event announces: check a condition again and again until it holds.

The limit only ends a wait that would hang: no test depends on how long it is.
"""

import asyncio
import inspect
import time
from collections.abc import Callable

LIMIT_SECONDS = 60.0
INTERVAL_SECONDS = 0.01


async def until(condition: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
    """Wait in a coroutine. The condition may be a coroutine function. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not await _result(condition):
        _check_limit(deadline, seconds)
        await asyncio.sleep(INTERVAL_SECONDS)


def wait_until(condition: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
    """Wait in a thread, outside of any event loop. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        _check_limit(deadline, seconds)
        time.sleep(INTERVAL_SECONDS)


async def _result(condition: Callable[[], object]) -> object:
    result = condition()
    return await result if inspect.isawaitable(result) else result


def _check_limit(deadline: float, seconds: float) -> None:
    if time.monotonic() > deadline:
        raise AssertionError(f"the condition did not hold within {seconds:g} s")
