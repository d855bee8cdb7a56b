"""Check the providers that are due, concurrently and independently of one another.

A check is claimed by moving its due time, so each runs once however many workers there are. Claims,
reads and results are statements for many providers at once: one worker checks ten thousand each
half minute. A check that hangs occupies one slot and delays no other.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from itertools import batched

import django.db
from django.utils import timezone

from providers.infra import database
from providers.models import Provider
from providers.probes import probe as probing
from providers.probes import probe_plan
from providers.probes.probe_plan import Probe
from providers.router import attempt_writer
from providers.router.results import Result

log = logging.getLogger(__name__)

MAX_CONCURRENT = 500  # providers; a third of those due each second may hang until their time-out
CLAIM_BATCH = 100  # small, so that a worker that dies leaves few unchecked
CHECK_TIMEOUT_SECONDS = 45.0
ROUND_SECONDS = 40.0  # of claiming; the last check then ends within Celery's limit
WRITE_BATCH = 500  # results; their rows are locked until all are written
WRITE_INTERVAL_SECONDS = 0.2  # results within it are written together
POLL_INTERVAL_SECONDS = 0.5  # between two claims while checks run


async def check_due(
    seconds: float = ROUND_SECONDS, on_claimed: Callable[[], None] = lambda: None
) -> int:
    """Check every provider that is due or becomes due meanwhile; return how many.

    `on_claimed` is called when this round claims no more: another round may then start while this
    one waits for its slow checks.
    """
    round_ = _Round()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(round_.write())
        try:
            await round_.claim(time.monotonic() + seconds)
        finally:
            on_claimed()
        await round_.end()
        writing.cancel()
    return round_.count


class _Round:
    """The checks that run, and the results that are not written yet."""

    def __init__(self) -> None:
        self.count = 0
        self._checks: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._checked_ids: list[int] = []

    async def claim(self, deadline: float) -> None:
        """Start checks until none is due and none runs, or until the deadline."""
        while time.monotonic() < deadline:
            free = min(CLAIM_BATCH, MAX_CONCURRENT - len(self._checks))
            claimed = await self._start(free) if free else 0
            if not claimed and not self._checks:
                return
            if claimed < CLAIM_BATCH and self._checks:
                await asyncio.wait(
                    self._checks, timeout=POLL_INTERVAL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )

    async def _start(self, limit: int) -> int:
        due = await database.run(Provider.objects.all().claim_due, timezone.now(), limit)
        if due:
            for probe in await database.run(probe_plan.plan_probes, due):
                task = asyncio.create_task(self._check(probe))
                self._checks.add(task)
                task.add_done_callback(partial(self._handle_end, probe.candidate.provider_id))
        self.count += len(due)
        return len(due)

    async def _check(self, probe: Probe) -> None:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            self._results += await probing.send_probe(probe)

    def _handle_end(self, provider_id: int, task: asyncio.Task[None]) -> None:
        """Log a failure; it does not affect other providers."""
        self._checks.discard(task)
        self._checked_ids.append(provider_id)
        if not task.cancelled() and (problem := task.exception()):
            log.error("check_failed provider=%s", provider_id, exc_info=problem)

    async def write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)
            await self._write_once()

    async def _write_once(self) -> None:
        results, self._results = self._results, []
        checked_ids, self._checked_ids = self._checked_ids, []
        try:
            for batch in batched(results, WRITE_BATCH):
                await database.run(attempt_writer.write_results, batch)
            for ids in batched(checked_ids, WRITE_BATCH):
                await database.run(attempt_writer.mark_checked, ids, timezone.now())
        except django.db.Error as exc:
            # Not written again: the next check repeats them.
            log.warning("checks_lost count=%s problem=%s", len(checked_ids), type(exc).__name__)

    async def end(self) -> None:
        """Wait for the checks that run and write the last results."""
        if self._checks:
            await asyncio.wait(self._checks)
        await self._write_once()
