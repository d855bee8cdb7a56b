"""What an import would do: each provider created, changed, unchanged or skipped, and why. No I/O.

Compares what a file says with what is stored, both as entries; silence of the file changes nothing.
A second import of the same file therefore finds nothing to do, also when discovery ran between.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from providers.domain import base_url
from providers.domain.frozen import frozen
from providers.importing.names import Owner, resolve_names
from providers.importing.schema import Entry, Missing, ModelEntry, Parsed

type Verb = Literal["created", "changed", "unchanged", "skipped"]


@frozen
class Step:
    """One provider: what happens to it and, in sentences without any secret, why."""

    verb: Verb
    name: str
    says: tuple[str, ...] = ()
    entry: Entry | None = None  # what is to be stored; None where nothing is
    columns: frozenset[str] = frozenset()  # those of a changed provider that are written
    models: tuple[ModelEntry, ...] = ()  # those to be written
    missing: tuple[Missing, ...] = ()
    needs_key: bool = False


# What operators set on a model. The rest is what a model is: once its provider or a catalogue has
# told that, a file does not.
OPERATORS = frozenset({"enabled", "parameters", "alias"})


def steps(
    parsed: Parsed,
    stored: Mapping[str, Entry],
    removed: Collection[str] = (),
    aliases: Mapping[str, Collection[Owner]] | None = None,
) -> tuple[Step, ...]:
    """One for each provider of the file, in its order, then what was not understood.

    `aliases`: those that are given here, and to which models of which providers.
    """
    entries = resolve_names(parsed.entries, stored, aliases or {})
    found = [_step(entry, stored.get(entry.slug), entry.slug in removed) for entry in entries]
    left = [Step(verb="skipped", name=each.name, says=(each.reason,)) for each in parsed.skipped]
    return (*found, *left)


def with_keys(parsed: Parsed, typed: Mapping[str, str]) -> Parsed:
    """The same with the keys that somebody typed for what the file only names."""
    filled = [
        replace(entry, api_key=typed[entry.slug]) if typed.get(entry.slug) else entry
        for entry in parsed.entries
    ]
    return replace(parsed, entries=tuple(filled))


def _step(entry: Entry, stored: Entry | None, is_removed: bool) -> Step:
    if is_removed:
        return _skipped(entry, "It was removed here a short while ago: bring it back instead.")
    if entry.lacks_address:
        return Step(verb="skipped", name=entry.name, says=(_NO_ADDRESS,), missing=entry.missing)
    if stored is None:
        return _created(entry)
    if base_url.origin(stored.base_url) != base_url.origin(entry.base_url):
        host = base_url.host(stored.base_url)
        return _skipped(entry, f"Another provider of this name is here, at {host}: rename one.")
    return _changed(_with_their_values(entry, stored), stored)


def _skipped(entry: Entry, reason: str) -> Step:
    return Step(verb="skipped", name=entry.name, says=(reason,))


def _created(entry: Entry) -> Step:
    where = f"At {base_url.host(entry.base_url)}" if entry.base_url else "At its own address"
    says = [f"{where}, with {_counted(len(entry.models), 'model')}.", _routed(entry)]
    says += [*entry.notes, *_shared_names(entry)]
    return Step(
        verb="created",
        name=entry.name,
        says=tuple(says),
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


def _routed(entry: Entry) -> str:
    if entry.litellm_provider:
        return f"Through LiteLLM alone, which calls it {entry.litellm_provider}."
    if entry.settings.get("provider_type", "legacy") == "legacy":
        return "Legacy: directly as before, until you opt it in."
    return "Routed as exported."


def _shared_names(entry: Entry) -> list[str]:
    """The names for which its models are only fallbacks."""
    later = [name for model in entry.models for name, place in model.names.items() if place]
    return [f"Fallback for {', '.join(sorted(later))}."] if later else []


def _with_their_values(entry: Entry, stored: Entry) -> Entry:
    """With the stored headers and parameters that the file only names: they are not taken away."""
    headers = _kept(entry, "header ", stored.headers) | dict(entry.headers or {})
    params = _kept(entry, "parameter ", stored.litellm_params) | dict(entry.litellm_params or {})
    return replace(entry, headers=headers or None, litellm_params=params or None)


def _kept(entry: Entry, what: str, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    named = {m.what.removeprefix(what) for m in entry.missing if m.what.startswith(what)}
    return {name: value for name, value in (stored or {}).items() if name in named}


def _changed(entry: Entry, stored: Entry) -> Step:
    columns = {name for name in ("name", "kind", "base_url") if _differs(name, entry, stored)}
    columns |= {
        name
        for name in (*_OPTIONAL, "alternatives")
        if getattr(entry, name) is not None and _differs(name, entry, stored)
    }
    columns |= {name for name, said in entry.settings.items() if stored.settings.get(name) != said}
    before = {model.model_id: model for model in stored.models}
    told = (_told(each, before.get(each.model_id)) for each in entry.models)
    models = tuple(each for each in told if each is not None)
    missing = tuple(each for each in entry.missing if _lacks(stored, each))
    if not columns and not models:
        here = "Here already, but for what is to be filled in." if missing else _ALL_HERE
        return Step(verb="unchanged", name=entry.name, says=(here,), missing=missing)
    new = sum(each.model_id not in before for each in models)
    says = tuple(
        f"{words}."
        for words in (
            f"Changes {', '.join(_words(each) for each in sorted(columns))}" if columns else "",
            f"Adds {_counted(new, 'model')}" if new else "",
            f"Changes {_counted(len(models) - new, 'model')}" if len(models) > new else "",
        )
        if words
    )
    return Step(
        verb="changed",
        name=entry.name,
        says=(*says, *entry.notes),
        entry=entry,
        columns=frozenset(columns),
        models=models,
        missing=missing,
    )


_NO_ADDRESS = "Its address is to be filled in; without it, nothing of it is stored."
_ALL_HERE = "Everything is here already."


# What silence of the file leaves as it is.
_OPTIONAL = ("api_key", "headers", "gateway_api_key", "litellm_provider", "litellm_params")


def _lacks(stored: Entry, missing: Missing) -> bool:
    """Whether nothing is stored in the place of what the file only names."""
    header = missing.what.removeprefix("header ")
    if header != missing.what:
        return header not in (stored.headers or {})
    parameter = missing.what.removeprefix("parameter ")
    if parameter != missing.what:
        return parameter not in (stored.litellm_params or {})
    return not {"key": stored.api_key, "gateway key": stored.gateway_api_key}.get(missing.what)


def _differs(name: str, entry: Entry, stored: Entry) -> bool:
    return bool(getattr(entry, name) != getattr(stored, name))


def _told(model: ModelEntry, known: ModelEntry | None) -> ModelEntry | None:
    """With what the file changes of it alone; None where that is nothing."""
    if known is None:
        return model
    facts = {
        name: said
        for name, said in model.facts.items()
        if known.facts.get(name) != said and (name in OPERATORS or not known.described)
    }
    names = {name: place for name, place in model.names.items() if name not in known.names}
    return replace(model, facts=facts, names=names) if facts or names else None


def _words(column: str) -> str:
    return {"api_key": "the key", "base_url": "the address"}.get(column, column.replace("_", " "))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
