"""Describe models as LiteLLM's `/v1/model/info` does, without any secret. No I/O.

Prices are in USD per token; what is unknown is null. Source:
https://docs.litellm.ai/docs/proxy/model_management.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from api.model_list.openai_models import list_names

if TYPE_CHECKING:
    from providers.router.served_models import ServedModel

_MILLION = 1_000_000
# The modes of LiteLLM, by our kinds: docs.litellm.ai/docs/proxy/configs.
_MODES = {
    "image": "image_generation",
    "speech": "audio_speech",
    "transcription": "audio_transcription",
}


def list_info(
    models: "Iterable[ServedModel]", is_listed: "Callable[[ServedModel, str], bool]"
) -> dict[str, Any]:
    """Every listed model under each of its names."""
    return {
        "data": [
            describe_info(model, name)
            for model in models
            for name in list_names(model)
            if is_listed(model, name)
        ]
    }


def describe_info(model: "ServedModel", name: str) -> dict[str, Any]:
    """A model under one of its names."""
    kinds = sorted(model.kinds)
    return {
        "model_name": name,
        "litellm_params": {"model": model.full_name},
        "model_info": {
            "id": model.full_name,
            "mode": _MODES.get(kinds[0], kinds[0]) if kinds else None,
            "litellm_provider": model.provider_slug,
            "max_tokens": model.output_limit,
            "max_input_tokens": model.context,
            "max_output_tokens": model.output_limit,
            "input_cost_per_token": _per_token(model.prices.input),
            "output_cost_per_token": _per_token(model.prices.output),
            "cache_read_input_token_cost": _per_token(model.prices.cache_read),
            "cache_creation_input_token_cost": _per_token(model.prices.cache_write),
            "supports_vision": model.vision,
            "supports_function_calling": model.tools,
            "supports_reasoning": model.reasoning,
            "supports_response_schema": model.json_output,
            "supported_openai_params": list(model.takes) if model.takes is not None else None,
        },
    }


def _per_token(price: Decimal | None) -> float | None:
    return None if price is None else float(price / _MILLION)
