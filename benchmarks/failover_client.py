"""Sends the trace's requests at their times, and notes what became of each."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from benchmarks.trace import LENGTH, Outcome

type Send = Callable[[], Awaitable[str]]


def arguments() -> tuple[int, int, float, float, int]:
    """The ports of the preferred and the other upstream, the beginning, the scale, how many."""
    preferred, other, began, scale, requests = sys.argv[1:]
    return int(preferred), int(other), float(began), float(scale), int(requests)


async def replay(send: Send, began: float, scale: float, requests: int) -> None:
    """Sends evenly over the trace, however long answers take; prints the outcomes."""
    await send()  # what loads late is loaded
    every = LENGTH / requests
    outcomes = await asyncio.gather(
        *(_one(send, number * every, began, scale) for number in range(requests))
    )
    print(json.dumps([asdict(each) for each in outcomes]), flush=True)


async def _one(send: Send, at: float, began: float, scale: float) -> Outcome:
    await asyncio.sleep(max(0.0, began + at / scale - time.time()))
    sent = time.monotonic()
    problem, upstream = "", ""
    try:
        upstream = await send()
    except Exception as exc:  # whatever it is, the request has failed
        problem = f"{type(exc).__name__}: {exc}"[:200]
    seconds = (time.monotonic() - sent) * scale
    return Outcome(at=at, seconds=seconds, upstream=upstream, problem=problem)
