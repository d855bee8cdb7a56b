"""The status page, and the two addresses that ask whether this process can work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, Q
from django.db.models.functions import TruncHour
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from health import liveness, summary
from providers.errors import ErrorKind
from providers.models import Attempt, Provider
from providers.views.pages import Card, card


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One provider on the status page."""

    card: Card
    hour: summary.Share
    day: summary.Share
    hours: tuple[summary.Hour, ...]

    @property
    def bars(self) -> list[dict[str, Any]]:
        return [_bar(number, hour) for number, hour in enumerate(self.hours)]


def _bar(number: int, hour: summary.Hour) -> dict[str, Any]:
    """One hour of a drawing of 240 by 24: the failed share stands in it from below."""
    failed = max(3, round(24 * hour.bad / hour.total)) if hour.bad else 0
    return {
        "x": number * 10 + 1,
        "fill": "var(--healthy)" if hour.total else "var(--line)",
        "failed": failed,
        "above": 24 - failed,
        "title": _told(hour),
    }


def _told(hour: summary.Hour) -> str:
    what = f"{hour.good} good, {hour.bad} failed" if hour.total else "no attempts"
    return f"{hour.begins:%H:00}: {what}"


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """All providers and their last day; asked again every few seconds for its body alone."""
    now = timezone.now()
    providers = Provider.objects.prefetch_related("routes")
    counted = _hours(now)
    rows = [_row(card(provider), counted.get(provider.pk, []), now) for provider in providers]
    ctx: dict[str, Any] = {
        "rows": rows,
        "banner": summary.banner([r.card.status for r in rows if r.card.provider.enabled]),
        "now": now,
    }
    partial = bool(request.headers.get("HX-Request"))
    return render(request, "health/status.html#body" if partial else "health/status.html", ctx)


def _row(shown: Card, hours: list[summary.Hour], now: datetime) -> Row:
    day = summary.day(hours, now)
    return Row(card=shown, hours=day, day=summary.share(day), hour=summary.recent(day))


def _hours(now: datetime) -> dict[int, list[summary.Hour]]:
    """Good and bad attempts by provider and clock hour, in one query."""
    first = summary.hour_of(now) - timedelta(hours=summary.HOURS - 1)
    good = Q(outcome="ok")
    bad = ~Q(outcome__in=["ok", ErrorKind.STOPPED.value])
    recent = Q(started_at__gte=now - timedelta(hours=1))
    counted = (
        Attempt.objects.filter(started_at__gte=first)
        .annotate(begins=TruncHour("started_at"))
        .values("provider_id", "begins")
        .annotate(
            good=Count("pk", filter=good),
            bad=Count("pk", filter=bad),
            recent_good=Count("pk", filter=good & recent),
            recent_bad=Count("pk", filter=bad & recent),
        )
        .order_by()
    )
    hours: dict[int, list[summary.Hour]] = {}
    for row in counted:
        hour = summary.Hour(
            begins=row["begins"],
            good=row["good"],
            bad=row["bad"],
            recent_good=row["recent_good"],
            recent_bad=row["recent_bad"],
        )
        hours.setdefault(row["provider_id"], []).append(hour)
    return hours


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process is up: no question to anybody else."""
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """503 without the database; without Redis 200, as answers still come, and the reason."""
    database, redis = liveness.database_problem(), liveness.redis_problem()
    body = {
        "status": "failing" if database else "degraded" if redis else "ok",
        "database": "away" if database else "ok",
        "redis": "away" if redis else "ok",
        "reasons": [sentence for sentence in (database, redis) if sentence],
    }
    return JsonResponse(body, status=503 if database else 200)
