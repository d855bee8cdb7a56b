"""Fetch a provider's catalogue once however many ask for it, compare, store.

What was known is never wiped: a model that is no longer listed is marked missing, an empty answer
changes nothing, and a failed one leaves a sentence behind.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.utils import timezone

from providers import (
    breaker,
    catalogue,
    changes,
    database,
    flights,
    presets,
    probing,
    routing,
    snapshot,
)
from providers.errors import CallError, ErrorKind
from providers.models import LanguageModel, ModelSource, Provider
from providers.types import FoundModel, Target

MOST_MODELS = 10_000
RETRY_AFTER = timedelta(minutes=5)  # a failed listing is tried again sooner than a good one
LARGEST = 2_147_483_647  # of a PositiveIntegerField

# A listing that fails in these ways may simply not exist: the offline catalogue stands in.
_MAY_BE_MISSING = frozenset({ErrorKind.REQUEST, ErrorKind.PROVIDER})

_REFRESHED = (
    "name",
    "context",
    "output_limit",
    "vision",
    "tools",
    "reasoning",
    "json_output",
    "input_price",
    "output_price",
    "last_seen",
    "missing_since",
    "source",
)


async def refresh(provider_id: int) -> int:
    """Brings the provider's catalogue up to date; returns how many models it has then.

    Those who ask at once share one fetch, unless an address, a key or the policy changed meanwhile.
    """
    candidate = await database.run(snapshot.load_one, provider_id)
    if candidate is None:
        return await database.run(_count, provider_id)
    reached = asdict(candidate.connection), asdict(candidate.policy)
    flight = flights.name("discovery", provider_id, *reached)
    return int(await flights.once(flight, partial(_refresh, candidate)))


async def _refresh(candidate: snapshot.Candidate) -> int:
    found, error = await _listed(_targets(candidate))
    await database.run(_keep, candidate.provider_id, found, error)
    return await database.run(_count, candidate.provider_id)


def _targets(candidate: snapshot.Candidate) -> list[Target]:
    """The roads the policy allows, in its order; what rests for chats may still list models."""
    rested = tuple(replace(route, breaker=breaker.Breaker()) for route in candidate.routes)
    plan = routing.plan(candidate.policy, rested, timezone.now(), snapshot.fresh())
    return [candidate.target(planned.route) for planned in plan.routes]


async def _listed(targets: list[Target]) -> tuple[list[FoundModel], CallError | None]:
    """The first listing that has a model in it, else the first road's error."""
    errors: list[CallError] = []
    for target in targets:
        try:
            if found := await probing.list_models(target):
                return found, None
        except CallError as exc:
            errors.append(exc)
    return [], errors[0] if errors else None


def _keep(provider_id: int, found: list[FoundModel], error: CallError | None) -> None:
    provider = Provider.objects.filter(pk=provider_id).first()
    if provider is None:
        return
    now = timezone.now()
    known = catalogue.models(presets.get(provider.preset).catalogue)
    if found:
        store(provider, found, known, now)
    elif error is None or error.kind in _MAY_BE_MISSING:
        _upsert(_rows(provider, known.values(), known, now, ModelSource.CATALOGUE))
    Provider.objects.filter(pk=provider_id).update(
        models_refreshed_at=now, models_error="" if found else _sentence(error, bool(known))
    )
    changes.announce("providers")


def _sentence(error: CallError | None, known: bool) -> str:
    if error is None:
        kept = "those of the offline catalogue are shown" if known else "what was known is kept"
        return f"The provider listed no models; {kept}."
    return error.message[:300] or "The list of models could not be fetched."


def store(
    provider: Provider,
    found: Iterable[FoundModel],
    known: dict[str, catalogue.KnownModel],
    now: datetime,
) -> None:
    """Upserts what was found and marks what is gone as missing; by-hand models are left alone."""
    _upsert(_rows(provider, found, known, now, ModelSource.DISCOVERED))
    provider.language_models.filter(last_seen__lt=now, missing_since=None).exclude(
        source=ModelSource.MANUAL
    ).update(missing_since=now)


def _upsert(rows: list[LanguageModel]) -> None:
    LanguageModel.objects.bulk_create(
        rows,
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["provider", "model_id"],
        update_fields=_REFRESHED,
    )


def _rows(
    provider: Provider,
    found: Iterable[FoundModel],
    known: dict[str, catalogue.KnownModel],
    now: datetime,
    source: ModelSource,
) -> list[LanguageModel]:
    rows: dict[str, LanguageModel] = {}
    for model in found:
        if 0 < len(model.model_id) <= 200 and "\0" not in model.model_id:
            # Gemini's listing says models/gemini-..., the catalogue gemini-...
            facts = known.get(model.model_id) or known.get(model.model_id.rpartition("/")[2])
            rows[model.model_id] = _row(provider, model, facts, now, source)
    return list(rows.values())[:MOST_MODELS]


def _row(
    provider: Provider,
    model: FoundModel,
    facts: catalogue.KnownModel | None,
    now: datetime,
    source: ModelSource,
) -> LanguageModel:
    """The provider's own word first, the catalogue's where it is silent."""
    other: FoundModel = facts or model
    return LanguageModel(
        provider=provider,
        model_id=model.model_id,
        name=(model.name or other.name or model.model_id).replace("\0", "")[:200],
        context=_whole(model.context or other.context),
        output_limit=_whole(model.output_limit or other.output_limit),
        vision=model.vision or other.vision,
        tools=model.tools or other.tools,
        reasoning=model.reasoning or other.reasoning,
        json_output=facts.json_output if facts else False,
        input_price=other.input_price if model.input_price is None else model.input_price,
        output_price=other.output_price if model.output_price is None else model.output_price,
        first_seen=now,
        last_seen=now,
        source=source,
    )


def _whole(value: int | None) -> int | None:
    return value if value and 0 < value <= LARGEST else None


def _count(provider_id: int) -> int:
    return LanguageModel.objects.filter(provider_id=provider_id, missing_since=None).count()


def stale(now: datetime) -> list[int]:
    """Ids of providers whose catalogue is older than MODELS_FRESH, or whose last fetch failed."""
    old = now - timedelta(seconds=settings.MODELS_FRESH)
    usable = Provider.objects.usable()
    failed = usable.exclude(models_error="").filter(models_refreshed_at__lt=now - RETRY_AFTER)
    due = usable.filter(models_refreshed_at=None) | usable.filter(models_refreshed_at__lt=old)
    return list((due | failed).values_list("pk", flat=True))
