"""Presets are rows that the rest of the program can rely on."""

import pytest

from providers import addresses, catalogue, presets
from providers.models import ProviderType, RoutingMethod
from providers.presets import PRESETS, Preset


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.slug)
def test_every_row_is_usable(preset: Preset) -> None:
    """Its address needs no tidying, and its choices are those of the model."""
    if preset is not presets.CUSTOM:
        assert addresses.tidy(preset.base_url) == addresses.Tidied(url=preset.base_url)
    assert preset.provider_type in ProviderType.values
    assert preset.routing_method in RoutingMethod.values
    assert preset.health_check_interval >= 5


@pytest.mark.parametrize("preset", [p for p in PRESETS if p.catalogue], ids=lambda p: p.slug)
def test_every_catalogue_it_names_exists(preset: Preset) -> None:
    """The offline catalogue knows the vendor by that id."""
    assert catalogue.models(preset.catalogue)


def test_slugs_are_unique_and_an_unknown_one_is_custom() -> None:
    """A provider whose preset went away still works."""
    assert len(PRESETS) == len({preset.slug for preset in PRESETS})
    assert presets.get("never-heard-of") == presets.CUSTOM


def test_the_coding_plan_is_the_seeds_template() -> None:
    """Gateway first, with the direct road left as fallback, every 30 s, never chatted to."""
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
    model = catalogue.models("openai")["gpt-4o"]
    assert model.context == 128000
    assert model.vision
    assert model.tools
    assert model.input_price is not None


def test_a_vendor_without_a_catalogue_has_no_models() -> None:
    """Nothing is guessed."""
    assert catalogue.models("") == {}
    assert catalogue.models("no-such-vendor") == {}
