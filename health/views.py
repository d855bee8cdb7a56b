"""The status page: all providers and their past, one of them in detail, and the incidents."""

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
from health.uptime_bars import Row
from providers.domain.frozen import frozen
from providers.models import HealthStatus, Provider
from providers.operations.cards import build_card
from providers.policy import reasons
from providers.router import snapshot

MOST_INCIDENTS = 50


@frozen
class Told:
    """An incident as the page shows it."""

    incident: Incident
    cause: str
    rescued: str
    lasted: str
    models: str


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """All providers; asked again every few seconds for its body alone."""
    shown, now = status_page.named_range(request.GET.get("range", "")), timezone.now()
    past = uptime_history.buckets(shown, now)
    providers = Provider.objects.in_order().prefetch_related("routes")
    failures = snapshot.failures(providers)
    rows = [
        _row(provider, shown, past.get(provider.pk, []), now, failures) for provider in providers
    ]
    in_use = [row.card.status for row in rows if row.card.provider.enabled]
    ctx = _shared(shown, now) | {"rows": rows, "banner": status_page.banner(in_use)}
    return _rendered(request, "health/status.html", ctx | _incidents(shown, now))


@require_safe
def provider(request: HttpRequest, slug: str) -> HttpResponse:
    """One provider's past: the bars, what they say as a table, its incidents."""
    found = get_object_or_404(Provider.objects.prefetch_related("routes"), slug=slug)
    shown, now = status_page.named_range(request.GET.get("range", "")), timezone.now()
    past = uptime_history.buckets(shown, now, [found.pk])
    row = _row(found, shown, past.get(found.pk, []), now)
    ctx = _shared(shown, now) | {"row": row} | _incidents(shown, now, found)
    return _rendered(request, "health/provider.html", ctx)


def _rendered(request: HttpRequest, template: str, ctx: dict[str, Any]) -> HttpResponse:
    partial = bool(request.headers.get("HX-Request"))
    return render(request, f"{template}#body" if partial else template, ctx)


def _shared(shown: status_page.Range, now: datetime) -> dict[str, Any]:
    return {"shown": shown, "ranges": status_page.RANGES, "now": now}


def _row(
    provider: Provider,
    shown: status_page.Range,
    known: Iterable[status_page.Bucket],
    now: datetime,
    failures: snapshot.Failures | None = None,
) -> Row:
    return Row(
        card=build_card(provider, failures=failures),
        shown=shown,
        buckets=status_page.fill(known, shown, now),
    )


def _incidents(
    shown: status_page.Range, now: datetime, provider: Provider | None = None
) -> dict[str, Any]:
    """Those that are open, then those that ended within the range; one query."""
    rows = Incident.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=now - max(shown.span, timedelta(days=1))),
        provider__removed_at=None,
    )
    if provider:
        rows = rows.filter(provider=provider)
    newest = (F("closed_at").desc(nulls_first=True), "-opened_at")
    rows = rows.select_related("provider").order_by(*newest)[:MOST_INCIDENTS]
    found = [_told(each, now) for each in rows]
    return {
        "open": [each for each in found if _is_open(each.incident)],
        "past": [each for each in found if not _is_open(each.incident)],
    }


def _is_open(incident: Incident) -> bool:
    """An incident is closed a moment after its provider recovers, or later where no worker runs:
    what the page says of the provider beside it counts."""
    return incident.closed_at is None and incident.provider.health_status != HealthStatus.HEALTHY


def _told(incident: Incident, now: datetime) -> Told:
    return Told(
        incident=incident,
        cause=status_page.cause(incident.cause),
        rescued=status_page.rescued(incident.rescued),
        lasted=reasons.format_elapsed(incident.closed_at or now, incident.opened_at),
        models=status_page.some(incident.affected_models),
    )
