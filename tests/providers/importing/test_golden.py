"""Configurations of the shapes that people publish: every name works afterwards, and nothing is
left out silently."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import model_resolver
from api.errors import ApiError
from api.keys.lookup import Caller
from providers.importing import apply, litellm_vendors, native_format, read
from providers.importing.schema import Malformed, Parsed
from providers.importing.stored import load_entries
from providers.models import LanguageModel, ModelAlias, Provider
from providers.router import snapshot
from providers.vendors import offline_catalog

GOLDEN = Path(__file__).parent / "golden"
ANYBODY = Caller(key_id=1, user_id=1)
FILES = sorted((GOLDEN / "litellm").glob("*.yaml")) + sorted((GOLDEN / "opencode").glob("*.json"))
by_name = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def fill(kind: str, name: str) -> str:
    """What an operator types: an address for a variable that holds one, else a word."""
    is_address = kind == "env" and any(word in name for word in ("BASE", "URL"))
    return "https://typed.example/v1" if is_address else "typed-0123"


def document(path: Path) -> Any:
    return read.open_document(path.read_text())


def parsed(path: Path) -> Parsed:
    return read.parse_document(document(path), fill)


# What each file loses, in so many words: this is what the preview and the command say.
IGNORED = {
    "anchors": [
        *("x-azure.api_base", "x-azure.api_key", "x-azure.api_version"),
        *("x-cheap.max_tokens", "x-cheap.temperature"),
    ],
    "audio_and_images": [],
    "azure_regions": [
        "litellm_settings.drop_params",
        "model_list.litellm_params.rpm (2 times)",
        "model_list.litellm_params.tpm",
        "router_settings.num_retries",
        "router_settings.redis_host",
        "router_settings.routing_strategy",
    ],
    "bad_entries": [
        "model_list[5].litellm_params.input_cost_per_token: a price must be a number",
        "model_list[5].model_info.max_input_tokens: a whole number is expected here",
    ],
    "bedrock": [],
    "cohere_and_custom_bases": [],
    "credentials": ["credential_list.credential_info", "environment_variables.LANGFUSE_HOST"],
    "custom_provider": [],
    "fallbacks": [
        "litellm_settings.callbacks",
        "litellm_settings.context_window_fallbacks",
        "litellm_settings.fallbacks",
        "litellm_settings.num_retries",
        "litellm_settings.request_timeout",
        "router_settings.allowed_fails",
        "router_settings.cooldown_time",
        "router_settings.model_group_alias.hidden",
    ],
    "headers": [],
    "keys_in_rotation": [
        "model_list.litellm_params.tags",
        "model_list.litellm_params.weight (2 times)",
        "router_settings.enable_pre_call_checks",
        "router_settings.routing_strategy",
    ],
    "many_vendors": [],
    "numbers": [],
    "ollama_local": ["model_list.litellm_params.keep_alive"],
    "one_account_many_names": [],
    "placeholders": [],
    "proxy_settings": [
        "general_settings.alerting",
        "general_settings.database_url",
        "general_settings.master_key",
        "general_settings.store_model_in_db",
        "guardrails",
        "include",
        "litellm_settings.cache",
        "litellm_settings.cache_params",
        "litellm_settings.default_team_settings",
        "litellm_settings.failure_callback",
        "litellm_settings.success_callback",
        "mcp_servers.files",
        "model_list.litellm_params.max_retries",
        "model_list.litellm_params.stream_timeout",
        "model_list.litellm_params.timeout",
        "model_list.model_info.access_groups",
        "model_list.model_info.health_check_model",
        "model_list.model_info.id",
    ],
    "reasoning": ["model_list.litellm_params.extra_body"],
    "sagemaker_and_more": [],
    "vertex": [],
    "wildcards": ["general_settings.master_key"],
}


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_a_file_loses_is_said(name: str) -> None:
    """Grouped by what it is, with how often; and no more than that."""
    assert [str(each) for each in parsed(GOLDEN / "litellm" / f"{name}.yaml").ignored] == IGNORED[
        name
    ]


SKIPPED = {
    "bad_entries": ["bad-address", "model_list[2]", "no-params", "no-vendor"],
    "wildcards": ["anything-else"],
    "own_addresses": ["bedrock", "broken"],
}


@by_name
def test_a_bad_entry_refuses_no_other(path: Path) -> None:
    """What is skipped is named with the reason."""
    skipped = parsed(path).skipped
    assert sorted(each.name for each in skipped) == SKIPPED.get(path.stem, [])
    assert all(each.reason for each in skipped)


def asked_names(path: Path) -> set[str]:
    """The names that clients of the other program ask for, but for those of skipped rows."""
    said, skipped = document(path), set(SKIPPED.get(path.stem, []))
    if path.suffix == ".json":
        return {
            f"{provider}/{name}"
            for provider, row in said["provider"].items()
            for name in row.get("models", {})
            if provider not in skipped
        }
    rows = [row for row in said["model_list"] if isinstance(row, dict)]
    names = {str(row["model_name"]) for row in rows}
    groups = (said.get("router_settings") or {}).get("model_group_alias", {})
    return {name for name in names | set(groups) if "*" not in name} - skipped


@by_name
@pytest.mark.django_db
def test_every_name_of_a_file_answers_afterwards(path: Path) -> None:
    """Through /v1's own look-up. What does not chat is known, and says what it is for."""
    apply.apply_import(parsed(path), None)
    known = snapshot.load()
    other = {row.name: row for row in LanguageModel.objects.exclude(kind="chat").order_by("pk")}
    for name in asked_names(path):
        if name not in known.names.other_kinds:
            assert model_resolver.resolve_model(known, name, ANYBODY).provider_id in known.providers
            continue
        with pytest.raises(ApiError) as refused:
            model_resolver.resolve_model(known, name, ANYBODY)
        assert refused.value.code == "model_not_chat"
        assert not other[name.rpartition("/")[2]].enabled


@by_name
@pytest.mark.django_db
def test_a_second_import_changes_nothing(path: Path) -> None:
    apply.apply_import(parsed(path), None)
    count = LanguageModel.objects.count(), ModelAlias.objects.count()
    again = apply.plan_changes(parsed(path))
    assert [step for step in again if step.verb not in ("unchanged", "skipped")] == []
    apply.apply_import(parsed(path), None)
    assert count == (LanguageModel.objects.count(), ModelAlias.objects.count())


@by_name
@pytest.mark.django_db
def test_an_export_brings_all_of_it_back(path: Path) -> None:
    """Names, kinds, parameters and the vendors that only LiteLLM speaks to."""
    apply.apply_import(parsed(path), None)
    before = load_entries()
    sealed = native_format.seal(
        native_format.document(before, secrets=True), "correct horse battery"
    )
    Provider.with_removed.all().delete()
    again = read.open_document(json.dumps(sealed, default=str), "correct horse battery")
    apply.apply_import(read.parse_document(again, fill), None)
    after = load_entries()
    assert [vars_of(each) for each in after] == [vars_of(each) for each in before]


def vars_of(entry: Any) -> dict[str, Any]:
    """An entry without what a catalogue said meanwhile."""
    models = [(each.model_id, each.facts, dict(each.names)) for each in entry.models]
    return {
        "slug": entry.slug,
        "address": entry.base_url,
        "key": entry.api_key,
        "litellm": (entry.litellm_provider, entry.litellm_params),
        "headers": entry.headers,
        "models": models,
    }


@pytest.mark.parametrize(
    ("name", "vendor", "params"),
    [
        ("azure_regions", "azure", {"api_version": "2024-08-01-preview"}),
        (
            "bedrock",
            "bedrock",
            {
                "aws_region_name": "us-west-2",
                "aws_access_key_id": "typed-0123",
                "aws_secret_access_key": "typed-0123",
            },
        ),
        (
            "vertex",
            "vertex_ai",
            {
                "vertex_project": "acme-prod",
                "vertex_location": "europe-west4",
                "vertex_credentials": "typed-0123",
            },
        ),
        ("cohere_and_custom_bases", "cohere", None),
    ],
)
def test_what_only_litellm_speaks_to_needs_a_gateway(
    name: str, vendor: str, params: dict[str, str] | None
) -> None:
    """With all its parameters, and never as OpenAI-compatible."""
    entries = parsed(GOLDEN / "litellm" / f"{name}.yaml").entries
    entry = next(each for each in entries if each.litellm_provider == vendor)
    assert entry.settings["provider_type"] == "gateway-required"
    assert entry.litellm_params == params


def test_addresses_get_the_version_that_litellm_adds() -> None:
    found = {
        each.name: each.base_url
        for name in ("ollama_local", "cohere_and_custom_bases")
        for each in parsed(GOLDEN / "litellm" / f"{name}.yaml").entries
    }
    assert found["Ollama"] == "http://localhost:11434/v1"
    assert found["Ollama 2"] == "http://gpu-box:11434/v1"
    assert found["gateway.acme.example"] == "https://gateway.acme.example/anthropic/v1"
    assert found["vLLM"] == "http://vllm:8000/v1"
    assert found["LM Studio"] == "http://192.168.1.9:1234/v1"


def test_several_rows_of_one_name_stay_in_their_order() -> None:
    """LiteLLM's `order` first, then the file's."""
    entries = parsed(GOLDEN / "litellm" / "azure_regions.yaml").entries
    places = {
        (each.slug, model.model_id): model.names["gpt-4o"]
        for each in entries
        for model in each.models
        if "gpt-4o" in model.names
    }
    assert places == {
        ("azure", "chat-eastus"): 0,
        ("azure-2", "chat-sweden"): 1,
        ("openai", "gpt-4o"): 2,
    }


@pytest.mark.django_db
def test_a_shared_name_has_the_others_as_fallbacks() -> None:
    """Also where the first one is out of use."""
    apply.apply_import(parsed(GOLDEN / "litellm" / "keys_in_rotation.yaml"), None)

    def order() -> list[str]:
        known = snapshot.load()
        first = model_resolver.resolve_model(known, "gpt-4o", ANYBODY)
        models = (first, *known.names.fallbacks("gpt-4o"))
        return [each.provider_slug for each in models]

    assert order() == ["openai", "openai-2", "openai-3"]
    Provider.objects.filter(slug="openai").update(enabled=False)
    assert order() == ["openai-2", "openai-3"]


def test_litellms_vendors_are_all_known() -> None:
    """The table is held against the installed version, read as text."""
    path = offline_catalog._price_list()
    assert path is not None
    source = (path.parent / "types" / "utils.py").read_text()
    body = source[source.index("class LlmProviders") :]
    body = body[: body.index("\n\n\n")]
    names = set(re.findall(r'^    [A-Z0-9_]+ = "([^"]+)"', body, re.MULTILINE))
    assert len(names) > 100
    assert names <= litellm_vendors.VENDORS
    assert not litellm_vendors.COMPATIBLE & litellm_vendors.LITELLM_ONLY


# Nothing is ignored silently


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from objects(each)


def is_reported(found: Parsed, key: str) -> bool:
    return any(key in each.name for each in found.ignored)


# Objects that are kept as they are: whatever is in them is taken along.
KEPT_WHOLE = ("headers", "extra_headers", "thinking", "options", "environment_variables")


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_each_further_key_is_reported(data: st.DataObject) -> None:
    """At every level of every file, whatever its value: it is in the list of what is ignored, in
    the object that is listed there whole, or with what is kept."""
    path = data.draw(st.sampled_from(FILES), label="file")
    said = copy.deepcopy(document(path))
    places = list(objects(said))
    place = data.draw(st.sampled_from(range(len(places))), label="place")
    key = "zq" + data.draw(st.text("abcdefghij_", min_size=3, max_size=8), label="key")
    places[place][key] = data.draw(st.sampled_from([1, "x", True, {"a": 1}, [1], 0.5]))
    found = read.parse_document(said, fill)
    assert is_reported(found, key) or is_elsewhere(found, said, key)


def is_elsewhere(found: Parsed, said: Any, key: str) -> bool:
    """In something ignored or skipped as a whole, or kept among headers and options."""
    kept = json.dumps(
        [[e.headers, e.litellm_params, [m.facts for m in e.models]] for e in found.entries],
        default=str,
    )
    names = [*(each.name for each in found.entries), *(each.name for each in found.skipped)]
    if key in kept or key in str(names):
        return True
    whole = [each.name for each in found.ignored]
    return any(
        key in json.dumps(value_at(said, name.split(" ")[0].split(".")), default=str)
        for name in whole
    ) or any(key in json.dumps(each, default=str) for each in skipped_rows(found, said))


def value_at(said: Any, names: list[str]) -> Any:
    """The values below a name of the report; members of lists and maps have no name in it."""
    if not names:
        return said
    if isinstance(said, list):
        return [value_at(each, names) for each in said]
    if not isinstance(said, dict):
        return None
    if names[0] in said:
        return value_at(said[names[0]], names[1:])
    return [value_at(each, names) for each in said.values()]


def skipped_rows(found: Parsed, said: Any) -> list[Any]:
    names = {each.name for each in found.skipped}
    rows = said.get("model_list", []) if isinstance(said, dict) else []
    listed = [row for row in rows if isinstance(row, dict) and str(row.get("model_name")) in names]
    return [*listed, *(row for name, row in said.get("provider", {}).items() if name in names)]


ODD = st.sampled_from([None, 0, -1, 1.5, True, "", "x", " ", [], [None], {}, {"a": 1}, "\ud800"])


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_an_odd_value_anywhere_is_no_error_of_ours(data: st.DataObject) -> None:
    """It is skipped, reported or refused in words; and never takes the other entries with it."""
    path = data.draw(st.sampled_from(FILES), label="file")
    said = copy.deepcopy(document(path))
    places = [(each, key) for each in objects(said) for key in each]
    place, key = places[data.draw(st.sampled_from(range(len(places))), label="place")]
    before = len(read.parse_document(document(path), fill).entries)
    place[key] = data.draw(ODD, label="value")
    try:
        found = read.parse_document(said, fill)
    except Malformed:
        found = Parsed("", ())
        before = before if place is not said and before > 2 else 0
    if place is not said and key not in ("provider", "models"):
        # One provider of the three may be two, of two addresses.
        assert len(found.entries) >= before - 2
    assert all(each.reason for each in found.skipped)
