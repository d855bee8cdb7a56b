"""Delete old rows, a limited number at a time, so that no other query waits."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from health.models import HealthRollup, Incident
from providers.models import Attempt, Breaker, KeySpend, Provider, Purpose

BATCH_ROWS = 5000
KEEP_KEY_SPEND_DAYS = 400
MAX_SECONDS = 60.0  # of one run; the next run continues


def prune(now: datetime, seconds: float = MAX_SECONDS) -> int:
    """Delete the rows that are past their retention time; return how many."""
    deadline = time.monotonic() + seconds
    return sum(_delete(rows, column, deadline) for rows, column in _find_expired(now))


def _find_expired(now: datetime) -> Iterator[tuple[QuerySet[Any], str]]:
    """The rows past their retention time, each with the column that holds their age."""

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    probes = Attempt.objects.filter(purpose=Purpose.PROBE)
    yield probes.filter(started_at__lt=before(settings.KEEP_PROBES)), "started_at"
    yield Attempt.objects.filter(started_at__lt=before(settings.KEEP_ATTEMPTS)), "started_at"
    yield HealthRollup.objects.filter(hour__lt=before(settings.KEEP_ROLLUPS)), "hour"
    yield KeySpend.objects.filter(day__lt=before(KEEP_KEY_SPEND_DAYS).date()), "day"
    yield Breaker.objects.expired(now), "changed_at"
    yield Incident.objects.filter(closed_at__lt=before(settings.KEEP_INCIDENTS)), "closed_at"
    # The rows of a removed provider first: there may be a million.
    removed = Provider.with_removed.filter(removed_at__lt=before(settings.KEEP_REMOVED))
    yield Attempt.objects.filter(provider__in=removed), "started_at"
    yield HealthRollup.objects.filter(provider__in=removed), "hour"
    yield removed, "removed_at"


def _delete(rows: QuerySet[Any], column: str, deadline: float) -> int:
    """Delete from the oldest on; each batch starts where the previous one ended."""
    deleted = 0
    while time.monotonic() < deadline:
        batch = list(rows.order_by(column).values_list("pk", column)[:BATCH_ROWS])
        if batch:
            expired = rows.model._base_manager.filter(pk__in=[pk for pk, _ in batch])
            deleted += expired.delete()[0]
            rows = rows.filter(**{f"{column}__gte": batch[-1][1]})
        if len(batch) < BATCH_ROWS:
            break
    return deleted
