"""Fetch a provider's catalogue once however many ask for it, compare, store.

What was known is never wiped: a model that is no longer listed is marked missing, an empty answer
changes nothing, and a failed one leaves a sentence behind.
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
from providers.domain.types import ABILITIES, FoundModel, Method, Target
from providers.infra import database, replicas, single_flight
from providers.models import LanguageModel, ModelKind, ModelSource, Provider
from providers.policy import breaker
from providers.policy import plan as planning
from providers.protocols import model_list
from providers.router import snapshot
from providers.vendors import offline_catalog, presets

MOST_MODELS = 10_000
RETRY_AFTER = timedelta(minutes=5)  # a failed listing is tried again sooner than a good one

# A listing that fails in these ways may simply not exist: the offline catalogue stands in.
_MAY_BE_MISSING = frozenset({ErrorKind.REQUEST, ErrorKind.PROVIDER})

_REFRESHED = (
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
    """What one route listed: the models, and what a LiteLLM proxy tells of them beyond their ids.

    `unread` counts the entries that could not be read.
    """

    models: Sequence[FoundModel] = ()
    teller: str = merge.PROVIDER
    details: Mapping[str, FoundModel] = field(default_factory=dict)
    unread: int = 0


@frozen
class Known:
    """What the offline catalogues tell of a vendor's models, by id."""

    models_dev: Mapping[str, FoundModel] = field(default_factory=dict)
    litellm: Mapping[str, FoundModel] = field(default_factory=dict)

    @classmethod
    def of(cls, vendor: str) -> "Known":
        return cls(
            models_dev=offline_catalog.models(vendor), litellm=offline_catalog.priced(vendor)
        )

    def told(self, model_id: str) -> list[merge.Told]:
        # Gemini's listing says models/gemini-..., the catalogue gemini-...
        short = model_id.rpartition("/")[2]
        return [
            (merge.MODELS_DEV, self.models_dev.get(model_id) or self.models_dev.get(short)),
            (merge.LITELLM, self.litellm.get(model_id) or self.litellm.get(short)),
        ]


async def refresh(provider_id: int) -> int:
    """Brings the provider's catalogue up to date; returns how many models it has then.

    Those who ask at once share one fetch, unless an address, a key or the policy changed meanwhile.
    """
    candidate = await database.run(snapshot.load_one, provider_id)
    if candidate is None:
        return await database.run(_count, provider_id)
    reached = asdict(candidate.connection), asdict(candidate.policy)
    flight = single_flight.name("discovery", provider_id, *reached)
    return int(await single_flight.once(flight, partial(_refresh, candidate)))


async def _refresh(candidate: snapshot.Candidate) -> int:
    found, error = await _listed(candidate)
    await database.run(_keep, candidate.provider_id, found, error)
    return await database.run(_count, candidate.provider_id)


def _targets(candidate: snapshot.Candidate) -> list[Target]:
    """The routes the policy allows, in its order; what rests for chats may still list models."""
    rested = tuple(replace(route, breaker=breaker.BreakerState()) for route in candidate.routes)
    plan = planning.plan(candidate.policy, rested, timezone.now(), snapshot.fresh())
    return [candidate.target(planned.route) for planned in plan.routes]


async def _listed(candidate: snapshot.Candidate) -> tuple[Listing, CallError | None]:
    """The first listing that has a model in it, else the first route's error: none where any route
    listed nothing, which says more than that another one is away."""
    errors: list[CallError | None] = []
    unread = 0
    for target in _targets(candidate):
        try:
            found = await methods.list_models(target)
            if found:
                return await _described(candidate, target, found), None
            unread = max(unread, found.unread)
            errors.append(None)
        except CallError as exc:
            errors.append(exc)
    return Listing(unread=unread), errors[0] if all(errors) and errors else None


async def _described(
    candidate: snapshot.Candidate, target: Target, found: model_list.ModelList
) -> Listing:
    """With what a LiteLLM proxy tells of its models; many do not let every key ask that."""
    through = target.method == Method.GATEWAY and target.upstream is None
    teller = merge.GATEWAY if through else merge.PROVIDER
    details: list[FoundModel] = []
    if through or candidate.connection.preset == "litellm":
        with suppress(CallError):
            url = f"{gateway.base_url(target)}/model/info"
            details = await direct.fetch_models(target, url)
    described = {each.model_id: each for each in details}
    return Listing(models=found, teller=teller, details=described, unread=found.unread)


def _keep(provider_id: int, found: Listing, error: CallError | None) -> None:
    provider = Provider.objects.filter(pk=provider_id).first()
    if provider is None:
        return
    now = timezone.now()
    known = Known.of(presets.get(provider.preset).catalogue or provider.litellm_provider)
    problem = ""
    if found.models:
        store(provider, found, known, now)
    elif not provider.litellm_provider:  # LiteLLM has no list of its own vendors' models
        stands_in = bool(known.models_dev) and _has_no_list(provider, error)
        if stands_in:
            _stand_in(provider, known, now)
        problem = _sentence(error, stands_in)
    _describe_manual(provider, known, now)
    Provider.objects.filter(pk=provider_id).update(
        models_refreshed_at=now, models_error=problem, models_unread=found.unread
    )
    replicas.publish("providers")


def _has_no_list(provider: Provider, error: CallError | None) -> bool:
    """Where the failure may mean that, and never a model was listed: else it is a bad hour."""
    if error and error.kind not in _MAY_BE_MISSING:
        return False
    return not provider.language_models.filter(source=ModelSource.DISCOVERED).exists()


def _stand_in(provider: Provider, known: Known, now: datetime) -> None:
    """The offline catalogue's models for a provider that has no list; what came from elsewhere
    stays as it is."""
    others = provider.language_models.exclude(source=ModelSource.CATALOGUE)
    theirs = set(others.values_list("model_id", flat=True))
    models = [each for each in known.models_dev.values() if each.model_id not in theirs]
    listing = Listing(models=models, teller=merge.MODELS_DEV)
    _upsert(provider, _rows(provider, listing, known, now, ModelSource.CATALOGUE), now)


def _describe_manual(provider: Provider, known: Known, now: datetime) -> None:
    """What was added by hand is looked up as well; what nobody knows stays as it is."""
    manual = provider.language_models.filter(source=ModelSource.MANUAL)
    models = [
        FoundModel(model_id=model_id)
        for model_id in manual.values_list("model_id", flat=True)
        if any(model for _, model in known.told(model_id))
    ]
    if models:
        rows = _rows(provider, Listing(models=models), known, now, ModelSource.MANUAL)
        _upsert(provider, rows, now)


def _sentence(error: CallError | None, stands_in: bool) -> str:
    if error is None:
        kept = "those of the offline catalogue are shown" if stands_in else "what was known is kept"
        return f"The provider listed no models; {kept}."
    return error.message[:300] or "The list of models could not be fetched."


def store(provider: Provider, found: Listing, known: Known, now: datetime) -> None:
    """Upserts what was found and marks what is gone as missing; by-hand models are left alone."""
    _upsert(provider, _rows(provider, found, known, now, ModelSource.DISCOVERED), now)
    provider.language_models.filter(last_seen__lt=now, missing_since=None).exclude(
        source=ModelSource.MANUAL
    ).update(missing_since=now)


def _upsert(provider: Provider, rows: list[LanguageModel], now: datetime) -> None:
    """Stores what is listed; what had been missing is noted as returned."""
    listed = [row.model_id for row in rows]
    missing = provider.language_models.filter(missing_since__isnull=False, model_id__in=listed)
    returned = list(missing.values_list("pk", flat=True))
    LanguageModel.objects.bulk_create(
        rows,
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["provider", "model_id"],
        update_fields=_REFRESHED,
    )
    if returned:
        LanguageModel.objects.filter(pk__in=returned).update(returned_at=now)


def _rows(
    provider: Provider, found: Listing, known: Known, now: datetime, source: ModelSource
) -> list[LanguageModel]:
    described = provider.language_models.exclude(sources={})
    columns = described.values("model_id", "sources", *merge.TOLD)
    stored = {row["model_id"]: row for row in columns}
    rows: dict[str, LanguageModel] = {}
    for model in found.models:
        model_id = model.model_id
        if model_list.is_storable(model_id):
            told = [
                merge.told_by(merge.HAND, stored.get(model_id)),
                (found.teller, model),
                (merge.GATEWAY, found.details.get(model_id)),
                merge.told_by(merge.IMPORT, stored.get(model_id)),
                *known.told(model_id),
            ]
            merged, sources = merge.merged(told)
            merged["name"] = merged["name"] or model_id
            merged["kind"] = merged["kind"] or model_list.guess_kind(model_id)
            rows[model_id] = LanguageModel(
                provider=provider,
                model_id=model_id,
                enabled=merged["kind"] == ModelKind.CHAT,
                first_seen=now,
                last_seen=now,
                source=source,
                sources=sources,
                **merged,
            )
    return list(rows.values())[:MOST_MODELS]


def _count(provider_id: int) -> int:
    return LanguageModel.objects.filter(provider_id=provider_id, missing_since=None).count()


def stale(now: datetime) -> list[int]:
    """Ids of providers whose catalogue is older than MODELS_FRESH, or whose last fetch failed."""
    old = now - timedelta(seconds=settings.MODELS_FRESH)
    usable = Provider.objects.usable()
    failed = usable.exclude(models_error="").filter(models_refreshed_at__lt=now - RETRY_AFTER)
    due = usable.filter(models_refreshed_at=None) | usable.filter(models_refreshed_at__lt=old)
    return list((due | failed).values_list("pk", flat=True))
