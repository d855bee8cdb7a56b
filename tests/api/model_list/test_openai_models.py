"""What `/v1/models` says of a model: what is known, in the fields that clients read."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.model_list.openai_models import describe_model, find_model, list_models
from providers.domain.prices import Prices
from providers.router.served_models import ServedModel


def served(**fields: Any) -> ServedModel:
    values: dict[str, Any] = {
        "provider_id": 1,
        "provider_slug": "acme",
        "provider_name": "Acme",
        "model_id": "m",
        "name": "M",
        "alias": "",
        "context": None,
        "output_limit": None,
        "first_seen": datetime(2026, 1, 1, tzinfo=UTC),
        "prices": Prices(),
    }
    return ServedModel(**values | fields)


def test_lists_all_known_fields() -> None:
    """Limits in tokens, prices in USD for one token, as OpenRouter lists them."""
    model = served(
        context=204_800,
        output_limit=131_072,
        vision=True,
        tools=True,
        reasoning=False,
        json_output=True,
        takes=("temperature", "seed"),
        prices=Prices(input=Decimal("0.6"), output=Decimal("2.2")),
    )
    assert describe_model(model, "acme/m") == {
        "id": "acme/m",
        "object": "model",
        "created": 1767225600,
        "owned_by": "acme",
        "name": "M",
        "context_length": 204_800,
        "max_output_tokens": 131_072,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "capabilities": {"vision": True, "tools": True, "reasoning": False, "json_output": True},
        "supported_parameters": [
            *("response_format", "seed", "structured_outputs"),
            *("temperature", "tool_choice", "tools"),
        ],
        "pricing": {"prompt": "0.0000006", "completion": "0.0000022"},
    }


def test_leaves_out_unknown_fields() -> None:
    """A client reads a false as "no", and a list of parameters as a whole one."""
    row = describe_model(served(takes=("temperature",)), "acme/m")
    assert set(row) == {"id", "object", "created", "owned_by", "name"}


def test_a_free_model_costs_nothing() -> None:
    """Which is known, and not unknown."""
    row = describe_model(served(prices=Prices(input=Decimal(0), output=Decimal(0))), "acme/m")
    assert row["pricing"] == {"prompt": "0", "completion": "0"}


@given(st.decimals(min_value=0, max_value=10_000, places=6))
def test_a_price_for_one_token_is_exact(price: Decimal) -> None:
    """No exponent and no rounding: programs multiply it."""
    row = describe_model(served(prices=Prices(input=price, output=price)), "acme/m")
    text = row["pricing"]["prompt"]
    assert "E" not in text.upper()
    assert Decimal(text) * 1_000_000 == price


@pytest.mark.parametrize("name", ["acme/m", "fast"])
def test_a_model_is_found_by_either_name(name: str) -> None:
    """And listed by those that the key may use."""
    models = [served(alias="fast"), served(model_id="other")]
    assert (found := find_model(models, name))
    assert found["id"] == name
    assert find_model(models, "acme/none") is None
    listed = list_models(models, lambda model, name: name != "acme/m")["data"]
    assert [row["id"] for row in listed] == ["fast", "acme/other"]
