"""What is deleted by age, a bounded number of rows at a time, so that nobody waits for it."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from health.models import HealthRollup, Incident
from providers.models import Attempt, Breaker, Provider, Purpose

BATCH = 5000
SECONDS = 60.0  # of one run; the next one goes on


def prune(now: datetime, seconds: float = SECONDS) -> int:
    """Deletes what is older than it is kept; returns how many rows."""
    until = time.monotonic() + seconds
    return sum(_delete(rows, column, until) for rows, column in _expired(now))


def _expired(now: datetime) -> Iterator[tuple[QuerySet[Any], str]]:
    """Rows past their time, and the column that their age is told by."""

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    probes = Attempt.objects.filter(purpose=Purpose.PROBE)
    yield probes.filter(started_at__lt=before(settings.KEEP_PROBES)), "started_at"
    yield Attempt.objects.filter(started_at__lt=before(settings.KEEP_ATTEMPTS)), "started_at"
    yield HealthRollup.objects.filter(hour__lt=before(settings.KEEP_ROLLUPS)), "hour"
    yield Breaker.objects.expired(now), "changed_at"
    yield Incident.objects.filter(closed_at__lt=before(settings.KEEP_INCIDENTS)), "closed_at"
    # What hangs on a removed provider first, as it may be a million rows.
    removed = Provider.with_removed.filter(removed_at__lt=before(settings.KEEP_REMOVED))
    yield Attempt.objects.filter(provider__in=removed), "started_at"
    yield HealthRollup.objects.filter(provider__in=removed), "hour"
    yield removed, "removed_at"


def _delete(rows: QuerySet[Any], column: str, until: float) -> int:
    """From the oldest on; each batch begins where the one before it ended."""
    deleted = 0
    while time.monotonic() < until:
        batch = list(rows.order_by(column).values_list("pk", column)[:BATCH])
        if batch:
            found = rows.model._base_manager.filter(pk__in=[pk for pk, _ in batch])
            deleted += found.delete()[0]
            rows = rows.filter(**{f"{column}__gte": batch[-1][1]})
        if len(batch) < BATCH:
            break
    return deleted
