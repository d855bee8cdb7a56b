"""Stores an import in one transaction, and moves providers in and out of legacy routing.

Imported providers start as legacy until somebody opts them in.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from providers.catalog import merge
from providers.importing import diff, plan
from providers.importing.names import Owner
from providers.importing.plan import ProviderChange
from providers.importing.schema import ModelEntry, Parsed, ProviderEntry
from providers.importing.stored import load_entries
from providers.infra import replicas
from providers.models import LanguageModel, ModelAlias, ModelSource, Provider, ProviderType
from providers.operations import audit
from providers.vendors import presets

_COLUMNS = {"headers": "extra_headers"}
_CONNECTION = frozenset(
    {
        *("kind", "base_url", "api_key", "headers", "gateway_api_key"),
        *("litellm_provider", "litellm_params"),
    }
)


def plan_changes(parsed: Parsed) -> tuple[ProviderChange, ...]:
    """Plan an import against what is stored now."""
    gone = Provider.with_removed.exclude(removed_at=None).values_list("slug", flat=True)
    stored = {each.slug: each for each in load_entries()}
    return plan.plan_import(parsed, stored, set(gone), _alias_owners())


def _alias_owners() -> dict[str, set[Owner]]:
    """Every alias with its models, those of removed providers included."""
    owner = ("provider__slug", "model_id")
    own = LanguageModel.objects.exclude(alias="").values_list("alias", *owner)
    further = ModelAlias.objects.values_list("name", *(f"model__{each}" for each in owner))
    owners: dict[str, set[Owner]] = defaultdict(set)
    for name, slug, model_id in (*own, *further):
        owners[name].add((slug, model_id))
    return owners


def apply_import(parsed: Parsed, user: User | None) -> tuple[ProviderChange, ...]:
    """Plan an import, store it, and return the plan."""
    with transaction.atomic():
        changes = plan_changes(parsed)
        stored = [_store(each, each.entry, user) for each in changes if each.entry is not None]
        for entry, provider, before, count in stored:
            if entry.alternatives is not None:
                _set_alternatives(provider, entry.alternatives)
            _record(user, provider, before, count)
        replicas.publish("providers")
    return changes


def _store(
    change: ProviderChange, entry: ProviderEntry, user: User | None
) -> tuple[ProviderEntry, Provider, dict[str, Any], int]:
    """Returns the entry, its provider, the former values, and the number of models written."""
    before: dict[str, Any] = {}
    if change.verb == "created":
        provider = _create(entry, user)
    else:
        provider = Provider.objects.select_for_update().get(slug=entry.slug)
        before = audit.values(provider)
        _write(provider, _column_values(entry, change.columns), user)
        if change.columns & _CONNECTION:
            provider.forget_learned()
    provider.ensure_routes()
    _store_models(provider, change.models)
    return entry, provider, before, len(change.models)


def _record(user: User | None, provider: Provider, before: dict[str, Any], count: int) -> None:
    """Writes one audit event per provider, once its fallback providers are stored."""
    changes = audit.diff_values(before, audit.values(provider))
    if count:
        changes["models"] = ["", f"{count} added or changed"]
    audit.note(user, "imported", provider, changes)


def _create(entry: ProviderEntry, user: User | None) -> Provider:
    preset = presets.get(entry.preset)
    provider = Provider(
        slug=entry.slug,
        preset=preset.slug,
        provider_type=ProviderType.LEGACY,
        routing_method=preset.routing_method,
        prefer_direct=preset.prefer_direct,
        fallback_enabled=preset.fallback_enabled,
        health_check_interval=preset.health_check_interval,
        created_by=user,
    )
    columns = {"name", "kind", "base_url", "api_key", "headers", "gateway_api_key"}
    columns |= {"litellm_provider", "litellm_params", *entry.settings}
    _write(provider, _column_values(entry, columns), user)
    return provider


def _column_values(entry: ProviderEntry, columns: Iterable[str]) -> dict[str, Any]:
    """Values by column of the row, without those that the file leaves out."""
    values = {name: diff.read_column(entry, name) for name in columns}
    return {
        _COLUMNS.get(name, name): value
        for name, value in values.items()
        if value is not None and name != "alternatives"
    }


def _write(provider: Provider, values: dict[str, Any], user: User | None) -> None:
    for name, value in values.items():
        setattr(provider, name, value)
    if "api_key" in values:
        provider.key_set_at, provider.key_set_by = timezone.now(), user
    provider.save()


def _store_models(provider: Provider, models: Sequence[ModelEntry]) -> None:
    rows = {row.model_id: row for row in provider.language_models.all()}
    new: list[LanguageModel] = []
    for model in models:
        row = rows.get(model.model_id)
        sources = {name: merge.IMPORT for name in model.facts if name not in diff.OPERATOR_FACTS}
        if row is None:
            new.append(
                LanguageModel(
                    provider=provider,
                    model_id=model.model_id,
                    source=ModelSource.MANUAL,
                    sources=sources,
                    **({"name": model.model_id} | dict(model.facts)),
                )
            )
            continue
        for name, value in model.facts.items():
            setattr(row, name, value)
        row.sources |= sources
        row.save()
    LanguageModel.objects.bulk_create(new, batch_size=500)
    _store_names(provider, models)


def _store_names(provider: Provider, models: Sequence[ModelEntry]) -> None:
    rows = dict(provider.language_models.values_list("model_id", "pk"))
    ModelAlias.objects.bulk_create(
        [
            ModelAlias(name=name, model_id=rows[model.model_id], position=place)
            for model in models
            for name, place in model.names.items()
        ],
        ignore_conflicts=True,
    )


def _set_alternatives(provider: Provider, others: Sequence[str]) -> None:
    provider.alternatives.set(Provider.objects.filter(slug__in=others).exclude(pk=provider.pk))


def opt_in(providers: Iterable[Provider], user: User) -> list[Provider]:
    """Gives legacy providers the type of their preset: with learning, fallback and both routes."""
    legacy = [each for each in providers if each.provider_type == ProviderType.LEGACY]
    _retype(legacy, {each.pk: presets.get(each.preset).provider_type for each in legacy}, user)
    return legacy


def opt_out(provider: Provider, user: User) -> None:
    """Makes a provider legacy again. What was learned is kept, but not used."""
    _retype([provider], {provider.pk: ProviderType.LEGACY.value}, user)


def _retype(providers: Sequence[Provider], types: dict[int, str], user: User) -> None:
    with transaction.atomic():
        for provider in providers:
            before = audit.values(provider)
            provider.provider_type = types[provider.pk]
            provider.save(update_fields=["provider_type"])
            audit.note_changes(user, "changed", provider, before)
        replicas.publish("providers")
