"""Decides which names of a file become aliases of which models. No I/O.

A model's first name becomes its own alias if that is free. Further names, and those that several
models share, are stored beside it with their position.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.importing.schema import ModelEntry, ProviderEntry

type Owner = tuple[str, str]  # the slug of a provider, and a model id


def resolve_names(
    entries: Sequence[ProviderEntry],
    stored: Mapping[str, ProviderEntry],
    given: Mapping[str, Collection[Owner]],
) -> list[ProviderEntry]:
    """Keeps the names that are free, and adds a note for each that is not.

    `given`: the stored aliases, with their models.
    """
    requested: dict[str, set[Owner]] = defaultdict(set)
    for entry in entries:
        for model in entry.models:
            for name in _names(model):
                requested[name].add((entry.slug, model.model_id))
    # Models of one file may share a name; those of others may not.
    taken = {name for name in requested if set(given.get(name, ())) - requested[name]}
    owners_by_name = {name: set(owners) for name, owners in given.items()}
    return [
        _resolve_entry(entry, stored.get(entry.slug), taken, owners_by_name) for entry in entries
    ]


def _names(model: ModelEntry) -> list[str]:
    own = model.facts.get("alias")
    return [*([own] if own else []), *model.names]


def _resolve_entry(
    entry: ProviderEntry,
    stored: ProviderEntry | None,
    taken: Collection[str],
    owners_by_name: dict[str, set[Owner]],
) -> ProviderEntry:
    stored_models = {model.model_id: model for model in stored.models} if stored else {}
    models, notes = [], list(entry.notes)
    for model in entry.models:
        owner = (entry.slug, model.model_id)
        facts, names = dict(model.facts), dict(model.names)
        if own := facts.pop("alias", None):
            # Another model of the same file may have it already.
            if own in taken or owners_by_name.setdefault(own, {owner}) != {owner}:
                notes.append(f"{own} is the alias of another model and is not imported.")
            else:
                facts["alias"] = own
        lost = sorted(set(names) & set(taken))
        notes += [f"{name} is the alias of another model and is not imported." for name in lost]
        names = {name: place for name, place in names.items() if name not in lost}
        models.append(replace(model, **_own_alias(facts, names, stored_models.get(model.model_id))))
    return replace(entry, models=tuple(models), notes=tuple(notes))


def _own_alias(
    facts: dict[str, Any], names: dict[str, int], stored_model: ModelEntry | None
) -> dict[str, Any]:
    """Makes the first name at position 0 the model's own alias, if it has none."""
    own = stored_model.facts.get("alias") if stored_model else None
    if own is None and "alias" not in facts:
        stored_names = stored_model.names if stored_model else {}
        own = next((n for n, place in names.items() if place == 0 and n not in stored_names), None)
        if own is not None:
            facts["alias"] = own
    return {"facts": facts, "names": {n: place for n, place in names.items() if n != own}}
