"""A provider's list of models, in any of the shapes seen, as FoundModels. No I/O.

What a list does not say stays None, so that others may say it; a price is USD per million tokens.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from providers.errors import CallError, ErrorKind
from providers.protocols.error_body import is_error
from providers.types import FoundModel, Json
from providers.wire import in_band_error

MILLION = 1_000_000
_NAMES = ("id", "slug", "model_name", "model", "name")
_CONTEXTS = ("context_length", "context_window", "max_context_length", "max_model_len")
_OUTPUTS = ("max_output_tokens", "max_completion_tokens", "output_token_limit", "outputTokenLimit")
_HIGHEST_PRICE = 1_000_000  # USD per million tokens; what is above is no price


def found_models(payload: object) -> list[FoundModel]:
    """A catalogue in OpenAI's shape (`data[].id`) or one of those seen in its place.

    `models[].slug`, `.id`, `.model` or `.name`, LiteLLM's `data[].model_name` with `model_info`,
    and a bare list. Raises CallError where none fits.
    """
    rows: object = payload
    if isinstance(payload, Mapping):
        if payload.get("error") or ("models" not in payload and is_error(payload)):
            raise in_band_error(payload)
        rows = payload.get("data", payload.get("models"))
    if not isinstance(rows, list):
        raise CallError(
            ErrorKind.PROVIDER,
            "The list of models has a shape we do not know.",
            code="catalogue_shape",
        )
    found = (_found_model(row) for row in rows)
    return [model for model in found if model.model_id]


_OTHER_SHAPE = re.compile(
    r'\s*(?:(?P<bare>\[)|\{\s*"models"\s*:\s*\[)\s*(?:\{\s*"(?P<name>\w+)")?', re.ASCII
)


def shape(beginning: str) -> str:
    """How a list's beginning differs from OpenAI's `data[].id`; empty where it does not."""
    if not (found := _OTHER_SHAPE.match(beginning)):
        return ""
    name = f".{found['name']}" if found["name"] else ""
    return f"a bare list{name and ' of objects'}" if found["bare"] else f"models[]{name}"


def _found_model(row: object) -> FoundModel:
    if isinstance(row, str):
        return FoundModel(model_id=row)
    if not isinstance(row, Mapping):
        return FoundModel(model_id="")
    names = (row.get(key) for key in _NAMES)
    model_id = next((name for name in names if isinstance(name, str) and name), "")
    # Gemini lists "models/gemini-..." and takes both; the short name is the one people know.
    model_id = model_id.removeprefix("models/")
    info = _part(row, "model_info")
    if info:
        return described(model_id, info)
    into, out = _prices(_part(row, "pricing"))
    return FoundModel(
        model_id=model_id,
        name=str(row.get("display_name") or row.get("displayName") or row.get("name") or ""),
        context=_whole(row, (*_CONTEXTS, "inputTokenLimit"), "top_provider"),
        output_limit=_whole(row, _OUTPUTS, "top_provider"),
        vision=_sees(row),
        tools=_can(row, "function_calling", "tools"),
        reasoning=_can(row, "reasoning", "reasoning"),
        json_output=_can(row, "structured_outputs", "structured_outputs"),
        input_price=into,
        output_price=out,
        takes=_texts(row.get("supported_parameters")),
    )


def described(model_id: str, info: Json) -> FoundModel:
    """A model as LiteLLM describes it: a proxy's `model_info`, or a row of its list of prices."""
    return FoundModel(
        model_id=model_id,
        context=_number(info.get("max_input_tokens")),
        output_limit=_number(info.get("max_output_tokens")),
        vision=_told(info, "supports_vision"),
        tools=_told(info, "supports_function_calling"),
        reasoning=_told(info, "supports_reasoning"),
        json_output=_told(info, "supports_response_schema"),
        input_price=_price(info.get("input_cost_per_token"), MILLION),
        output_price=_price(info.get("output_cost_per_token"), MILLION),
        takes=_texts(info.get("supported_openai_params")),
    )


def _sees(row: Json) -> bool | None:
    inputs = _part(row, "architecture").get("input_modalities") or row.get("input_modalities")
    if isinstance(inputs, list):
        return "image" in inputs
    return _told(_part(row, "capabilities"), "vision")


def _can(row: Json, capability: str, parameter: str) -> bool | None:
    """Said of its capabilities (Mistral), or by the parameters it takes (OpenRouter)."""
    taken = _texts(row.get("supported_parameters"))
    if taken is not None:
        return parameter in taken
    return _told(_part(row, "capabilities"), capability)


def _prices(pricing: Json) -> tuple[Decimal | None, Decimal | None]:
    """OpenRouter's are for one token, as text; Together's for a million, as numbers."""
    if "prompt" in pricing or "completion" in pricing:
        return _price(pricing.get("prompt"), MILLION), _price(pricing.get("completion"), MILLION)
    return _price(pricing.get("input")), _price(pricing.get("output"))


def _price(value: object, factor: int = 1) -> Decimal | None:
    """None for what is no price, as OpenRouter's -1 for "it depends"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        price = Decimal(str(value)) * factor
    except ArithmeticError:
        return None
    if not price.is_finite() or not 0 <= price < _HIGHEST_PRICE:
        return None
    return price.quantize(Decimal("0.000001"))


def _whole(row: Json, keys: Iterable[str], nested: str) -> int | None:
    inner = _part(row, nested)
    values = (_number(each.get(key)) for each in (row, inner) for key in keys)
    return next((value for value in values if value), None)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _told(row: Json, key: str) -> bool | None:
    value = row.get(key)
    return value if isinstance(value, bool) else None


def _part(row: Json, key: str) -> Mapping[str, Any]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> tuple[str, ...] | None:
    """Names and no more of them than any model has."""
    if not isinstance(value, list | tuple):
        return None
    return tuple(each for each in value if isinstance(each, str) and len(each) <= 60)[:60]
