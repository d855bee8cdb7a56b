"""The status page: the history of all providers or of one, and the incidents."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from health import status_page, uptime_history
from health.models import Incident
from health.uptime_bars import HistoryRow
from providers.domain.frozen import frozen
from providers.models import HealthStatus, Provider
from providers.operations.cards import build_card
from providers.policy import reasons
from providers.router import snapshot

MAX_INCIDENTS = 50


@frozen
class IncidentRow:
    """An incident as the page shows it."""

    incident: Incident
    cause: str
    rescued: str
    lasted: str
    models: str


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """All providers. The page polls its body every few seconds."""
    shown, now = status_page.find_range(request.GET.get("range", "")), timezone.now()
    history = uptime_history.load_buckets(shown, now)
    providers = Provider.objects.in_order().prefetch_related("routes")
    failures = snapshot.load_failures(providers)
    rows = [
        _make_row(provider, shown, history.get(provider.pk, []), now, failures)
        for provider in providers
    ]
    in_use = [row.card.status for row in rows if row.card.provider.enabled]
    ctx = _range_context(shown, now) | {"rows": rows, "banner": status_page.make_banner(in_use)}
    return _render(request, "health/status.html", ctx | _incident_context(shown, now))


@require_safe
def provider(request: HttpRequest, slug: str) -> HttpResponse:
    """One provider's history: the bars, the same as a table, its incidents."""
    one = get_object_or_404(Provider.objects.prefetch_related("routes"), slug=slug)
    shown, now = status_page.find_range(request.GET.get("range", "")), timezone.now()
    history = uptime_history.load_buckets(shown, now, [one.pk])
    row = _make_row(one, shown, history.get(one.pk, []), now)
    ctx = _range_context(shown, now) | {"row": row} | _incident_context(shown, now, one)
    return _render(request, "health/provider.html", ctx)


def _render(request: HttpRequest, template: str, ctx: dict[str, Any]) -> HttpResponse:
    partial = bool(request.headers.get("HX-Request"))
    return render(request, f"{template}#body" if partial else template, ctx)


def _range_context(shown: status_page.Range, now: datetime) -> dict[str, Any]:
    return {"shown": shown, "ranges": status_page.RANGES, "now": now}


def _make_row(
    provider: Provider,
    shown: status_page.Range,
    buckets: Iterable[status_page.Bucket],
    now: datetime,
    failures: snapshot.Failures | None = None,
) -> HistoryRow:
    return HistoryRow(
        card=build_card(provider, failures=failures),
        shown=shown,
        buckets=status_page.fill(buckets, shown, now),
    )


def _incident_context(
    shown: status_page.Range, now: datetime, provider: Provider | None = None
) -> dict[str, Any]:
    """The open incidents, and those that closed within the range; one query."""
    rows = Incident.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=now - max(shown.span, timedelta(days=1))),
        provider__removed_at=None,
    )
    if provider:
        rows = rows.filter(provider=provider)
    newest = (F("closed_at").desc(nulls_first=True), "-opened_at")
    rows = rows.select_related("provider").order_by(*newest)[:MAX_INCIDENTS]
    incidents = [_make_incident_row(incident, now) for incident in rows]
    return {
        "open": [each for each in incidents if _is_open(each.incident)],
        "past": [each for each in incidents if not _is_open(each.incident)],
    }


def _is_open(incident: Incident) -> bool:
    """Whether the incident is open and its provider is still unhealthy: the worker closes it only
    later, and the page must not contradict itself."""
    return incident.closed_at is None and incident.provider.health_status != HealthStatus.HEALTHY


def _make_incident_row(incident: Incident, now: datetime) -> IncidentRow:
    return IncidentRow(
        incident=incident,
        cause=status_page.describe_cause(incident.cause),
        rescued=status_page.describe_rescued(incident.rescued),
        lasted=reasons.format_elapsed(incident.closed_at or now, incident.opened_at),
        models=status_page.shorten_names(incident.affected_models),
    )
