"""Every field of an opencode.json is used, or is listed as ignored by preview and command alike."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from providers.importing import opencode
from providers.importing.schema import Parsed, ProviderEntry, resolve_nothing

URL = "https://acme.example/v1"


def parse(provider: dict[str, Any], model: dict[str, Any]) -> Parsed:
    options = {"baseURL": URL, **provider.pop("options", {})}
    document = {"acme": {"options": options, "models": {"m": model}, **provider}}
    return opencode.parse({"provider": document}, resolve_nothing)


def facts(entry: ProviderEntry) -> dict[str, Any]:
    known = {"name": "m", "enabled": True}
    return {name: each for name, each in entry.models[0].facts.items() if known.get(name) != each}


# A model's field, the facts that come of it, and what is listed as ignored.
MODEL_FIELDS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"attachment": True}, {"vision": True}, []),
    ({"attachment": False}, {"vision": False}, []),
    (
        {"modalities": {"input": ["text", "image", "pdf"], "output": ["text"]}},
        {"vision": True},
        ["provider.models.modalities.input: pdf"],
    ),
    (
        {"modalities": {"input": ["text"], "output": ["text", "audio"]}},
        {"vision": False},
        ["provider.models.modalities.output: audio"],
    ),
    (
        {"modalities": {"input": ["text"], "output": ["image"]}},
        {"vision": False, "kind": "image", "enabled": False},
        [],
    ),
    (
        {"modalities": {"input": ["text"]}, "attachment": True},
        {"vision": False},
        ["provider.models.attachment"],
    ),
    (
        {"options": {"reasoningEffort": "high", "thinking": {"type": "enabled"}}},
        {"parameters": {"reasoning_effort": "high", "thinking": {"type": "enabled"}}},
        [],
    ),
    ({"variants": {"high": {"reasoningEffort": "high"}}}, {}, ["provider.models.variants"]),
    ({"headers": {"X-Team": "a"}}, {}, ["provider.models.headers"]),
    (
        {"limit": {"context": 8000, "input": 6000, "output": 0}},
        {"context": 8000},
        ["provider.models.limit.input"],
    ),
    ({"cost": {"input": 0.6}}, {}, ["provider.models.cost.input"]),
    ({"cost": {"output": 2.2}}, {}, ["provider.models.cost.output"]),
    ({"reasoning": True, "tool_call": False}, {"reasoning": True, "tools": False}, []),
    ({"temperature": True}, {}, ["provider.models.temperature"]),
    ({"interleaved": {"field": "x"}}, {}, ["provider.models.interleaved"]),
    ({"status": "beta"}, {}, ["provider.models.status"]),
    ({"experimental": True}, {}, ["provider.models.experimental"]),
    ({"provider": {"headers": {"a": "b"}}}, {}, ["provider.models.provider.headers"]),
]
# A provider's field, what it does to the entry, and what is listed as ignored.
PROVIDER_FIELDS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"options": {"headers": {"X-Team": "a"}}}, {"headers": {"X-Team": "a"}}, []),
    ({"options": {"timeout": 300_000}}, {}, ["provider.options.timeout"]),
    ({"options": {"chunkTimeout": 1}}, {}, ["provider.options.chunkTimeout"]),
    ({"options": {"setCacheKey": True}}, {}, ["provider.options.setCacheKey"]),
    ({"options": {"baseURL": None}, "api": "https://api.acme.example"}, {}, []),
    ({"id": "other"}, {}, ["provider.id"]),
    ({"name": "Acme Inc"}, {"name": "Acme Inc"}, []),
]


@pytest.mark.parametrize(("model", "known", "ignored"), MODEL_FIELDS, ids=lambda each: str(each))
def test_a_models_field_is_used_or_listed(
    model: dict[str, Any], known: dict[str, Any], ignored: list[str]
) -> None:
    found = parse({}, model)
    assert facts(found.entries[0]) == known
    assert [str(each) for each in found.ignored] == ignored


@pytest.mark.parametrize(("provider", "known", "ignored"), PROVIDER_FIELDS, ids=str)
def test_a_providers_field_is_used_or_listed(
    provider: dict[str, Any], known: dict[str, Any], ignored: list[str]
) -> None:
    found = parse(dict(provider), {})
    assert {name: getattr(found.entries[0], name) for name in known} == known
    assert [str(each) for each in found.ignored] == ignored


def test_a_providers_own_address_counts_where_its_options_have_none() -> None:
    """`provider.api` is what models.dev calls the base URL; a model's own makes a second entry."""
    other = "https://other.example/v1"
    models = {"m": {}, "far": {"provider": {"api": other, "npm": "@ai-sdk/anthropic"}}}
    found = opencode.parse({"provider": {"acme": {"api": URL, "models": models}}}, resolve_nothing)
    assert [(each.base_url, each.kind) for each in found.entries] == [
        (URL, "openai"),
        (other, "anthropic"),
    ]
    assert found.ignored == ()


@pytest.mark.django_db
def test_preview_and_command_list_the_same(owner_client: Client, tmp_path: Path) -> None:
    """Each ignored field once, with how often it is there."""
    models = {
        str(number): {"variants": {}, "headers": {"X": "a"}, "limit": {"input": 6000}}
        for number in range(2)
    }
    options = {"baseURL": URL, "timeout": 300_000}
    file = tmp_path / "opencode.json"
    file.write_text(json.dumps({"provider": {"acme": {"options": options, "models": models}}}))
    ignored = (
        "provider.models.headers (2 times), provider.models.limit.input (2 times),"
        " provider.models.variants (2 times), provider.options.timeout"
    )
    out = StringIO()
    call_command("import_providers", str(file), "--dry-run", stdout=out)
    assert f"ignored: {ignored}\n" in out.getvalue()
    source = {"source": file.read_text()}
    page = owner_client.post("/settings/import/", source, follow=True).content.decode()
    assert ignored in page
