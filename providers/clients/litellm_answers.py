"""What LiteLLM made of an answer: whether its finish reason and its usage were received at all."""

import asyncio
import re
from typing import Any

from providers.domain.types import Json

# How a whole answer's finish reasons begin, in OpenAI's, Anthropic's or Bedrock's words: a text, or
# null. Within the answer's own text the quotes would be escaped.
_FINISHES = re.compile(r'"(?:finish|stop|done)_?reason"\s*:\s*("|null)', re.I)


def is_unfinished(body: str) -> bool:
    """Whether a full answer, as it was received, has no finish reason but null."""
    return set(_FINISHES.findall(body)) == {"null"}


def claims_finish(chunk: Json) -> bool:
    return any(choice.get("finish_reason") for choice in chunk.get("choices") or ())


def has_usage(answer: Any) -> bool:
    """Whether the provider reported usage: where it did not, LiteLLM counts tokens by itself."""
    chunks = getattr(answer, "chunks", None) or ()
    hidden = (getattr(chunk, "_hidden_params", None) or {} for chunk in chunks)
    return any(getattr(chunk, "usage", None) for chunk in chunks) or any(
        params.get("usage") for params in hidden
    )


def was_received(answer: Any) -> bool:
    """Whether the provider sent a finish reason: the stream wrapper keeps what it received."""
    if not hasattr(answer, "received_finish_reason"):
        return True
    return bool(
        answer.received_finish_reason or getattr(answer, "intermittent_finish_reason", None)
    )


async def close(answer: Any) -> None:
    """Closes the upstream's response, which LiteLLM leaves to the garbage collector."""
    for stream in (getattr(answer, "completion_stream", None), answer):
        for name in ("aclose", "close"):
            close = getattr(stream, name, None)
            if close is None:
                continue
            closing = close()
            if asyncio.iscoroutine(closing):
                await asyncio.shield(closing)
            break
