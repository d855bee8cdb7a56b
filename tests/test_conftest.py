"""The test suite's own machinery."""

import asyncio
import os
import signal
import threading

import pytest

from tests.conftest import run_to_end


class OverError(Exception):
    """A test's time is over, as pytest-timeout says it: in the main thread, by a signal."""


def test_a_coroutine_test_that_hangs_ends_with_its_time() -> None:
    """So does its event loop, which runs in another thread and would keep the process alive."""
    ended = threading.Event()

    async def hang() -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def raise_over(*_: object) -> None:
        raise OverError

    before = signal.signal(signal.SIGUSR1, raise_over)
    try:
        with pytest.raises(OverError):
            run_to_end(hang, {})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.wait(30)
