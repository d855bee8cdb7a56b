"""What is stored as entries, and entries as files for others: our own format, an opencode.json.

Whoever asks for a plain file gets no secret: a name stands where one was.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from providers.catalog import merge
from providers.importing import native_format
from providers.importing.schema import Entry, ModelEntry
from providers.models import LanguageModel, ModelSource, Provider

_SETTINGS = (
    *native_format.CHOICES,
    *native_format.SWITCHES,
    *("health_check_interval", "concurrency", "parameters", "gateway_endpoint"),
)
_FACTS = (
    *("name", "kind", "context", "output_limit", "vision", "tools", "reasoning", "streaming"),
    *("json_output", "input_price", "output_price", "cache_read_price"),
    *("cache_write_price", "enabled", "parameters", "alias"),
)
_PACKAGES = {"openai": "@ai-sdk/openai-compatible", "anthropic": "@ai-sdk/anthropic"}


def entries() -> tuple[Entry, ...]:
    """Every provider with its models, secrets included: for comparing and for writing."""
    rows = Provider.objects.in_order().prefetch_related("language_models__aliases", "alternatives")
    return tuple(entry(row) for row in rows)


def entry(provider: Provider) -> Entry:
    return Entry(
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
        settings={name: getattr(provider, name) for name in _SETTINGS},
        alternatives=tuple(sorted(other.slug for other in provider.alternatives.all())),
        models=tuple(_models(provider.language_models.all())),
    )


def _models(rows: Iterable[LanguageModel]) -> list[ModelEntry]:
    listed = sorted(rows, key=lambda row: row.model_id)
    facts = ({name: getattr(row, name) for name in _FACTS} for row in listed)
    return [
        ModelEntry(
            model_id=row.model_id,
            facts={k: v for k, v in told.items() if v not in (None, {}, "")},
            names={each.name: each.position for each in row.aliases.all()},
            described=_is_described(row),
        )
        for row, told in zip(listed, facts, strict=True)
    ]


def _is_described(row: LanguageModel) -> bool:
    """Then a second look at the file changes nothing: its word counts where nobody else has one."""
    others = set(row.sources.values()) - {merge.IMPORT}
    return row.source != ModelSource.MANUAL or bool(others)


def opencode(found: Sequence[Entry]) -> dict[str, Any]:
    """An opencode.json that calls these providers without this program; keys by name alone.

    What only LiteLLM speaks to is left out.
    """
    variables = native_format.Variables()
    found = [each for each in found if not each.litellm_provider]
    return {
        "$schema": "https://opencode.ai/config.json",
        "disabled_providers": [each.slug for each in found if not each.settings.get("enabled")],
        "provider": {each.slug: _opencode_provider(each, variables) for each in found},
    }


def _opencode_provider(entry: Entry, variables: native_format.Variables) -> dict[str, Any]:
    options: dict[str, Any] = {"baseURL": entry.base_url}
    if entry.api_key:
        options["apiKey"] = variables.name(entry.slug, "api_key")
    if entry.headers:
        options["headers"] = {name: variables.name(entry.slug, name) for name in entry.headers}
    listed = {model.model_id: _opencode_model(model) for model in entry.models}
    return {
        "npm": _PACKAGES[entry.kind],
        "name": entry.name,
        "options": options,
        "blacklist": [each.model_id for each in entry.models if not each.facts.get("enabled")],
        "models": listed,
    }


def _opencode_model(model: ModelEntry) -> dict[str, Any]:
    facts = model.facts
    said: dict[str, Any] = {
        "name": facts["name"],
        "tool_call": facts.get("tools", False),
        "reasoning": facts.get("reasoning", False),
        "modalities": {
            "input": ["text", *(["image"] if facts.get("vision") else [])],
            "output": ["text"],
        },
    }
    if facts.get("context"):
        said["limit"] = {"context": facts["context"], "output": facts.get("output_limit") or 0}
    if facts.get("input_price") is not None and facts.get("output_price") is not None:
        said["cost"] = {
            "input": float(facts["input_price"]),
            "output": float(facts["output_price"]),
        }
        for key in ("cache_read", "cache_write"):
            if facts.get(f"{key}_price") is not None:
                said["cost"][key] = float(facts[f"{key}_price"])
    return said
