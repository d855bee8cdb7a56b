"""Attempts rolled up by route and hour, in the database: idempotent, as often as wanted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, models
from django.db.models import Aggregate, Count, F, Func, Max, Min, Q, Sum, Value
from django.db.models.functions import Coalesce

from health.models import HealthRollup
from health.outcome_filters import BAD, GOOD, RESCUED, STOPPED
from providers.models import Attempt

HOUR = timedelta(hours=1)
AT_ONCE = timedelta(days=1)  # in one statement, when there is a lot to catch up with

KEY = ("provider_id", "method", "endpoint", "hour")
FIGURES = (
    *("good", "bad", "stopped", "rescued", "ttft_p50_ms", "ttft_p95_ms"),
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("cost", "estimated_cost"),
)
TOKENS = tuple(name for name in FIGURES if name.endswith("_tokens"))


class Percentile(Aggregate):
    """The value below which this share of the others lies; PostgreSQL's."""

    template = "PERCENTILE_DISC(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"

    def __init__(self, column: str, share: float) -> None:
        super().__init__(column, share=share, output_field=models.IntegerField())


def roll_up(now: datetime) -> None:
    """Computes the last two hours anew, as attempts are written when they end; and whatever is
    missing, after a time in which nobody did."""
    since = _since(now)
    while since and since <= now:
        _roll(since, since + AT_ONCE)
        since += AT_ONCE


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _since(now: datetime) -> datetime | None:
    """The first hour to compute; None where there is nothing yet."""
    last: datetime | None = HealthRollup.objects.aggregate(last=Max("hour"))["last"]
    if last:
        return min(last, hour_of(now)) - HOUR
    oldest: datetime | None = Attempt.objects.aggregate(oldest=Min("started_at"))["oldest"]
    return hour_of(oldest) if oldest else None


def _roll(since: datetime, until: datetime) -> None:
    """One statement. Rows are locked in one order by everybody; equal ones are not written."""
    counted, params = _counted(Q(started_at__gte=since, started_at__lt=until))
    names, key = ", ".join((*KEY, *FIGURES)), ", ".join(KEY)
    new = ", ".join(f"EXCLUDED.{name}" for name in FIGURES)
    old = ", ".join(f"kept.{name}" for name in FIGURES)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO health_healthrollup AS kept ({names})
            SELECT {names} FROM ({counted}) AS counted ORDER BY {key}
            ON CONFLICT ({key}) DO UPDATE SET ({", ".join(FIGURES)}) = ({new})
            WHERE ({old}) IS DISTINCT FROM ({new})
            """,  # noqa: S608  # names of ours
            params,
        )


def _counted(which: Q) -> tuple[str, Sequence[Any]]:
    hour = Func(
        *(Value("hour"), F("started_at"), Value("UTC")),
        function="DATE_TRUNC",
        output_field=models.DateTimeField(),
    )
    rows = Attempt.objects.filter(which).order_by().annotate(hour=hour).values(*KEY)
    query = rows.annotate(
        good=Count("pk", filter=GOOD),
        bad=Count("pk", filter=BAD),
        stopped=Count("pk", filter=STOPPED),
        rescued=Count("pk", filter=RESCUED),
        ttft_p50_ms=Percentile("ttft_ms", 0.5),
        ttft_p95_ms=Percentile("ttft_ms", 0.95),
        **{name: Coalesce(Sum(name), 0) for name in TOKENS},
        estimated_cost=Sum("cost", filter=Q(usage_estimated=True), default=Decimal(0)),
        cost=Sum("cost", default=Decimal(0)),
    ).query
    sql, params = query.sql_with_params()
    return str(sql), params
