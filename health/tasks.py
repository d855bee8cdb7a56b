"""Celery's entries to the observer. Beat ticks each second; whoever gets the tick looks."""

import logging
import threading

import django.db
from celery import shared_task

from health import monitor
from providers import pulse
from providers.tasks import run

log = logging.getLogger(__name__)

# One round of checks a process is enough; other workers' rounds share what is due.
_round = threading.Lock()


@shared_task
def tick() -> None:
    """What has to be done all the time: say that somebody is here, check what is due."""
    try:
        run(_tick())
    except* django.db.OperationalError as problems:
        log.warning("tick_waits problem=%s", type(problems.exceptions[0]).__name__)


async def _tick() -> None:
    await pulse.beat(pulse.Part.WORKER)
    if _round.acquire(blocking=False):
        await monitor.check_due(claimed=_round.release)
