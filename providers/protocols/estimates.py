"""Tokens of a request and its answer where the provider counts none: texts, tools and pictures, by
rules of thumb. No I/O."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.domain.types import ChatRequest, Json, Usage

CHARACTERS_PER_TOKEN = 4  # https://help.openai.com/en/articles/4936856
PICTURE_TOKENS = 765  # 1024 x 1024 in high detail: https://platform.openai.com/docs/guides/vision


def complete_usage(reported: Usage, request: ChatRequest, characters_out: int) -> Usage:
    """Usage with an estimate in the place of each count that is missing."""
    return replace(
        reported,
        input_tokens=reported.input_tokens or input_tokens(request),
        output_tokens=reported.output_tokens or tokens(characters_out),
        estimated=True,
    )


def input_tokens(request: ChatRequest) -> int:
    """Tokens of the messages, the tool calls in them, and the tools on offer."""
    characters = pictures = 0
    for message in request.messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        else:
            parts = message.content or ()
            characters += sum(len(str(part.get("text") or "")) for part in parts)
            pictures += sum("text" not in part for part in parts)
        calls = message.extra.get("tool_calls")
        characters += sum(map(characters_of_call, calls if isinstance(calls, list) else ()))
    characters += _length(request.options.get("tools"))
    return tokens(characters) + pictures * PICTURE_TOKENS


def tokens(characters: int) -> int:
    """About so many tokens are a text of this length."""
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def characters_of_call(call: Json | Any) -> int:
    """Characters of a tool call, or of a piece of one, that a model reads or writes."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return 0
    return sum(len(str(function.get(name) or "")) for name in ("name", "arguments"))


def _length(tools: object) -> int:
    return len(json.dumps(tools, default=str)) if tools else 0
