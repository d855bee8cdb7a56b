"""Describe models as `/v1/models` does: OpenAI's fields, and those that clients add. No I/O.

Limits, abilities and prices are in OpenRouter's fields, which most clients read; unknown values
are left out, never guessed. Source: https://openrouter.ai/docs/api-reference/models.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from providers.protocols.endpoint_kinds import endpoints_of

if TYPE_CHECKING:
    from providers.router.served_models import ServedModel

_MILLION = 1_000_000
# Our abilities, and the OpenRouter parameters that stand for them.
_PARAMETERS = {
    "tools": ("tools", "tool_choice"),
    "reasoning": ("reasoning",),
    "json_output": ("response_format", "structured_outputs"),
}


def list_models(
    models: "Iterable[ServedModel]", is_listed: Callable[["ServedModel", str], bool]
) -> dict[str, Any]:
    """The models, each under its full name and its aliases; a shared alias is listed once."""
    rows = [
        describe_model(model, name)
        for model in models
        for name in list_names(model)
        if is_listed(model, name)
    ]
    return {
        "object": "list",
        "data": list({row["id"]: row for row in reversed(rows)}.values())[::-1],
    }


def find_model(models: "Iterable[ServedModel]", name: str) -> dict[str, Any] | None:
    """The model with this name, by any of its names."""
    matches = (model for model in models if name in list_names(model))
    return next((describe_model(model, name) for model in matches), None)


def list_names(model: "ServedModel") -> list[str]:
    """The full name of a model, then its aliases."""
    names = (model.full_name, model.alias, *model.further_aliases)
    return list(dict.fromkeys(name for name in names if name))


def describe_model(model: "ServedModel", name: str) -> dict[str, Any]:
    """A model under one of its names. Prices are in USD per token, as text."""
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
        modalities = ["text", "image"] if model.vision else ["text"]
        row["architecture"] = {"input_modalities": modalities, "output_modalities": ["text"]}
    abilities = {key: getattr(model, key) for key in ("vision", *_PARAMETERS)}
    if capabilities := {key: has for key, has in abilities.items() if has is not None}:
        row["capabilities"] = capabilities
    if (parameters := _parameters(model)) is not None:
        row["supported_parameters"] = parameters
    prices = {"prompt": model.prices.input, "completion": model.prices.output}
    if pricing := {key: _per_token(price) for key, price in prices.items() if price is not None}:
        row["pricing"] = pricing
    if model.kinds:
        row["kinds"] = sorted(model.kinds)
        row["endpoints"] = [f"/v1/{path}" for path in endpoints_of(model.kinds)]
    if model.virtual:
        row["strategy"] = model.virtual.strategy.value
        row["members"] = [member.name for member in model.virtual.members]
    return row


def _parameters(model: "ServedModel") -> list[str] | None:
    """The supported request parameters; None where some are unknown, because clients take a missing
    one for unsupported."""
    if model.takes is None or model.tools is None:
        return None
    supported = [names for ability, names in _PARAMETERS.items() if getattr(model, ability)]
    return sorted({*model.takes, *(name for names in supported for name in names)})


def _per_token(price: Decimal) -> str:
    return f"{(price / _MILLION).normalize():f}"
