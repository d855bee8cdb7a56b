"""What a file changes of one stored provider: its columns and its models. No I/O.

One rule holds for every column and fact: None means that the file is silent, and changes nothing.
`diff` only compares; `describe` only words what it found.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.domain.frozen import frozen
from providers.importing.schema import Missing, ModelEntry, ProviderEntry

# Every column that a file can change, and what sentences call it.
COLUMNS: Mapping[str, str] = {
    "name": "name",
    "kind": "wire format",
    "base_url": "base URL",
    "api_key": "API key",
    "headers": "headers",
    "gateway_endpoint": "gateway URL",
    "gateway_api_key": "gateway key",
    "litellm_provider": "LiteLLM provider",
    "litellm_params": "LiteLLM parameters",
    "provider_type": "connections",
    "routing_method": "routing method",
    "prefer_direct": "preferred connection",
    "fallback_enabled": "fallback",
    "alternatives": "fallback providers",
    "health_check_interval": "check interval",
    "chat_probe": "paid checks",
    "concurrency": "concurrent requests",
    "parameters": "chat parameters",
    "reasoning_tags": "reasoning in the answer text",
    "enabled": "use",
}
# What operators set on a model. The rest describes the model: a file does not change that once the
# provider or a catalogue has described it.
OPERATOR_FACTS = frozenset({"enabled", "parameters", "alias"})


@frozen
class Diff:
    """The values to write, and the references without a value that are not stored either."""

    columns: frozenset[str] = frozenset()
    added: tuple[ModelEntry, ...] = ()
    changed: tuple[ModelEntry, ...] = ()  # each with its changed facts and names alone
    missing: tuple[Missing, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.columns or self.added or self.changed)

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (*self.added, *self.changed)


def diff(entry: ProviderEntry, stored: ProviderEntry) -> Diff:
    """Compares a provider of the file with the stored one of the same slug."""
    before = {model.model_id: model for model in stored.models}
    compared = [
        _diff_model(model, before[model.model_id])
        for model in entry.models
        if model.model_id in before
    ]
    return Diff(
        columns=frozenset(name for name in COLUMNS if _is_changed(name, entry, stored)),
        added=tuple(model for model in entry.models if model.model_id not in before),
        changed=tuple(model for model in compared if model is not None),
        missing=tuple(each for each in entry.missing if not _is_stored(each, stored)),
    )


def describe(difference: Diff) -> tuple[str, ...]:
    """Sentences without any value."""
    if difference.is_empty:
        return (_ONLY_MISSING if difference.missing else _UNCHANGED,)
    labels = sorted(COLUMNS[name] for name in difference.columns)
    sentences = (
        f"Changes {', '.join(labels)}." if labels else "",
        f"Adds {count(len(difference.added), 'model')}." if difference.added else "",
        f"Changes {count(len(difference.changed), 'model')}." if difference.changed else "",
    )
    return tuple(each for each in sentences if each)


_UNCHANGED = "Everything is stored already."
_ONLY_MISSING = "Stored already, except for the values to fill in."


def read_column(entry: ProviderEntry, name: str) -> Any:
    """The value of an entry for a column; None if the entry does not set it."""
    return entry.settings[name] if name in entry.settings else getattr(entry, name, None)


def _is_changed(name: str, entry: ProviderEntry, stored: ProviderEntry) -> bool:
    value = read_column(entry, name)
    return value is not None and value != read_column(stored, name)


def _diff_model(model: ModelEntry, stored: ModelEntry) -> ModelEntry | None:
    """The model with its changed facts and new names alone; None if there are none."""
    facts = {
        name: value
        for name, value in model.facts.items()
        if stored.facts.get(name) != value and (name in OPERATOR_FACTS or not stored.described)
    }
    names = {name: place for name, place in model.names.items() if name not in stored.names}
    return replace(model, facts=facts, names=names) if facts or names else None


def _is_stored(missing: Missing, stored: ProviderEntry) -> bool:
    """Whether there is a stored value for what the file only names."""
    what, _, name = missing.what.partition(" ")
    if what == "header" and name:
        return name in (stored.headers or {})
    if what == "parameter" and name:
        return name in (stored.litellm_params or {})
    return bool({"key": stored.api_key, "gateway key": stored.gateway_api_key}.get(missing.what))


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
