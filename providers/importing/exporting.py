"""Writes entries as an opencode.json that works without this program.

It holds no secrets; each is replaced by `{env:NAME}`.
"""

from collections.abc import Sequence
from typing import Any

from providers.importing import native_format
from providers.importing.schema import ModelEntry, ProviderEntry

_PACKAGES = {"openai": "@ai-sdk/openai-compatible", "anthropic": "@ai-sdk/anthropic"}


def write_opencode(entries: Sequence[ProviderEntry]) -> dict[str, Any]:
    """Builds the document. Providers that only LiteLLM can reach are left out."""
    variables = native_format.Variables()
    entries = [each for each in entries if not each.litellm_provider]
    return {
        "$schema": "https://opencode.ai/config.json",
        "disabled_providers": [each.slug for each in entries if not each.settings.get("enabled")],
        "provider": {each.slug: _opencode_provider(each, variables) for each in entries},
    }


def _opencode_provider(entry: ProviderEntry, variables: native_format.Variables) -> dict[str, Any]:
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
    written: dict[str, Any] = {
        "name": facts["name"],
        "tool_call": facts.get("tools", False),
        "reasoning": facts.get("reasoning", False),
        "modalities": {
            "input": ["text", *(["image"] if facts.get("vision") else [])],
            "output": ["text"],
        },
    }
    if facts.get("context"):
        written["limit"] = {"context": facts["context"], "output": facts.get("output_limit") or 0}
    if facts.get("input_price") is not None and facts.get("output_price") is not None:
        written["cost"] = {
            "input": float(facts["input_price"]),
            "output": float(facts["output_price"]),
        }
        for key in ("cache_read", "cache_write"):
            if facts.get(f"{key}_price") is not None:
                written["cost"][key] = float(facts[f"{key}_price"])
    return written
