"""Models as `/v1/models` lists them: OpenAI's fields, and beside them what clients read. No I/O.

Limits, abilities and prices are in OpenRouter's fields, which most clients read; what nobody knows
is left out, never guessed. Source: https://openrouter.ai/docs/api-reference/models.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from providers.router.snapshot import Served

_MILLION = 1_000_000
# Our abilities, and the parameters by which OpenRouter says that a model has them.
_BY_PARAMETER = {
    "tools": ("tools", "tool_choice"),
    "reasoning": ("reasoning",),
    "json_output": ("response_format", "structured_outputs"),
}


def list_models(models: "Iterable[Served]") -> dict[str, Any]:
    """All of them: each by its full name and its aliases; a shared alias is listed once."""
    rows = [describe(model, name) for model in models for name in _names(model)]
    return {
        "object": "list",
        "data": list({row["id"]: row for row in reversed(rows)}.values())[::-1],
    }


def find_model(models: "Iterable[Served]", name: str) -> dict[str, Any] | None:
    """One of them by either name."""
    found = (model for model in models if name in _names(model))
    return next((describe(model, name) for model in found), None)


def _names(model: "Served") -> list[str]:
    names = (model.full_name, model.alias, *model.further_aliases)
    return list(dict.fromkeys(name for name in names if name))


def describe(model: "Served", name: str) -> dict[str, Any]:
    """One row under one of its names. Prices in USD per token, as text."""
    row: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": int(model.first_seen.timestamp()),
        "owned_by": model.provider_slug,
        "name": model.name,
    }
    limits = {"context_length": model.context, "max_output_tokens": model.output_limit}
    row |= {key: limit for key, limit in limits.items() if limit}
    if model.vision is not None:
        seen = ["text", "image"] if model.vision else ["text"]
        row["architecture"] = {"input_modalities": seen, "output_modalities": ["text"]}
    abilities = {key: getattr(model, key) for key in ("vision", *_BY_PARAMETER)}
    if known := {key: has for key, has in abilities.items() if has is not None}:
        row["capabilities"] = known
    if (parameters := _parameters(model)) is not None:
        row["supported_parameters"] = parameters
    prices = {"prompt": model.prices.input, "completion": model.prices.output}
    if pricing := {key: _per_token(price) for key, price in prices.items() if price is not None}:
        row["pricing"] = pricing
    return row


def _parameters(model: "Served") -> list[str] | None:
    """The request's parameters that it takes; None where the list would not be whole, for a client
    reads what is missing in it as "no"."""
    if model.takes is None or model.tools is None:
        return None
    able = [names for ability, names in _BY_PARAMETER.items() if getattr(model, ability)]
    return sorted({*model.takes, *(name for names in able for name in names)})


def _per_token(price: Decimal) -> str:
    return f"{(price / _MILLION).normalize():f}"
