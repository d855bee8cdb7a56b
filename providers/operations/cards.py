"""A provider in summary, as its card, its page and the status page show it.

A page of cards takes the same few queries, however many providers it shows.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Count, Q
from django.utils import timezone

from providers.diagnosis import wording
from providers.domain.frozen import frozen
from providers.models import LanguageModel, Provider
from providers.router import snapshot
from providers.vendors import presets

PAUSED = "paused"


@frozen
class ModelCounts:
    """How many models a provider has; `priced` counts those in use that have a price."""

    in_use: int = 0
    listed: int = 0
    priced: int = 0


_NO_MODELS = ModelCounts()


@frozen
class Card:
    """A provider with its routes, its failing models and the route of the next request."""

    provider: Provider
    preset: presets.Preset
    active: wording.ActiveRoute
    lines: tuple[wording.RouteLine, ...]
    failing: tuple[wording.ModelLine, ...] = ()
    models: ModelCounts = _NO_MODELS

    @property
    def last_used_at(self) -> datetime | None:
        """The last outcome of any route; newer than the hourly figures."""
        return max(filter(None, (line.last_outcome_at for line in self.lines)), default=None)

    @property
    def status(self) -> str:
        return self.provider.health_status if self.provider.enabled else PAUSED


def build_card(
    provider: Provider,
    models: ModelCounts = _NO_MODELS,
    failures: snapshot.Failures | None = None,
) -> Card:
    """Build one card; pass `failures` when they were read for several providers at once."""
    now = timezone.now()
    failures = failures or snapshot.load_failures([provider])
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
        models=models,
    )


def build_cards(providers: Sequence[Provider]) -> list[Card]:
    """Build the cards of a page: models and failures are read once for all of them."""
    counts = _count_models(providers)
    failures = snapshot.load_failures(providers)
    return [build_card(each, counts.get(each.pk, _NO_MODELS), failures) for each in providers]


def _count_models(providers: Sequence[Provider]) -> dict[int, ModelCounts]:
    listed = LanguageModel.objects.filter(provider__in=providers, missing_since=None).order_by()
    in_use, priced = Q(enabled=True), Q(enabled=True, input_price__isnull=False)
    rows = listed.values("provider").annotate(
        in_use=Count("pk", filter=in_use),
        listed=Count("pk"),
        priced=Count("pk", filter=priced),
    )
    return {
        row["provider"]: ModelCounts(
            in_use=row["in_use"], listed=row["listed"], priced=row["priced"]
        )
        for row in rows
    }
