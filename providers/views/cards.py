"""The list of providers: a page of cards, searched and filtered, from storage alone.

However many providers there are, a page takes the same few queries.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from providers.diagnosis import wording
from providers.domain.frozen import frozen
from providers.models import HealthStatus, LanguageModel, Provider
from providers.models.provider import ProviderQuerySet
from providers.router import snapshot
from providers.vendors import presets
from providers.views.access import Request, searched_text

PAGE = 24
PAUSED = "paused"
STATUSES = [*HealthStatus.choices, (PAUSED, "Paused")]
TEMPLATE = "providers/index.html"


@frozen
class Card:
    """A provider as its card and its health section show it."""

    provider: Provider
    preset: presets.Preset
    active: wording.ActiveRoute
    lines: tuple[wording.RouteLine, ...]
    failing: tuple[wording.ModelLine, ...] = ()
    models_on: int = 0
    models_all: int = 0
    priced: int = 0  # of the models in use: how many have a price

    @property
    def last_used_at(self) -> datetime | None:
        """The last result of any route: what the bars do not count yet."""
        return max(filter(None, (line.last_outcome_at for line in self.lines)), default=None)

    @property
    def status(self) -> str:
        return self.provider.health_status if self.provider.enabled else PAUSED


def card(
    provider: Provider,
    models_on: int = 0,
    models_all: int = 0,
    priced: int = 0,
    failures: snapshot.Failures | None = None,
) -> Card:
    """Shows the provider's prefetched routes, and what has failed of it: read here, or once for a
    page of providers."""
    now = timezone.now()
    failures = failures or snapshot.failures([provider])
    routes = failures.routes(provider)
    return Card(
        provider=provider,
        preset=presets.get(provider.preset),
        active=wording.describe_active_route(
            snapshot.policy(provider), routes, now, snapshot.fresh()
        ),
        lines=tuple(
            wording.describe_route(route, provider.base_url, route.last_error, now)
            for route in routes
        ),
        failing=wording.describe_failing_models(failures.domains.open_models(routes), routes, now),
        models_on=models_on,
        models_all=models_all,
        priced=priced,
    )


@require_GET
def index(request: Request) -> HttpResponse:
    """All providers as cards; asked again every few seconds for the cards alone."""
    if request.htmx:
        return cards_alone(request, request.GET)
    removed = Provider.with_removed.exclude(removed_at=None).order_by("-removed_at")
    recently = list(removed[:PAGE]) if request.user.is_staff else []
    gone = request.GET.get("removed", "")
    ctx = _listed(request.GET) | {
        "presets": presets.PRESETS,
        "statuses": STATUSES,
        "removed": recently,
        "just_removed": next((each for each in recently if each.slug == gone), None),
        "keep_removed": settings.KEEP_REMOVED,
    }
    return render(request, TEMPLATE, ctx)


def cards_alone(request: Request, asked: QueryDict) -> HttpResponse:
    return render(request, f"{TEMPLATE}#cards", _listed(asked))


def _listed(asked: QueryDict) -> dict[str, Any]:
    """One page of what matches."""
    query, status = searched_text(asked)[:100], asked.get("status", "")
    found = _matching(query, status)
    page = Paginator(found.prefetch_related("routes"), PAGE).get_page(asked.get("page"))
    filters = urlencode({"q": query, "status": status}) if query or status else ""
    return {
        "cards": _cards(page),
        "page": page,
        "q": query,
        "status": status,
        "filters": filters,
        "any": bool(page.paginator.count) or (bool(filters) and Provider.objects.exists()),
    }


def _matching(query: str, status: str) -> ProviderQuerySet:
    found = Provider.objects.all().in_order()
    for word in query.split():
        found = found.filter(
            Q(name__icontains=word) | Q(base_url__icontains=word) | Q(preset__icontains=word)
        )
    if status == PAUSED:
        return found.filter(enabled=False)
    if status in HealthStatus.values:
        return found.filter(enabled=True, health_status=status)
    return found


def _cards(page: Page[Provider]) -> list[Card]:
    """The models of the page's providers are counted at once."""
    providers = list(page)
    listed = LanguageModel.objects.filter(provider__in=providers, missing_since=None).order_by()
    on, priced = Q(enabled=True), Q(enabled=True, input_price__isnull=False)
    counts = {
        pk: numbers
        for pk, *numbers in listed.values("provider")
        .annotate(on=Count("pk", filter=on), every=Count("pk"), priced=Count("pk", filter=priced))
        .values_list("provider", "on", "every", "priced")
    }
    failures = snapshot.failures(providers)
    made = []
    for each in providers:
        in_use, listed_at_all, with_price = counts.get(each.pk, (0, 0, 0))
        made.append(card(each, in_use, listed_at_all, with_price, failures))
    return made
