"""What a file changes of a stored provider: a table of columns, and two properties."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.importing import diff
from providers.importing.schema import Missing, ModelEntry, ProviderEntry
from providers.importing.stored import SETTINGS

STORED = ProviderEntry(
    slug="acme",
    name="Acme",
    kind="openai",
    base_url="https://acme.example/v1",
    api_key="old-key",
    headers={"X-Team": "a"},
    litellm_params={"api_version": "1"},
    settings={
        "provider_type": "hybrid",
        "routing_method": "auto",
        "prefer_direct": True,
        "fallback_enabled": True,
        "health_check_interval": 60,
        "chat_probe": False,
        "concurrency": None,
        "parameters": {},
        "reasoning_tags": "default",
        "enabled": True,
    },
    alternatives=("other",),
    models=(ModelEntry(model_id="m", facts={"name": "M", "context": 8000, "enabled": True}),),
)
SILENT = ProviderEntry(slug="acme", name="Acme", kind="openai", base_url="https://acme.example/v1")
CHANGED: dict[str, Any] = {
    "name": "Acme 2",
    "kind": "anthropic",
    "base_url": "https://acme.example/v2",
    "api_key": "new-key",
    "headers": {"X-Team": "b"},
    "gateway_endpoint": "https://litellm.example",
    "gateway_api_key": "new-gateway-key",
    "litellm_provider": "azure",
    "litellm_params": {"api_version": "2"},
    "provider_type": "legacy",
    "routing_method": "direct",
    "prefer_direct": False,
    "fallback_enabled": False,
    "alternatives": (),
    "health_check_interval": 90,
    "chat_probe": True,
    "concurrency": 3,
    "parameters": {"temperature": 0.2},
    "reasoning_tags": "keep",
    "enabled": False,
}
OWN_FIELDS = {field.name for field in fields(ProviderEntry)}


def with_column(entry: ProviderEntry, name: str, value: Any) -> ProviderEntry:
    if name in OWN_FIELDS:
        return replace(entry, **{name: value})
    return replace(entry, settings={**entry.settings, name: value})


def test_the_table_has_every_column_that_is_stored() -> None:
    """Whatever an export writes can be imported again."""
    not_columns = {"slug", "preset", "settings", "models", "missing", "notes"}
    assert set(diff.COLUMNS) == {*(OWN_FIELDS - not_columns), *SETTINGS}
    assert set(diff.COLUMNS) == set(CHANGED)


@pytest.mark.parametrize("name", diff.COLUMNS)
def test_a_changed_column_is_found_and_named(name: str) -> None:
    """And no other one; its value is in no sentence."""
    found = diff.diff(with_column(SILENT, name, CHANGED[name]), STORED)
    assert found.columns == {name}
    assert not found.is_empty
    assert diff.describe(found) == (f"Changes {diff.COLUMNS[name]}.",)


@pytest.mark.parametrize("name", set(diff.COLUMNS) - {"name", "kind", "base_url"})
def test_silence_changes_nothing(name: str) -> None:
    """None is what a file leaves out."""
    assert diff.diff(with_column(SILENT, name, None), STORED).is_empty


@pytest.mark.parametrize(
    ("what", "is_missing"),
    [
        ("key", False),
        ("gateway key", True),
        ("header X-Team", False),
        ("header X-Other", True),
        ("parameter api_version", False),
        ("parameter aws_region", True),
    ],
)
def test_a_value_to_fill_in_is_missing_until_one_is_stored(what: str, is_missing: bool) -> None:
    """By its place: the key, a header, a parameter."""
    entry = replace(SILENT, missing=(Missing(what, "env", "NAME"),))
    found = diff.diff(entry, STORED)
    assert bool(found.missing) is is_missing
    assert found.is_empty
    ends = "except for the values to fill in." if is_missing else "already."
    assert diff.describe(found)[0].endswith(ends)


def test_models_are_counted_and_described_ones_keep_their_facts() -> None:
    """Of a model that its provider described, a file changes only what operators set."""
    described = replace(STORED.models[0], described=True)
    stored = replace(STORED, models=(described,))
    model = ModelEntry(model_id="m", facts={"context": 9000, "enabled": False})
    new = ModelEntry(model_id="new", facts={"name": "New"})
    found = diff.diff(replace(SILENT, models=(model, new)), stored)
    assert found.added == (new,)
    assert [dict(each.facts) for each in found.changed] == [{"enabled": False}]
    assert diff.describe(found) == ("Adds 1 model.", "Changes 1 model.")
    undescribed = diff.diff(replace(SILENT, models=(model,)), STORED)
    assert [set(each.facts) for each in undescribed.changed] == [{"context", "enabled"}]


FACTS = st.dictionaries(
    st.sampled_from(["name", "context", "enabled", "alias"]), st.integers(0, 2), max_size=3
)
MODELS = st.lists(
    st.builds(
        ModelEntry,
        model_id=st.sampled_from("abc"),
        facts=FACTS,
        names=st.dictionaries(st.sampled_from("xyz"), st.integers(0, 1), max_size=2),
        described=st.booleans(),
    ),
    unique_by=lambda model: model.model_id,
    max_size=3,
).map(tuple)


@st.composite
def entries(draw: st.DrawFn) -> ProviderEntry:
    """An entry that is silent about some columns, and has old or new values for others."""
    entry = replace(SILENT, models=draw(MODELS))
    for name, new in CHANGED.items():
        values = [diff.read_column(STORED, name), new]
        silence = [] if name in ("name", "kind", "base_url") else [None]
        entry = with_column(entry, name, draw(st.sampled_from([*values, *silence])))
    return entry


def write(found: diff.Diff, entry: ProviderEntry, stored: ProviderEntry) -> ProviderEntry:
    """What is stored once the difference was written."""
    for name in found.columns:
        stored = with_column(stored, name, diff.read_column(entry, name))
    rows = {model.model_id: model for model in stored.models}
    for model in found.changed:
        row = rows[model.model_id]
        facts, names = {**row.facts, **model.facts}, {**model.names, **row.names}
        rows[model.model_id] = replace(row, facts=facts, names=names)
    rows |= {model.model_id: model for model in found.added}
    return replace(stored, models=tuple(rows.values()))


@given(entries(), entries())
@settings(deadline=None)
def test_a_second_import_finds_nothing_to_do(entry: ProviderEntry, stored: ProviderEntry) -> None:
    """Whatever the first one changed."""
    assert diff.diff(stored, stored).is_empty
    written = write(diff.diff(entry, stored), entry, stored)
    assert diff.diff(entry, written).is_empty
