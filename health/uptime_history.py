"""Load the history and the spend of providers from roll-ups, whose number is limited.

The range of one hour is read from the attempts themselves.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Func, Q, QuerySet, Sum, Value
from django.db.models.fields import DateTimeField

from health.models import HealthRollup
from health.outcome_filters import BAD, GOOD
from health.status_page import SPEND_DAYS, Bucket, Range, Spend
from providers.models import Attempt

_EPOCH = "1970-01-01T00:00:00Z"  # as Range.begins aligns them


def load_buckets(
    shown: Range, now: datetime, providers: Collection[int] | None = None
) -> dict[int, list[Bucket]]:
    """The bars that are not empty, by provider; one query."""
    first = shown.begins(now)[0]
    pieces = _by_minute(first) if shown.finest == "minute" else _by_hour(first)
    if providers is not None:
        pieces = pieces.filter(provider__in=providers)
        if not providers:
            return {}
    inner, params = pieces.query.sql_with_params()
    by_provider: defaultdict[int, list[Bucket]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT provider_id, date_bin(%s::interval, piece, %s) AS begins,
                sum(good)::int, sum(bad)::int, coalesce(max(bad::float / nullif(good + bad, 0)), 0)
            FROM ({inner}) AS pieces GROUP BY 1, 2
            """,  # noqa: S608  # no input in it
            [str(shown.bucket), _EPOCH, *params],
        )
        for provider, begins, good, bad, worst in cursor.fetchall():
            bucket = Bucket(begins=begins, good=good, bad=bad, worst=worst)
            by_provider[provider].append(bucket)
    return by_provider


def load_spend(now: datetime, providers: Collection[int]) -> dict[int, Spend]:
    """The cost of the calls of today and of the last 30 days, by provider; one query."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = Q(hour__gte=midnight)
    rows = HealthRollup.objects.filter(
        provider__in=providers, hour__gte=midnight - timedelta(days=SPEND_DAYS - 1)
    )
    costs = (
        rows.order_by()
        .values("provider_id")
        .annotate(
            today=Sum("cost", filter=today, default=0),
            month=Sum("cost"),
            today_estimated=Sum("estimated_cost", filter=today, default=0),
            month_estimated=Sum("estimated_cost"),
        )
    )
    return {
        row["provider_id"]: Spend(
            today=row["today"],
            month=row["month"],
            today_estimated=bool(row["today_estimated"]),
            month_estimated=bool(row["month_estimated"]),
        )
        for row in costs
    }


def _by_hour(first: datetime) -> QuerySet[Any, Any]:
    rows = HealthRollup.objects.filter(hour__gte=first).order_by()
    return rows.values("provider_id", piece=F("hour")).annotate(good=Sum("good"), bad=Sum("bad"))


def _by_minute(first: datetime) -> QuerySet[Any, Any]:
    minute = Func(
        *(Value("minute"), F("started_at"), Value("UTC")),
        function="DATE_TRUNC",
        output_field=DateTimeField(),
    )
    rows = Attempt.objects.filter(started_at__gte=first).order_by().annotate(piece=minute)
    return rows.values("provider_id", "piece").annotate(
        good=Count("pk", filter=GOOD), bad=Count("pk", filter=BAD)
    )
