"""Facts of a model from several sources: the first that has a fact decides, and is named."""

from decimal import Decimal

from providers.catalog import merge
from providers.domain.types import DiscoveredModel
from providers.vendors import offline_catalog


def test_each_fact_names_its_source() -> None:
    """The provider's own word first; what it leaves out is filled in."""
    provider = DiscoveredModel(model_id="x", context=1000, vision=False)
    dev = DiscoveredModel(model_id="x", name="X", context=2000, vision=True, tools=True)
    columns, sources = merge.merge_facts([(merge.PROVIDER, provider), (merge.MODELS_DEV, dev)])
    assert (columns["context"], columns["vision"], columns["tools"]) == (1000, False, True)
    assert sources == {
        "context": "provider",
        "vision": "provider",
        "name": "models.dev",
        "tools": "models.dev",
    }


def test_prices_come_as_a_pair() -> None:
    """An input price of one source and an output price of another belong to no offer."""
    half = DiscoveredModel(model_id="x", input_price=Decimal(9))
    full = DiscoveredModel(model_id="x", input_price=Decimal(1), output_price=Decimal(2))
    columns, sources = merge.merge_facts([("provider", half), ("litellm", full)])
    assert (columns["input_price"], columns["output_price"]) == (1, 2)
    assert sources["input_price"] == "litellm"


def test_cache_prices_belong_to_their_pair() -> None:
    """A free model has no price for its cache that another list gives a paid one."""
    free = DiscoveredModel(model_id="x", input_price=Decimal(0), output_price=Decimal(0))
    paid = DiscoveredModel(
        model_id="x",
        input_price=Decimal(3),
        output_price=Decimal(15),
        cache_read_price=Decimal("0.3"),
    )
    columns, sources = merge.merge_facts([("provider", free), ("models.dev", paid)])
    assert (columns["input_price"], columns["cache_read_price"]) == (0, None)
    assert "cache_read_price" not in sources
    columns, _ = merge.merge_facts([("models.dev", paid), ("provider", free)])
    assert columns["cache_read_price"] == Decimal("0.3")


def test_the_offline_catalogues_know_cache_prices() -> None:
    """Of Anthropic's models both do."""
    for known in (offline_catalog.models("anthropic"), offline_catalog.litellm_models("anthropic")):
        assert any(model.cache_read_price and model.cache_write_price for model in known.values())


def test_nobody_knows_anything() -> None:
    """Then no ability is claimed and no source named."""
    columns, sources = merge.merge_facts(
        [("provider", DiscoveredModel(model_id="x")), ("litellm", None)]
    )
    assert sources == {}
    assert columns["vision"] is False
    assert columns["takes"] is None


def test_litellms_list_is_read_as_a_file() -> None:
    """Prices for a million tokens, ids without the vendor's prefix, chat models only."""
    known = offline_catalog.litellm_models("openai")
    assert known["gpt-4o"].input_price == Decimal("2.5")
    assert "text-embedding-3-small" not in known
    assert "gemini-2.5-pro" in offline_catalog.litellm_models("google")
    assert (
        offline_catalog.litellm_models("") == offline_catalog.litellm_models("no-such-vendor") == {}
    )
