"""Celery tasks: the tick of each second, roll-ups, retention."""

import logging
import threading

import django.db
from celery import shared_task
from django.utils import timezone

from health import check_scheduler, incidents, retention, rollups
from providers.infra import database, heartbeat
from providers.tasks import run

log = logging.getLogger(__name__)

# One round of checks for each process is enough; the rounds of all workers share what is due.
_round = threading.Lock()


@shared_task
def tick() -> None:
    """Each second: send the worker's heartbeat, update incidents, check the providers due."""
    try:
        run(_tick())
    except* (django.db.OperationalError, django.db.InterfaceError) as problems:
        log.warning("tick_waits problem=%s", type(problems.exceptions[0]).__name__)


async def _tick() -> None:
    await heartbeat.send(heartbeat.ProcessRole.WORKER)
    await database.run(incidents.reconcile, timezone.now())
    if _round.acquire(blocking=False):
        await check_scheduler.check_due(on_claimed=_round.release)


@shared_task
def roll_up() -> None:
    """Each minute: the hourly figures, and the effects of incidents."""
    rollups.roll_up(timezone.now())
    incidents.count_effects(timezone.now())


@shared_task
def prune() -> None:
    log.info("pruned rows=%s", retention.prune(timezone.now()))
