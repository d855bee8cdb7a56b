"""A provider's list of models, in any of the shapes seen, as DiscoveredModels. No I/O.

What a list omits stays None, for other sources to fill in. Prices are in USD per million tokens.
An entry that cannot be read is left out and counted: it never spoils the others.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import DiscoveredModel, Json
from providers.protocols.error_body import is_error
from providers.protocols.openai_chat import in_band_error

MILLION = 1_000_000
LONGEST_ID = 200  # characters, as the column keeps them
_NAMES = ("id", "slug", "key", "model_name", "model", "name")
_CONTEXTS = ("context_length", "context_window", "max_context_length", "max_model_len")
_OUTPUTS = ("max_output_tokens", "max_completion_tokens", "output_token_limit", "outputTokenLimit")
_HIGHEST_PRICE = 1_000_000  # USD per million tokens; what is above is no price

# What servers call a model that does not chat: LM Studio's and Together's `type`, LiteLLM's `mode`
# (docs.litellm.ai/docs/proxy/configs), Together's again. By the kinds of models.ModelKind.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "chat": ("llm", "vlm", "chat", "language", "code", "completion", "responses"),
    "embedding": ("embedding", "embeddings"),
    "image": ("image", "image_generation", "image_edit"),
    "speech": ("audio_speech", "speech", "tts"),
    "transcription": ("audio_transcription", "transcription", "transcribe", "stt"),
    "rerank": ("rerank", "reranker"),
    "moderation": ("moderation",),
    "other": ("audio", "video", "video_generation", "realtime", "ocr", "search", "vector_store"),
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}


def kind_of(word: object) -> str:
    """The kind of model that a server's word means; empty for a word that is not known."""
    return _KIND_OF.get(word.lower(), "") if isinstance(word, str) else ""


# Vendors list all models without their kind; these words in an id show it.
_BY_WORD: Mapping[str, tuple[str, ...]] = {
    "embedding": ("embed",),
    "transcription": ("whisper", "transcribe"),
    "speech": ("tts",),
    "image": ("dall-e", "image"),
    "moderation": ("moderation", "guard"),
    "rerank": ("rerank",),
    "other": ("audio", "realtime", "sora", "davinci", "babbage", "ocr", "veo"),
}


def guess_kind(model_id: str) -> str:
    """The kind of model that an id looks like; `chat` where nothing in it says otherwise."""
    kinds = (
        kind for kind, words in _BY_WORD.items() if any(word in model_id.lower() for word in words)
    )
    return next(kinds, "chat")


class ModelList(list[DiscoveredModel]):
    """The models of one list; `unread` counts its entries that could not be read."""

    unread = 0


def read_model_list(payload: object) -> ModelList:
    """A catalogue in OpenAI's shape (`data[].id`) or one of those seen in its place.

    `models[].slug`, `.id`, `.key`, `.model` or `.name`, LiteLLM's `data[].model_name` with
    `model_info`, and a bare list. Raises CallError where none fits.
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
    models = [_read_model(row) for row in rows]
    listed = ModelList(model for model in models if is_storable(model.model_id))
    listed.unread = len(models) - len(listed) + _count_unread(payload)
    return listed


def is_storable(model_id: str) -> bool:
    """Whether an id can be stored and requested: a lone surrogate or a NUL cannot."""
    return 0 < len(model_id) <= LONGEST_ID and text(model_id) == model_id


def text(value: object) -> str:
    """A text without what a database cannot keep; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "ignore").decode().replace("\0", "")


def _count_unread(payload: object) -> int:
    """Entries that the gateway process could not read of the same list."""
    count = payload.get("unread") if isinstance(payload, Mapping) else 0
    return _number(count) or 0


_OTHER_SHAPE = re.compile(
    r'\s*(?:(?P<bare>\[)|\{\s*"models"\s*:\s*\[)\s*(?:\{\s*"(?P<name>\w+)")?', re.ASCII
)


def describe_shape(beginning: str) -> str:
    """How a list's beginning differs from OpenAI's `data[].id`; empty where it does not."""
    if not (match := _OTHER_SHAPE.match(beginning)):
        return ""
    name = f".{match['name']}" if match["name"] else ""
    return f"a bare list{name and ' of objects'}" if match["bare"] else f"models[]{name}"


def _read_model(row: object) -> DiscoveredModel:
    if isinstance(row, str):
        return DiscoveredModel(model_id=row)
    if not isinstance(row, Mapping):
        return DiscoveredModel(model_id="")
    names = (row.get(key) for key in _NAMES)
    model_id = next((name for name in names if isinstance(name, str) and name), "")
    # Gemini lists "models/gemini-..." and takes both; the short name is the one people know.
    model_id = model_id.removeprefix("models/")
    info = _part(row, "model_info")
    if info:
        return describe_litellm_model(model_id, info)
    into, out, read, written = _prices(_part(row, "pricing"))
    return DiscoveredModel(
        model_id=model_id,
        name=text(row.get("display_name") or row.get("displayName") or row.get("name")),
        kind=_kind(row),
        context=_first_number(row, (*_CONTEXTS, "inputTokenLimit"), "top_provider"),
        output_limit=_first_number(row, _OUTPUTS, "top_provider"),
        vision=_has_vision(row),
        tools=_has_ability(row, _TOOLS, "tools"),
        reasoning=_has_ability(row, _REASONING, "reasoning"),
        json_output=_has_ability(row, ("structured_outputs",), "structured_outputs"),
        input_price=into,
        output_price=out,
        cache_read_price=read,
        cache_write_price=written,
        takes=_texts(row.get("supported_parameters")),
    )


def describe_litellm_model(model_id: str, info: Json) -> DiscoveredModel:
    """A model as LiteLLM describes it: a proxy's `model_info`, or a row of its list of prices."""
    return DiscoveredModel(
        model_id=model_id,
        kind=kind_of(info.get("mode")),
        context=_number(info.get("max_input_tokens")),
        output_limit=_number(info.get("max_output_tokens")),
        vision=_flag(info, "supports_vision"),
        tools=_flag(info, "supports_function_calling"),
        reasoning=_flag(info, "supports_reasoning"),
        json_output=_flag(info, "supports_response_schema"),
        input_price=_price(info.get("input_cost_per_token"), MILLION),
        output_price=_price(info.get("output_cost_per_token"), MILLION),
        cache_read_price=_price(info.get("cache_read_input_token_cost"), MILLION),
        cache_write_price=_price(info.get("cache_creation_input_token_cost"), MILLION),
        takes=_texts(info.get("supported_openai_params")),
    )


# What servers call the same ability: Mistral, LM Studio (both of its APIs), Ollama.
_VISION = ("vision", "image")
_TOOLS = ("function_calling", "tools", "tool_use", "trained_for_tool_use")
_REASONING = ("reasoning", "thinking")


def _kind(row: Json) -> str:
    """By its `type`, or by what comes out of it (OpenRouter lists image models so)."""
    outputs = _part(row, "architecture").get("output_modalities")
    if isinstance(outputs, list) and outputs and "text" not in outputs:
        return next((kind for each in outputs if (kind := kind_of(each))), "other")
    return kind_of(row.get("type"))


def _has_vision(row: Json) -> bool | None:
    inputs = _part(row, "architecture").get("input_modalities") or row.get("input_modalities")
    if isinstance(inputs, list):
        return "image" in inputs
    # LM Studio: a `vlm` sees, an `llm` does not.
    if row.get("type") in ("vlm", "llm") and not isinstance(row.get("capabilities"), Mapping):
        return bool(row["type"] == "vlm")
    return _has_capability(row, _VISION)


def _has_ability(row: Json, capabilities: Iterable[str], parameter: str) -> bool | None:
    """By its capabilities (Mistral, LM Studio), or by the parameters it accepts (OpenRouter)."""
    taken = _texts(row.get("supported_parameters"))
    return _has_capability(row, capabilities) if taken is None else parameter in taken


def _has_capability(row: Json, capabilities: Iterable[str]) -> bool | None:
    """Whether a row's `capabilities` name one of these: an object of switches, or a list."""
    listed = row.get("capabilities")
    if isinstance(listed, list):
        return any(each in listed for each in capabilities)
    switches = [_flag(_part(row, "capabilities"), each) for each in capabilities]
    return next((each for each in switches if each is not None), None)


def _prices(pricing: Json) -> tuple[Decimal | None, ...]:
    """In, out, read from a cache, written to one. OpenRouter's are for one token, as text;
    Together's for a million, as numbers."""
    if "prompt" in pricing or "completion" in pricing:
        names = ("prompt", "completion", "input_cache_read", "input_cache_write")
        return tuple(_price(pricing.get(name), MILLION) for name in names)
    return tuple(_price(pricing.get(name)) for name in ("input", "output", "cached_input", ""))


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


def _first_number(row: Json, keys: Iterable[str], nested: str) -> int | None:
    inner = _part(row, nested)
    values = (_number(each.get(key)) for each in (row, inner) for key in keys)
    return next((value for value in values if value), None)


def _number(value: object) -> int | None:
    """A whole number, also where it came as a float or in digits."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(row: Json, key: str) -> bool | None:
    value = row.get(key)
    return value if isinstance(value, bool) else None


def _part(row: Json, key: str) -> Mapping[str, Any]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> tuple[str, ...] | None:
    """Names and no more of them than any model has."""
    if not isinstance(value, list | tuple):
        return None
    names = (each for each in value if isinstance(each, str) and len(each) <= 60)
    return tuple(each for each in names if text(each) == each)[:60]
