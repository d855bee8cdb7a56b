"""Loads stored providers as entries, to compare them with a file or to export them.

Entries hold secrets; the caller that writes them to a file decides what leaves.
"""

from collections.abc import Iterable
from typing import Any, cast

from providers.catalog import merge
from providers.importing import native_format
from providers.importing.schema import ModelEntry, ProviderEntry
from providers.models import LanguageModel, ModelSource, Provider

SETTINGS = (
    *native_format.CHOICES,
    *native_format.SWITCHES,
    *("health_check_interval", "concurrency", "parameters", "gateway_endpoint"),
)
_FACTS = (
    *("name", "kind", "context", "output_limit", "vision", "tools", "reasoning", "streaming"),
    *("json_output", "input_price", "output_price", "cache_read_price"),
    *("cache_write_price", "enabled", "parameters", "alias"),
)


def load_entries() -> tuple[ProviderEntry, ...]:
    """Every provider with its models, secrets included."""
    rows = Provider.objects.in_order().prefetch_related("language_models__aliases", "alternatives")
    return tuple(load_entry(row) for row in rows)


def load_entry(provider: Provider) -> ProviderEntry:
    return ProviderEntry(
        slug=provider.slug,
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        preset=provider.preset,
        api_key=provider.api_key or None,
        # An EncryptedJSONField holds a dict; django-stubs sees the TextField below it.
        headers=dict(cast("dict[str, str]", provider.extra_headers) or {}) or None,
        gateway_api_key=provider.gateway_api_key or None,
        litellm_provider=provider.litellm_provider or None,
        litellm_params=dict(cast("dict[str, Any]", provider.litellm_params) or {}) or None,
        settings={name: getattr(provider, name) for name in SETTINGS},
        alternatives=tuple(sorted(other.slug for other in provider.alternatives.all())),
        models=tuple(_load_models(provider.language_models.all())),
    )


def _load_models(rows: Iterable[LanguageModel]) -> list[ModelEntry]:
    listed = sorted(rows, key=lambda row: row.model_id)
    facts = ({name: getattr(row, name) for name in _FACTS} for row in listed)
    return [
        ModelEntry(
            model_id=row.model_id,
            facts={k: v for k, v in values.items() if v not in (None, {}, "")},
            names={each.name: each.position for each in row.aliases.all()},
            described=_is_described(row),
        )
        for row, values in zip(listed, facts, strict=True)
    ]


def _is_described(row: LanguageModel) -> bool:
    """Whether its provider or a catalogue described it; an import then leaves its facts alone."""
    others = set(row.sources.values()) - {merge.IMPORT}
    return row.source != ModelSource.MANUAL or bool(others)
