"""Which names of a file become aliases of which models here. No I/O.

A model's first name becomes its own alias where that is free; further names, and those that several
models share, are kept beside it with their place.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.importing.schema import Entry, ModelEntry

type Owner = tuple[str, str]  # the slug of a provider, and a model id


def resolve_names(
    entries: Sequence[Entry], stored: Mapping[str, Entry], given: Mapping[str, Collection[Owner]]
) -> list[Entry]:
    """The entries with those of their names that can be had; a note says which cannot.

    `given`: the aliases that are here, with their models.
    """
    wanted: dict[str, set[Owner]] = defaultdict(set)
    for entry in entries:
        for model in entry.models:
            for name in _names(model):
                wanted[name].add((entry.slug, model.model_id))
    # A file shares a name between models only where it says so, by their places.
    taken = {name for name in wanted if set(given.get(name, ())) - wanted[name]}
    held = {name: set(owners) for name, owners in given.items()}
    return [_resolved(entry, stored.get(entry.slug), taken, held) for entry in entries]


def _names(model: ModelEntry) -> list[str]:
    own = model.facts.get("alias")
    return [*([own] if own else []), *model.names]


def _resolved(
    entry: Entry, stored: Entry | None, taken: Collection[str], held: dict[str, set[Owner]]
) -> Entry:
    known = {model.model_id: model for model in stored.models} if stored else {}
    models, notes = [], list(entry.notes)
    for model in entry.models:
        owner = (entry.slug, model.model_id)
        facts, names = dict(model.facts), dict(model.names)
        if own := facts.pop("alias", None):
            # Another model of the same file may have it already.
            if own in taken or held.setdefault(own, {owner}) != {owner}:
                notes.append(f"{own} is the alias of another model and is not taken.")
            else:
                facts["alias"] = own
        lost = sorted(set(names) & set(taken))
        notes += [f"{name} is the alias of another model and is not taken." for name in lost]
        names = {name: place for name, place in names.items() if name not in lost}
        models.append(replace(model, **_own_alias(facts, names, known.get(model.model_id))))
    return replace(entry, models=tuple(models), notes=tuple(notes))


def _own_alias(
    facts: dict[str, Any], names: dict[str, int], known: ModelEntry | None
) -> dict[str, Any]:
    """Makes the first name at the first place the model's own alias, where it has none."""
    own = known.facts.get("alias") if known else None
    if own is None and "alias" not in facts:
        stored = known.names if known else {}
        own = next((n for n, place in names.items() if place == 0 and n not in stored), None)
        if own is not None:
            facts["alias"] = own
    return {"facts": facts, "names": {n: place for n, place in names.items() if n != own}}
