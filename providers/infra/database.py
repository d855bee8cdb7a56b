"""The one bridge from async code to the ORM: a thread hop that always gives its connection back.

A connection taken by an async view or generator is otherwise held for as long as the stream lasts
(40 streams, 40 connections), and lost for good when the generator raises.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.db import connections


def release() -> None:
    """Give this thread's connections back before slow work; inside of a transaction they stay."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def run[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls `function`, which may use the ORM, in a worker thread and returns what it returns."""
    return await run_in(None, function, *args, **kwargs)


async def run_in[**P, T](
    executor: ThreadPoolExecutor | None,
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """The same in threads of the caller's own, for what must not wait behind everybody else."""

    def call_and_close() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return await sync_to_async(call_and_close, thread_sensitive=False, executor=executor)()
