"""Write finished results behind the calls: many in one transaction, a moment after they ended.

A transaction costs about the same for one result as for two hundred, and a call that waited for its
own would be as slow as the database, and fail with it. So results wait here, in memory, and one
task writes them in batches. A result leaves the queue only once its transaction is committed. While
the database is away the queue grows to a fixed size; then the oldest results are dropped and
counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import django.db

from providers.infra import database, metrics
from providers.policy.route_state import Outcome
from providers.router import attempt_writer
from providers.router.breaker_rows import RouteChanges
from providers.router.results import Entry, outcome_of

log = logging.getLogger(__name__)

WRITE_DELAY_SECONDS = 0.05  # what ends within it is written together
GATHER_SECONDS_PER_RESULT = 0.01  # after a batch of many, the next one waits for as many
MAX_GATHER_SECONDS = 1.0
RETRY_SECONDS = 1.0  # while the database is away
MAX_BATCH_RESULTS = 2000  # their rows are locked until all of them are written
MAX_PENDING_RESULTS = 20_000  # about 20 MB


def gather_seconds(written: int) -> float:
    """How long the next batch gathers, after one of so many results."""
    return min(MAX_GATHER_SECONDS, written * GATHER_SECONDS_PER_RESULT)


class WriteBehindQueue:
    """Results that are not in the database yet. `dropped` counts those lost to a long outage.

    `guard` is held during a write, and `on_written` is called with what it wrote before the guard
    is released: the owner never reads rows between the two.
    """

    def __init__(self, guard: asyncio.Lock, on_written: Callable[[RouteChanges], None]) -> None:
        self._guard = guard
        self._on_written = on_written
        self._pending: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._pending)

    def entries(self) -> Iterator[Entry]:
        """The results that the rows do not hold yet, oldest first."""
        return iter(self._pending)

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes that the rows do not hold yet, oldest first."""
        return (outcome for entry in self._pending if (outcome := outcome_of(entry)))

    def put(self, entry: Entry) -> None:
        """Queue a result; drop the oldest where the queue is full."""
        if len(self._pending) >= MAX_PENDING_RESULTS:
            self._pending.popleft()
            self.dropped += 1
            metrics.count_dropped(1)
        self._pending.append(entry)
        self._arrived.set()

    def write_soon(self) -> None:
        """Write without gathering more: other processes decide by what is queued."""
        self._urgent.set()

    def start(self) -> bool:
        """Start the writer; return False where it runs already."""
        if self._writer and not self._writer.done():
            return False
        self._writer = asyncio.create_task(self._run())
        return True

    async def _run(self) -> None:
        written = 0
        while True:
            await self._arrived.wait()
            await self._gather(written)
            try:
                written = await self.write_batch()
            except django.db.Error as exc:
                log.warning("results_wait count=%s problem=%s", len(self), type(exc).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _gather(self, written: int) -> None:
        """Wait for more results: longer after a large batch, but never with an urgent one."""
        await asyncio.sleep(WRITE_DELAY_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(gather_seconds(written)):
                await self._urgent.wait()

    async def write_batch(self) -> int:
        """Write the oldest results in one transaction; return how many.

        Raises django.db.Error while the database is away.
        """
        self._urgent.clear()
        async with self._guard:
            batch = list(islice(self._pending, MAX_BATCH_RESULTS))
            if batch:
                dropped = self.dropped
                changes = await database.run(attempt_writer.write_results, batch)
                # What was dropped meanwhile was at the front, so it was part of this batch.
                for _ in range(len(batch) - (self.dropped - dropped)):
                    self._pending.popleft()
                self._on_written(changes)
            if not self._pending:
                self._arrived.clear()
        return len(batch)

    async def flush(self) -> None:
        """Write everything. Raises django.db.Error while the database is away."""
        while self._pending:
            await self.write_batch()

    async def close(self, seconds: float) -> None:
        """Write what can be written in so many seconds, and stop the writer."""
        with suppress(django.db.Error, TimeoutError):
            async with asyncio.timeout(seconds):
                await self.flush()
        if self._writer:
            self._writer.cancel()
