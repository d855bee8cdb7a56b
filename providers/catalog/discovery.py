"""Fetch a provider's list of models, merge it with what else is known of them, and store it.

Known models are never wiped: a model that is no longer listed is marked as missing, an empty list
changes nothing, and a failed request leaves its error.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field, replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.utils import timezone

from providers.catalog import merge
from providers.clients import direct, gateway, methods
from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import ABILITIES, DiscoveredModel, Method, Target
from providers.infra import database, replicas, single_flight
from providers.models import LanguageModel, ModelKind, ModelSource, Provider
from providers.policy import breaker
from providers.policy import plan as planning
from providers.protocols import model_list
from providers.router import snapshot
from providers.vendors import offline_catalog, presets

MAX_MODELS = 10_000  # of one provider
RETRY_AFTER = timedelta(minutes=5)  # a failed request is repeated sooner than a good one

# Errors that may mean that there is no list of models: the offline catalogue is used instead.
_MAY_BE_MISSING = frozenset({ErrorKind.REQUEST, ErrorKind.PROVIDER})

_UPDATED_COLUMNS = (
    "name",
    "kind",
    *merge.LIMITS,
    *ABILITIES,
    *merge.PRICES,
    "takes",
    "sources",
    "last_seen",
    "missing_since",
    "source",
)


@frozen
class Listing:
    """The models that one route listed, and the details that a LiteLLM proxy adds by model id.

    `unread` counts the entries that could not be read.
    """

    models: Sequence[DiscoveredModel] = ()
    source: str = merge.PROVIDER
    details: Mapping[str, DiscoveredModel] = field(default_factory=dict)
    unread: int = 0


@frozen
class OfflineFacts:
    """A vendor's models in the offline catalogues, by id."""

    models_dev: Mapping[str, DiscoveredModel] = field(default_factory=dict)
    litellm: Mapping[str, DiscoveredModel] = field(default_factory=dict)

    @classmethod
    def load(cls, vendor: str) -> "OfflineFacts":
        return cls(
            models_dev=offline_catalog.models(vendor),
            litellm=offline_catalog.litellm_models(vendor),
        )

    def find(self, model_id: str) -> list[merge.SourcedModel]:
        # Gemini lists models/gemini-..., the catalogues name it gemini-...
        short = model_id.rpartition("/")[2]
        return [
            (merge.MODELS_DEV, self.models_dev.get(model_id) or self.models_dev.get(short)),
            (merge.LITELLM, self.litellm.get(model_id) or self.litellm.get(short)),
        ]


async def refresh(provider_id: int) -> int:
    """Fetch and store the provider's models; return how many it has then.

    Callers at the same time share one fetch, unless an address, a key or the policy changed.
    """
    candidate = await database.run(snapshot.load_candidate, provider_id)
    if candidate is None:
        return await database.run(_count_models, provider_id)
    settings_used = asdict(candidate.connection), asdict(candidate.policy)
    run_key = single_flight.name("discovery", provider_id, *settings_used)
    return int(await single_flight.once(run_key, partial(_refresh, candidate)))


async def _refresh(candidate: snapshot.Candidate) -> int:
    listing, error = await _fetch_listing(candidate)
    await database.run(_store_result, candidate.provider_id, listing, error)
    return await database.run(_count_models, candidate.provider_id)


def _targets(candidate: snapshot.Candidate) -> list[Target]:
    """The routes of the policy in its order. Breakers are ignored: they are about chats."""
    closed = tuple(replace(route, breaker=breaker.BreakerState()) for route in candidate.routes)
    plan = planning.plan(candidate.policy, closed, timezone.now(), snapshot.fresh())
    return [candidate.target(planned.route) for planned in plan.routes]


async def _fetch_listing(candidate: snapshot.Candidate) -> tuple[Listing, CallError | None]:
    """The first listing with a model in it; else the first route's error, or none where any route
    answered with an empty list."""
    errors: list[CallError | None] = []
    unread = 0
    for target in _targets(candidate):
        try:
            models = await methods.list_models(target)
            if models:
                return await _add_details(candidate, target, models), None
            unread = max(unread, models.unread)
            errors.append(None)
        except CallError as exc:
            errors.append(exc)
    return Listing(unread=unread), errors[0] if all(errors) and errors else None


async def _add_details(
    candidate: snapshot.Candidate, target: Target, models: model_list.ModelList
) -> Listing:
    """Add the facts that a LiteLLM proxy has about its models, if the key may request them."""
    is_proxy = target.method == Method.GATEWAY and target.upstream is None
    details: list[DiscoveredModel] = []
    if is_proxy or candidate.connection.preset == "litellm":
        with suppress(CallError):
            url = f"{gateway.base_url(target)}/model/info"
            details = await direct.fetch_models(target, url)
    return Listing(
        models=models,
        source=merge.GATEWAY if is_proxy else merge.PROVIDER,
        details={each.model_id: each for each in details},
        unread=models.unread,
    )


def _store_result(provider_id: int, listing: Listing, error: CallError | None) -> None:
    provider = Provider.objects.filter(pk=provider_id).first()
    if provider is None:
        return
    now = timezone.now()
    facts = OfflineFacts.load(presets.get(provider.preset).catalogue or provider.litellm_provider)
    problem = ""
    if listing.models:
        store_models(provider, listing, facts, now)
    elif not provider.litellm_provider:  # LiteLLM has no list of its own vendors' models
        uses_catalogue = bool(facts.models_dev) and _has_no_list(provider, error)
        if uses_catalogue:
            _store_catalogue(provider, facts, now)
        problem = _describe_problem(error, uses_catalogue)
    _update_manual_models(provider, facts, now)
    Provider.objects.filter(pk=provider_id).update(
        models_refreshed_at=now, models_error=problem, models_unread=listing.unread
    )
    replicas.publish("providers")


def _has_no_list(provider: Provider, error: CallError | None) -> bool:
    """Whether the provider seems to have no list. One that listed models before has one."""
    if error and error.kind not in _MAY_BE_MISSING:
        return False
    return not provider.language_models.filter(source=ModelSource.DISCOVERED).exists()


def _store_catalogue(provider: Provider, facts: OfflineFacts, now: datetime) -> None:
    """Store the offline catalogue's models; models from other sources stay as they are."""
    others = provider.language_models.exclude(source=ModelSource.CATALOGUE)
    other_ids = set(others.values_list("model_id", flat=True))
    models = [each for each in facts.models_dev.values() if each.model_id not in other_ids]
    listing = Listing(models=models, source=merge.MODELS_DEV)
    _upsert(provider, _build_rows(provider, listing, facts, now, ModelSource.CATALOGUE), now)


def _update_manual_models(provider: Provider, facts: OfflineFacts, now: datetime) -> None:
    """Look up the models added by hand; those that no catalogue has stay as they are."""
    manual = provider.language_models.filter(source=ModelSource.MANUAL)
    models = [
        DiscoveredModel(model_id=model_id)
        for model_id in manual.values_list("model_id", flat=True)
        if any(model for _, model in facts.find(model_id))
    ]
    if models:
        rows = _build_rows(provider, Listing(models=models), facts, now, ModelSource.MANUAL)
        _upsert(provider, rows, now)


def _describe_problem(error: CallError | None, uses_catalogue: bool) -> str:
    if error:
        return error.message[:300] or "The list of models could not be fetched."
    if uses_catalogue:
        return "The provider listed no models. Models of the offline catalogue are shown instead."
    return "The provider listed no models. The models known before are kept."


def store_models(provider: Provider, listing: Listing, facts: OfflineFacts, now: datetime) -> None:
    """Upsert the listed models and mark others as missing, except those added by hand."""
    _upsert(provider, _build_rows(provider, listing, facts, now, ModelSource.DISCOVERED), now)
    provider.language_models.filter(last_seen__lt=now, missing_since=None).exclude(
        source=ModelSource.MANUAL
    ).update(missing_since=now)


def _upsert(provider: Provider, rows: list[LanguageModel], now: datetime) -> None:
    """Store rows; mark those that had been missing as returned."""
    ids = [row.model_id for row in rows]
    missing = provider.language_models.filter(missing_since__isnull=False, model_id__in=ids)
    returned = list(missing.values_list("pk", flat=True))
    LanguageModel.objects.bulk_create(
        rows,
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["provider", "model_id"],
        update_fields=_UPDATED_COLUMNS,
    )
    if returned:
        LanguageModel.objects.filter(pk__in=returned).update(returned_at=now)


def _build_rows(
    provider: Provider, listing: Listing, facts: OfflineFacts, now: datetime, source: ModelSource
) -> list[LanguageModel]:
    stored_models = provider.language_models.exclude(sources={})
    columns = stored_models.values("model_id", "sources", *merge.FACTS)
    stored_by_id = {row["model_id"]: row for row in columns}
    rows: dict[str, LanguageModel] = {}
    for model in listing.models:
        model_id = model.model_id
        if model_list.is_storable(model_id):
            stored = stored_by_id.get(model_id)
            by_precedence = [
                merge.stored_facts(merge.HAND, stored),
                (listing.source, model),
                (merge.GATEWAY, listing.details.get(model_id)),
                merge.stored_facts(merge.IMPORT, stored),
                *facts.find(model_id),
            ]
            rows[model_id] = _build_row(provider, model_id, by_precedence, now, source)
    return list(rows.values())[:MAX_MODELS]


def _build_row(
    provider: Provider,
    model_id: str,
    by_precedence: Sequence[merge.SourcedModel],
    now: datetime,
    source: ModelSource,
) -> LanguageModel:
    columns, sources = merge.merge_facts(by_precedence)
    columns["name"] = columns["name"] or model_id
    columns["kind"] = columns["kind"] or model_list.guess_kind(model_id)
    return LanguageModel(
        provider=provider,
        model_id=model_id,
        enabled=columns["kind"] == ModelKind.CHAT,
        first_seen=now,
        last_seen=now,
        source=source,
        sources=sources,
        **columns,
    )


def _count_models(provider_id: int) -> int:
    return LanguageModel.objects.filter(provider_id=provider_id, missing_since=None).count()


def find_stale(now: datetime) -> list[int]:
    """Ids of providers whose models are older than MODELS_FRESH, or whose last fetch failed."""
    old = now - timedelta(seconds=settings.MODELS_FRESH)
    usable = Provider.objects.usable()
    failed = usable.exclude(models_error="").filter(models_refreshed_at__lt=now - RETRY_AFTER)
    due = usable.filter(models_refreshed_at=None) | usable.filter(models_refreshed_at__lt=old)
    return list((due | failed).values_list("pk", flat=True))
