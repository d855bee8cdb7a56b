"""Stores what a plan says, all of it in one transaction or nothing.

Imported providers begin as legacy; opting in, and the way back, are here as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from providers.catalog import merge
from providers.importing import diff, exporting, plan
from providers.importing.names import Owner
from providers.importing.plan import ProviderChange
from providers.importing.schema import Entry, ModelEntry, Parsed
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
    stored = {each.slug: each for each in exporting.entries()}
    return plan.plan_import(parsed, stored, set(gone), _aliases())


def _aliases() -> dict[str, set[Owner]]:
    """Every alias with its models; those of removed providers too, for they come back with them."""
    owner = ("provider__slug", "model_id")
    own = LanguageModel.objects.exclude(alias="").values_list("alias", *owner)
    further = ModelAlias.objects.values_list("name", *(f"model__{each}" for each in owner))
    found: dict[str, set[Owner]] = defaultdict(set)
    for name, slug, model_id in (*own, *further):
        found[name].add((slug, model_id))
    return found


def apply_import(parsed: Parsed, user: User | None) -> tuple[ProviderChange, ...]:
    """Plan an import, store it, and return the plan."""
    with transaction.atomic():
        changes = plan_changes(parsed)
        stored = [_store(each, each.entry, user) for each in changes if each.entry is not None]
        for entry, provider, before, count in stored:
            if entry.alternatives is not None:
                _stand_in(provider, entry.alternatives)
            _note(user, provider, before, count)
        replicas.publish("providers")
    return changes


def _store(
    change: ProviderChange, entry: Entry, user: User | None
) -> tuple[Entry, Provider, dict[str, Any], int]:
    """The provider as it is now, what it was before, and how many of its models were written."""
    before: dict[str, Any] = {}
    if change.verb == "created":
        provider = _new(entry, user)
    else:
        provider = Provider.objects.select_for_update().get(slug=entry.slug)
        before = audit.values(provider)
        _write(provider, _column_values(entry, change.columns), user)
        if change.columns & _CONNECTION:
            provider.forget_learned()
    provider.ensure_routes()
    _store_models(provider, change.models)
    return entry, provider, before, len(change.models)


def _note(user: User | None, provider: Provider, before: dict[str, Any], count: int) -> None:
    """One event for each provider, once all who may stand in for it are stored too."""
    told = audit.changed(before, audit.values(provider))
    if count:
        told["models"] = ["", f"{count} added or changed"]
    audit.note(user, "imported", provider, told)


def _new(entry: Entry, user: User | None) -> Provider:
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
    said = {"name", "kind", "base_url", "api_key", "headers", "gateway_api_key"}
    said |= {"litellm_provider", "litellm_params", *entry.settings}
    _write(provider, _column_values(entry, said), user)
    return provider


def _column_values(entry: Entry, columns: Iterable[str]) -> dict[str, Any]:
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
    known = {row.model_id: row for row in provider.language_models.all()}
    new: list[LanguageModel] = []
    for model in models:
        row = known.get(model.model_id)
        told = {name: merge.IMPORT for name in model.facts if name not in diff.OPERATOR_FACTS}
        if row is None:
            new.append(
                LanguageModel(
                    provider=provider,
                    model_id=model.model_id,
                    source=ModelSource.MANUAL,
                    sources=told,
                    **({"name": model.model_id} | dict(model.facts)),
                )
            )
            continue
        for name, value in model.facts.items():
            setattr(row, name, value)
        row.sources |= told
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


def _stand_in(provider: Provider, others: Sequence[str]) -> None:
    provider.alternatives.set(Provider.objects.filter(slug__in=others).exclude(pk=provider.pk))


def opt_in(providers: Iterable[Provider], user: User) -> list[Provider]:
    """Legacy providers become what their vendor's preset says: learning, fallback, both routes."""
    found = [each for each in providers if each.provider_type == ProviderType.LEGACY]
    _retype(found, {each.pk: presets.get(each.preset).provider_type for each in found}, user)
    return found


def opt_out(provider: Provider, user: User) -> None:
    """The way back: directly as before; what was learned is kept, and not asked."""
    _retype([provider], {provider.pk: ProviderType.LEGACY.value}, user)


def _retype(providers: Sequence[Provider], types: dict[int, str], user: User) -> None:
    with transaction.atomic():
        for provider in providers:
            before = audit.values(provider)
            provider.provider_type = types[provider.pk]
            provider.save(update_fields=["provider_type"])
            audit.noted(user, "changed", provider, before)
        replicas.publish("providers")
