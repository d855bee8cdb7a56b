"""Roll up attempts by route and hour, in the database. Idempotent: it may run at any time."""

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
MAX_SPAN = timedelta(days=1)  # of one statement, when catching up

KEY = ("provider_id", "method", "endpoint", "hour")
FIGURES = (
    *("good", "bad", "stopped", "rescued", "ttft_p50_ms", "ttft_p95_ms"),
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("cost", "estimated_cost"),
)
TOKENS = tuple(name for name in FIGURES if name.endswith("_tokens"))


class Percentile(Aggregate):
    """PostgreSQL's percentile: the value below which this share of the others lies."""

    template = "PERCENTILE_DISC(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"

    def __init__(self, column: str, share: float) -> None:
        super().__init__(column, share=share, output_field=models.IntegerField())


def roll_up(now: datetime) -> None:
    """Recompute the last two hours, because attempts are written when they end, and all hours that
    are missing after an outage."""
    since = _since(now)
    while since and since <= now:
        _roll_up_span(since, since + MAX_SPAN)
        since += MAX_SPAN


def start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _since(now: datetime) -> datetime | None:
    """The first hour to compute; None where there are no attempts."""
    last: datetime | None = HealthRollup.objects.aggregate(last=Max("hour"))["last"]
    if last:
        return min(last, start_of_hour(now)) - HOUR
    oldest: datetime | None = Attempt.objects.aggregate(oldest=Min("started_at"))["oldest"]
    return start_of_hour(oldest) if oldest else None


def _roll_up_span(since: datetime, until: datetime) -> None:
    """One statement. It locks rows in a fixed order, so that two cannot deadlock, and writes only
    rows that change."""
    counts, params = _count_query(Q(started_at__gte=since, started_at__lt=until))
    names, key = ", ".join((*KEY, *FIGURES)), ", ".join(KEY)
    new = ", ".join(f"EXCLUDED.{name}" for name in FIGURES)
    old = ", ".join(f"stored.{name}" for name in FIGURES)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO health_healthrollup AS stored ({names})
            SELECT {names} FROM ({counts}) AS counts ORDER BY {key}
            ON CONFLICT ({key}) DO UPDATE SET ({", ".join(FIGURES)}) = ({new})
            WHERE ({old}) IS DISTINCT FROM ({new})
            """,  # noqa: S608  # names of ours
            params,
        )


def _count_query(which: Q) -> tuple[str, Sequence[Any]]:
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
