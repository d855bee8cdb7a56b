"""Presets are rows that the rest of the program can rely on."""

from dataclasses import replace

import pytest
from django.utils.text import slugify

from providers.domain import base_url
from providers.domain.errors import ErrorKind, classify
from providers.domain.types import Kind, Method
from providers.models import ProviderType, RoutingMethod, connection
from providers.models.connection import Connection
from providers.vendors import offline_catalog, presets
from providers.vendors.presets import PRESETS, Preset


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.slug)
def test_every_row_is_usable(preset: Preset) -> None:
    """Its address needs no tidying, and its choices are those of the model."""
    if not preset.is_custom:
        assert base_url.tidy(preset.base_url) == base_url.Tidied(url=preset.base_url)
    assert preset.provider_type in ProviderType.values
    assert preset.routing_method in RoutingMethod.values
    assert preset.health_check_interval >= 5


@pytest.mark.parametrize("preset", [p for p in PRESETS if p.catalogue], ids=lambda p: p.slug)
def test_every_catalogue_it_names_exists(preset: Preset) -> None:
    """The offline catalogue knows the vendor by that id."""
    assert offline_catalog.models(preset.catalogue)


def test_slugs_are_unique_and_an_unknown_one_is_custom() -> None:
    """A provider whose preset went away still works."""
    assert len(PRESETS) == len({preset.slug for preset in PRESETS})
    assert presets.get("never-heard-of") == presets.CUSTOM


def test_the_coding_plan_is_the_seeds_template() -> None:
    """Gateway first, with the direct route left as fallback, every 30 s, never chatted to."""
    preset = presets.get("zai-coding")
    assert preset.base_url == "https://api.z.ai/api/coding/paas/v4"
    assert (
        preset.routing_method,
        preset.prefer_direct,
        preset.fallback_enabled,
    ) == ("gateway", False, True)
    assert (preset.health_check_interval, preset.probe_chat_allowed) == (30, False)


def test_the_catalogue_gives_limits_and_prices() -> None:
    """What the vendor's own list leaves out is known without a network."""
    model = offline_catalog.models("openai")["gpt-4o"]
    assert model.context == 128000
    assert model.vision
    assert model.tools
    assert model.input_price is not None


def test_a_vendor_without_a_catalogue_has_no_models() -> None:
    """Nothing is guessed."""
    assert offline_catalog.models("") == {}
    assert offline_catalog.models("no-such-vendor") == {}


def test_the_coding_plan_is_called_as_its_gateway() -> None:
    """The preset's header goes with each call on both routes, unless the operator wrote another."""
    plain = Connection(preset="zai-coding", kind=Kind.OPENAI, base_url="https://z.example/v4")
    agent = {"User-Agent": "OpenCode-LiteLLM-Gateway/1.0"}
    assert connection.target(plain, Method.DIRECT).headers == agent
    upstream = connection.target(plain, Method.GATEWAY, endpoint="").upstream
    assert upstream
    assert upstream.headers == agent
    typed = replace(plain, headers={"user-agent": "mine"})
    assert connection.target(typed, Method.DIRECT).headers == {"user-agent": "mine"}


@pytest.mark.parametrize(
    "preset", presets.catalogue_presets().values(), ids=lambda preset: preset.slug
)
def test_every_vendor_of_the_catalogue_is_usable(preset: Preset) -> None:
    """With an address of its own that needs no tidying, under a slug that fits into an address."""
    assert base_url.tidy(preset.base_url) == base_url.Tidied(url=preset.base_url)
    assert slugify(preset.slug) == preset.slug
    assert presets.get(preset.slug) == preset


def test_a_vendor_is_there_once() -> None:
    """What the rows name is not offered again from the catalogue; others are. Only Z.ai's plan has
    two addresses, one for each format."""
    rows = [(preset.catalogue, preset.kind) for preset in presets.search("") if preset.catalogue]
    assert len(rows) == len(set(rows))
    offered = [catalogue for catalogue, _ in rows]
    twice = {catalogue for catalogue in offered if offered.count(catalogue) > 1}
    assert twice == {"zai-coding-plan"}
    assert {"huggingface", "minimax", "nvidia"} <= set(offered)
    assert "lmstudio" not in offered


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        ("z.ai coding", "zai-coding"),
        ("HUGGING", "huggingface"),
        ("api.kimi.com", "kimi-for-coding"),
    ],
)
def test_words_find_a_vendor(words: str, slug: str) -> None:
    """By name, hint or address, in any case."""
    assert slug in [preset.slug for preset in presets.search(words)]


def test_nothing_matches_nonsense() -> None:
    """Every word has to be there."""
    assert presets.search("openai nonsense-of-no-vendor") == ()


def test_a_vendors_codes_are_its_own() -> None:
    """A code has one meaning, and failures are sorted by it."""
    listed = [(code, kind) for p in PRESETS for kind, codes in p.codes.items() for code in codes]
    assert len(listed) == len({code for code, _ in listed})
    assert dict(listed)["1113"] == "quota"
    for code, kind in listed:
        assert classify(429, code) == ErrorKind(kind)
