"""An event loop whose clock jumps to the next timer instead of waiting for it.

For coroutines that wait for timers and one another alone: nothing here reads a socket or a thread.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """Before each round: nothing is ready, so the next timer is due."""
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._now = max(self._now, min(timers))
        super()._run_once()  # type: ignore[misc]


async def elapse(seconds: float) -> None:
    """Let so many seconds of the loop's own clock pass."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop), "on a real clock this would wait"
    await asyncio.sleep(seconds)


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, however long it waits, at once."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
