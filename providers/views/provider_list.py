"""The list of providers: a page of cards, searched and filtered, from storage alone."""

from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from providers.infra.page_request import PageRequest
from providers.models import HealthStatus, Provider
from providers.models.provider import ProviderQuerySet
from providers.operations import cards
from providers.operations.cards import PAUSED
from providers.vendors import presets
from providers.views.access import read_search_text

PAGE_SIZE = 24
LONGEST_SEARCH = 100  # characters
STATUSES = [*HealthStatus.choices, (PAUSED, "Paused")]
TEMPLATE = "providers/index.html"


@require_GET
def index(request: PageRequest) -> HttpResponse:
    """Show the list; htmx polls it for the cards alone."""
    if request.htmx:
        return render_cards(request, request.GET)
    removed = Provider.with_removed.exclude(removed_at=None).order_by("-removed_at")
    recently = list(removed[:PAGE_SIZE]) if request.user.is_staff else []
    slug = request.GET.get("removed", "")
    ctx = _list_context(request.GET) | {
        "presets": presets.PRESETS,
        "statuses": STATUSES,
        "removed": recently,
        "just_removed": next((each for each in recently if each.slug == slug), None),
        "keep_removed": settings.KEEP_REMOVED,
    }
    return render(request, TEMPLATE, ctx)


def render_cards(request: PageRequest, query: QueryDict) -> HttpResponse:
    return render(request, f"{TEMPLATE}#cards", _list_context(query))


def _list_context(query: QueryDict) -> dict[str, Any]:
    """One page of the providers that match."""
    text, status = read_search_text(query)[:LONGEST_SEARCH], query.get("status", "")
    matching = _filter(text, status).prefetch_related("routes")
    page = Paginator(matching, PAGE_SIZE).get_page(query.get("page"))
    filters = urlencode({"q": text, "status": status}) if text or status else ""
    return {
        "cards": cards.build_cards(list(page)),
        "page": page,
        "q": text,
        "status": status,
        "filters": filters,
        "any": bool(page.paginator.count) or (bool(filters) and Provider.objects.exists()),
    }


def _filter(text: str, status: str) -> ProviderQuerySet:
    rows = Provider.objects.all().in_order()
    for word in text.split():
        rows = rows.filter(
            Q(name__icontains=word) | Q(base_url__icontains=word) | Q(preset__icontains=word)
        )
    if status == PAUSED:
        return rows.filter(enabled=False)
    if status in HealthStatus.values:
        return rows.filter(enabled=True, health_status=status)
    return rows
