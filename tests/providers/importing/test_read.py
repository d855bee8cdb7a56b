"""Files of other programs, and our own: what is read of them, and how bad ones are refused."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.importing import exporting, jsonc, native_format, plan, read
from providers.importing.schema import Malformed, ModelEntry, Parsed, ProviderEntry, resolve_nothing

GOLDEN = Path(__file__).parent / "golden"
PASSPHRASE = "correct horse battery"


def golden(name: str, auth: str = "", found: str | None = None) -> Parsed:
    document = read.open_document((GOLDEN / name).read_text())
    return read.parse_document(document, lambda kind, key: found, auth)


def test_an_opencode_json_with_its_keys() -> None:
    """Comments, commas, a list of allowed models, a vendor known by its id, and what is skipped."""
    parsed = golden("opencode.json", (GOLDEN / "auth.json").read_text(), "relay-key")
    relay, other, zai = parsed.entries
    assert (relay.slug, relay.name) == ("relay", "Relay // not a comment")
    assert (relay.base_url, relay.api_key) == ("https://relay.example/v1", "relay-key")
    assert relay.headers == {"X-Team": "a"}
    assert [(each.model_id, each.facts["enabled"]) for each in relay.models] == [
        ("upstream/glm-4.7", True),
        ("glm-4.5-air", False),
    ]
    facts = relay.models[0].facts
    assert (facts["context"], facts["input_price"], facts["vision"]) == (
        204800,
        Decimal("0.6"),
        True,
    )
    assert other.settings == {"enabled": False}
    assert (zai.preset, zai.api_key) == ("zai-coding", "zai-secret-0123456789")
    assert {each.name for each in parsed.skipped} == {"vertex", "auth.json: anthropic"}


def test_a_litellm_config_is_grouped_by_address_and_key() -> None:
    """Two models of one account are one provider; prices are for a million tokens."""
    parsed = golden("config.yaml", found="inference-key")
    inference, anthropic, bedrock = parsed.entries
    assert [each.model_id for each in inference.models] == ["llama-3", "llama-3-large"]
    assert inference.models[0].facts["input_price"] == Decimal("0.6")
    assert (inference.api_key, anthropic.kind) == ("inference-key", "anthropic")
    assert (bedrock.litellm_provider, bedrock.base_url) == ("bedrock", "")
    assert parsed.skipped == ()


@pytest.mark.parametrize("name", ["opencode.json", "config.yaml"])
def test_an_upload_looks_nothing_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is there, and the page asks for the key all the same."""
    monkeypatch.setenv("RELAY_KEY", "of-the-server")
    monkeypatch.setenv("INFERENCE_KEY", "of-the-server")
    entry = read.parse_document(
        read.open_document((GOLDEN / name).read_text()), resolve_nothing
    ).entries[0]
    assert entry.api_key is None
    assert str(entry.missing[0]).startswith("key: {env:")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("", "file is empty"),
        ("{\n  oops", "line 2, column 3"),
        ("model_list: [", "line 2: this is not valid YAML"),
        ("just words", "not a configuration"),
        ('{"provider": {"a\\u0000": {}}}', "NUL"),
        ("{}", "Unknown format"),
        ('{"provider": []}', "provider: an object"),
        ('{"provider": {"a": 1}}', "provider.a: an object"),
        ('{"provider": {"a": {"options": {"baseURL": "ftp://x"}}}}', "provider.a.options.baseURL"),
        ('{"provider": {"a": {"options": {"baseURL": 4}}}}', "provider.a.options.baseURL: text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": "opencode-web", "version": 9}', "version"),
        ('{"format": "opencode-web", "version": 1, "providers": 3}', "providers: a list"),
        ('{"format": "opencode-web-sealed", "version": 1}', "passphrase is needed"),
        (" " * (5 * 2**20) + "{}", "larger than 5 MB"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(source: str, place: str) -> None:
    """In words, never in a traceback."""
    with pytest.raises(Malformed, match=place):
        read.parse_document(read.open_document(source), resolve_nothing)


def test_no_value_of_a_file_is_in_its_error() -> None:
    """It might be a key."""
    bad = '{"provider": {"a": {"options": {"baseURL": "http://a/v1", "apiKey": "se cret"}}}}'
    with pytest.raises(Malformed) as caught:
        read.parse_document(read.open_document(bad), resolve_nothing)
    assert "cret" not in str(caught.value)


WORDS = st.text("abcdefgh", min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(JSON)
def test_plain_json_reads_as_json_does(document: object) -> None:
    """Whatever looks like a comment or a comma inside of a text."""
    assert jsonc.loads(json.dumps(document, ensure_ascii=False)) == document


MODELS = st.builds(
    ModelEntry,
    model_id=WORDS,
    facts=st.fixed_dictionaries(
        {"name": WORDS, "enabled": st.booleans()},
        optional={"context": st.integers(1, 10**6), "input_price": st.decimals(0, 99, places=6)},
    ),
)
ENTRIES = st.builds(
    ProviderEntry,
    slug=WORDS,
    name=WORDS,
    kind=st.sampled_from(["openai", "anthropic"]),
    base_url=WORDS.map("https://{}.example/v1".format),
    api_key=st.none() | WORDS,
    headers=st.none() | st.dictionaries(WORDS, WORDS, min_size=1, max_size=3),
    gateway_api_key=st.none() | WORDS,
    settings=st.fixed_dictionaries({}, optional={"prefer_direct": st.booleans()}),
    alternatives=st.lists(WORDS, unique=True).map(sorted).map(tuple),
    models=st.lists(MODELS, unique_by=lambda each: each.model_id, max_size=4).map(tuple),
)


@given(st.lists(ENTRIES, unique_by=lambda each: each.slug, min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_what_is_exported_is_imported_as_it_was(entries: list[ProviderEntry]) -> None:
    """Sealed and opened again; and then there is nothing left to do."""
    entries = [e for e in entries if e.slug not in ("new", "test", "fix")] or entries[:0]
    sealed = json.dumps(
        native_format.seal(native_format.document(entries, secrets=True), PASSPHRASE)
    )
    if not entries:
        return
    parsed = read.parse_document(read.open_document(sealed, PASSPHRASE), resolve_nothing)
    assert parsed.entries == tuple(entries)
    stored = {each.slug: each for each in entries}
    assert {step.verb for step in plan.plan_import(parsed, stored)} == {"unchanged"}


def test_a_plain_export_holds_no_secret_and_names_each() -> None:
    """Nor does a sealed one open with another passphrase."""
    entry = ProviderEntry(
        slug="acme",
        name="Acme",
        kind="openai",
        base_url="https://acme.example/v1",
        api_key="key-secret",
        headers={"X-Team": "header-secret"},
        gateway_api_key="gateway-secret",
    )
    plain = json.dumps(native_format.document([entry], secrets=False))
    assert "secret" not in plain
    assert "{env:ACME_API_KEY}" in plain
    sealed = json.dumps(
        native_format.seal(native_format.document([entry], secrets=True), PASSPHRASE)
    )
    assert "secret" not in sealed
    with pytest.raises(Malformed, match="passphrase is wrong"):
        read.open_document(sealed, "another pass phrase")


SLUGS = st.lists(
    st.text("abc-_0129\u00e9\u0436", min_size=1, max_size=4), unique=True, min_size=1, max_size=6
)


@given(SLUGS, st.lists(st.text("aA-_.~!1", min_size=1, max_size=3), unique=True, max_size=6))
def test_exports_name_variables_that_a_shell_can_set(slugs: list[str], headers: list[str]) -> None:
    """Each for one secret alone."""
    entries = [
        ProviderEntry(
            slug=slug,
            name=slug,
            kind="openai",
            base_url="https://a.example/v1",
            api_key="k",
            headers=dict.fromkeys(headers, "v"),
            gateway_api_key="g",
            settings={"enabled": True},
        )
        for slug in slugs
    ]
    for document, each in (
        (native_format.document(entries, secrets=False), 2),
        (exporting.write_opencode(entries), 1),
    ):
        named = re.findall(r"\{env:([^}]*)\}", json.dumps(document, ensure_ascii=False))
        assert len(named) == len(set(named)) == len(slugs) * (each + len(headers))
        assert all(re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) for name in named)
