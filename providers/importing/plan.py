"""What an import would do: each provider created, changed, unchanged or skipped, and why. No I/O.

Compares a file with what is stored, both as entries. A second import of the same file finds nothing
to do, also when discovery ran between.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from providers.domain import base_url
from providers.domain.frozen import frozen
from providers.importing import diff
from providers.importing.names import Owner, resolve_names
from providers.importing.schema import Missing, ModelEntry, Parsed, ProviderEntry

type Verb = Literal["created", "changed", "unchanged", "skipped"]

_REMOVED = "It was removed here recently. Restore it instead."
_NO_ADDRESS = "Fill in its base URL; it is not stored without one."


@frozen
class ProviderChange:
    """One provider: what happens to it and, in sentences without any secret, why."""

    verb: Verb
    name: str
    sentences: tuple[str, ...] = ()
    entry: ProviderEntry | None = None  # what is to be stored; None where nothing is
    columns: frozenset[str] = frozenset()  # those of a changed provider that are written
    models: tuple[ModelEntry, ...] = ()  # those to be written
    missing: tuple[Missing, ...] = ()
    needs_key: bool = False


def plan_import(
    parsed: Parsed,
    stored: Mapping[str, ProviderEntry],
    removed: Collection[str] = (),
    aliases: Mapping[str, Collection[Owner]] | None = None,
) -> tuple[ProviderChange, ...]:
    """One change for each provider of the file, in its order, then what was not understood.

    `aliases`: the stored ones, with their models.
    """
    entries = resolve_names(parsed.entries, stored, aliases or {})
    changes = [_plan_entry(each, stored.get(each.slug), each.slug in removed) for each in entries]
    return (*changes, *(_skip(each.name, each.reason) for each in parsed.skipped))


def with_keys(parsed: Parsed, typed: Mapping[str, str]) -> Parsed:
    """The same with the keys that somebody typed for what the file only names."""
    filled = [
        replace(entry, api_key=typed[entry.slug]) if typed.get(entry.slug) else entry
        for entry in parsed.entries
    ]
    return replace(parsed, entries=tuple(filled))


def _plan_entry(
    entry: ProviderEntry, stored: ProviderEntry | None, is_removed: bool
) -> ProviderChange:
    if is_removed:
        return _skip(entry.name, _REMOVED)
    if entry.lacks_address:
        return replace(_skip(entry.name, _NO_ADDRESS), missing=entry.missing)
    if stored is None:
        return _create(entry)
    if base_url.origin(stored.base_url) != base_url.origin(entry.base_url):
        host = base_url.host(stored.base_url)
        return _skip(entry.name, f"Another provider has this name, at {host}. Rename one of them.")
    return _change(_with_stored_values(entry, stored), stored)


def _skip(name: str, reason: str) -> ProviderChange:
    return ProviderChange(verb="skipped", name=name, sentences=(reason,))


def _create(entry: ProviderEntry) -> ProviderChange:
    where = f"At {base_url.host(entry.base_url)}" if entry.base_url else "At its own address"
    models = f"{where}, with {diff.count(len(entry.models), 'model')}."
    return ProviderChange(
        verb="created",
        name=entry.name,
        sentences=(models, _describe_routing(entry), *entry.notes, *_describe_fallbacks(entry)),
        entry=entry,
        models=entry.models,
        missing=entry.missing,
        needs_key=not (
            entry.api_key
            or entry.litellm_params
            or base_url.is_local(entry.base_url)
            or any(each.what == "key" for each in entry.missing)
        ),
    )


def _describe_routing(entry: ProviderEntry) -> str:
    if entry.litellm_provider:
        return f"Reached through LiteLLM only, as {entry.litellm_provider}."
    if entry.settings.get("provider_type", "legacy") == "legacy":
        return "Legacy: called directly, as before, until you opt in."
    return "Routed as exported."


def _describe_fallbacks(entry: ProviderEntry) -> list[str]:
    """The names for which its models are only fallbacks."""
    later = [name for model in entry.models for name, place in model.names.items() if place]
    return [f"Fallback for {', '.join(sorted(later))}."] if later else []


def _with_stored_values(entry: ProviderEntry, stored: ProviderEntry) -> ProviderEntry:
    """With the stored headers and parameters that the file only names: they are not taken away."""
    headers = _named_values(entry, "header ", stored.headers) | dict(entry.headers or {})
    stored_params = _named_values(entry, "parameter ", stored.litellm_params)
    params = stored_params | dict(entry.litellm_params or {})
    return replace(entry, headers=headers or None, litellm_params=params or None)


def _named_values(
    entry: ProviderEntry, prefix: str, stored: Mapping[str, Any] | None
) -> dict[str, Any]:
    named = {m.what.removeprefix(prefix) for m in entry.missing if m.what.startswith(prefix)}
    return {name: value for name, value in (stored or {}).items() if name in named}


def _change(entry: ProviderEntry, stored: ProviderEntry) -> ProviderChange:
    difference = diff.diff(entry, stored)
    sentences = diff.describe(difference)
    if difference.is_empty:
        return ProviderChange(
            verb="unchanged", name=entry.name, sentences=sentences, missing=difference.missing
        )
    return ProviderChange(
        verb="changed",
        name=entry.name,
        sentences=(*sentences, *entry.notes),
        entry=entry,
        columns=difference.columns,
        models=difference.models,
        missing=difference.missing,
    )
