"""Read from a request what it needs of a model. No I/O."""

from collections.abc import Mapping
from typing import Any

from providers.domain.request_needs import RequestNeeds
from providers.domain.types import ChatRequest
from providers.protocols import estimates

# The parts of a message that only a model with vision reads; OpenAI's names and Anthropic's.
_PICTURES = frozenset({"image_url", "image", "input_image"})
_JSON_FORMATS = frozenset({"json_object", "json_schema"})
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")


def read_needs(request: ChatRequest) -> RequestNeeds:
    """The needs of this request; its tokens by the rules of thumb of `estimates`."""
    options = request.options
    return RequestNeeds(
        input_tokens=estimates.input_tokens(request),
        output_tokens=_output_tokens(options),
        vision=_has_picture(request),
        tools=bool(options.get("tools") or options.get("functions")),
        json_output=_needs_json(options.get("response_format")),
    )


def _output_tokens(options: Mapping[str, Any]) -> int:
    limits = (options.get(name) for name in _OUTPUT_LIMITS)
    return next((n for n in limits if isinstance(n, int) and n > 0), 0)


def _has_picture(request: ChatRequest) -> bool:
    return any(
        part.get("type") in _PICTURES
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content or ()
    )


def _needs_json(response_format: object) -> bool:
    return isinstance(response_format, Mapping) and response_format.get("type") in _JSON_FORMATS
