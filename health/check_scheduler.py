"""The observer: which providers are due for a check, checked side by side, none in another's way.

A check is claimed by moving its due time, so however many workers run, each is made once. Claims,
readings and results are statements for many providers at once: ten thousand each half minute are
one worker's work. A check that hangs holds one place, and nobody waits for it.
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
from providers.router.attempt_writer import Result

log = logging.getLogger(__name__)

AT_ONCE = 500  # providers; a third of what is due each second may hang for a whole time-out
CLAIMED_AT_ONCE = 100  # few enough that a worker's death leaves little unchecked
CHECK_SECONDS = 45.0  # after which a check is given up, whatever it hangs on
ROUND_SECONDS = 40.0  # in which one round claims; with the last check's end below Celery's limit
WRITTEN_AT_ONCE = 500  # results; their rows are locked until all of them are written
WRITE_EVERY = 0.2  # seconds; what ends within it is written together
LOOK_EVERY = 0.5  # seconds between two looks for what is due, while checks are under way


async def check_due(
    seconds: float = ROUND_SECONDS, claimed: Callable[[], None] = lambda: None
) -> int:
    """Checks every provider that is due, and what becomes due meanwhile; returns how many.

    `claimed` is called once no more is claimed: from then on another round may begin, while what
    hangs in this one is waited for.
    """
    round_ = _Round()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(round_.write())
        try:
            await round_.claim(time.monotonic() + seconds)
        finally:
            claimed()
        await round_.end()
        writing.cancel()
    return round_.count


class _Round:
    """Checks under way, and the results that are not written yet."""

    def __init__(self) -> None:
        self.count = 0
        self._checks: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._checked: list[int] = []

    async def claim(self, until: float) -> None:
        """Starts checks until none is due and none is under way, or the time has come."""
        while time.monotonic() < until:
            free = min(CLAIMED_AT_ONCE, AT_ONCE - len(self._checks))
            claimed = await self._start(free) if free else 0
            if not claimed and not self._checks:
                return
            if claimed < CLAIMED_AT_ONCE and self._checks:
                await asyncio.wait(
                    self._checks, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
                )

    async def _start(self, most: int) -> int:
        due = await database.run(Provider.objects.all().claim_due, timezone.now(), most)
        if due:
            for probe in await database.run(probe_plan.plan_probes, due):
                task = asyncio.create_task(self._check(probe))
                self._checks.add(task)
                task.add_done_callback(partial(self._done, probe.candidate.provider_id))
        self.count += len(due)
        return len(due)

    async def _check(self, probe: Probe) -> None:
        async with asyncio.timeout(CHECK_SECONDS):
            self._results += await probing.send_probe(probe)

    def _done(self, provider_id: int, task: asyncio.Task[None]) -> None:
        """What goes wrong with one provider is its own."""
        self._checks.discard(task)
        self._checked.append(provider_id)
        if not task.cancelled() and (problem := task.exception()):
            log.error("check_failed provider=%s", provider_id, exc_info=problem)

    async def write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            await self._write_once()

    async def _write_once(self) -> None:
        results, self._results = self._results, []
        checked, self._checked = self._checked, []
        try:
            for batch in batched(results, WRITTEN_AT_ONCE):
                await database.run(attempt_writer.write_results, batch)
            for ids in batched(checked, WRITTEN_AT_ONCE):
                await database.run(attempt_writer.checked, ids, timezone.now())
        except django.db.Error as exc:
            # The next check tells the same.
            log.warning("checks_lost count=%s problem=%s", len(checked), type(exc).__name__)

    async def end(self) -> None:
        """Waits for what is under way and writes what is left."""
        if self._checks:
            await asyncio.wait(self._checks)
        await self._write_once()
