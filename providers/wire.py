"""The OpenAI chat format both ways: a request to a body, a chunk to events. No I/O.

Fields we do not name pass through untouched, in both directions. Specification:
https://platform.openai.com/docs/api-reference/chat and .../chat-streaming.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from providers.errors import CallError, ErrorKind, classify, error_fields
from providers.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    FoundModel,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)


def body(request: ChatRequest, model: str) -> dict[str, Any]:
    """A streaming request's JSON body; usage is always asked for."""
    return {
        **request.options,
        "model": model,
        "messages": [message(each) for each in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def message(message: ChatMessage) -> dict[str, Any]:
    """One message with the fields it came with."""
    content = list(message.content) if isinstance(message.content, tuple) else message.content
    return {**message.extra, "role": message.role, "content": content}


def events(chunk: Json) -> Iterable[ClientEvent]:
    """The events of one chunk, or of a whole answer sent where a stream was asked for.

    Raises CallError for an error inside a good envelope.
    """
    if chunk.get("error"):
        raise in_band_error(chunk)
    for choice in dicts(chunk.get("choices")):
        if choice.get("index") in (None, 0):
            yield from _choice_events(choice, chunk)
    if isinstance(chunk.get("usage"), Mapping):
        yield UsageReport(usage=usage(chunk["usage"]), raw=chunk)


def dicts(value: object) -> list[Json]:
    """The objects of a list that may be none, or hold anything: upstreams send what they like."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def fields(value: object) -> Json:
    """An object, or an empty one in the place of anything else."""
    return value if isinstance(value, Mapping) else {}


def count(value: object) -> int:
    """A number of tokens; zero for null, and for what is no number."""
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0


def _choice_events(choice: Json, chunk: Json) -> Iterable[ClientEvent]:
    delta = fields(choice.get("delta") or choice.get("message"))
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        yield ReasoningDelta(text=reasoning, raw=chunk)
    if text := _text(delta.get("content")):
        yield TextDelta(text=text, raw=chunk)
    for call in dicts(delta.get("tool_calls")):
        yield ToolCallDelta(call=call, raw=chunk)
    if choice.get("finish_reason"):
        yield Finish(reason=str(choice["finish_reason"]), raw=chunk)


def _text(content: object) -> str:
    """Content is a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, Mapping))
    return ""


def in_band_error(payload: Json) -> CallError:
    """The error that a chunk or a 200 answer carries; a status in its code counts like one."""
    code, text = error_fields(payload)
    number = str(fields(payload.get("error")).get("code") or "")
    status = int(number) if re.fullmatch("[45][0-9][0-9]", number) else None
    kind = classify(status, code)
    return CallError(kind, sentence(kind, text), status=status, code=code or "in_band_error")


def sentence(kind: ErrorKind, text: str) -> str:
    """A provider's own words, cut to a length a card can show; ours where it said nothing."""
    text = " ".join(text.split())
    return text[:280] if text else f"The provider answered with an error ({kind})."


def usage(reported: Json) -> Usage:
    """Token counts; null and missing are zero."""
    return Usage(
        input_tokens=count(reported.get("prompt_tokens")),
        output_tokens=count(reported.get("completion_tokens")),
        cached_tokens=count(fields(reported.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(
            fields(reported.get("completion_tokens_details")).get("reasoning_tokens")
        ),
    )


def found_models(payload: object) -> list[FoundModel]:
    """A catalogue in OpenAI's shape (`data[].id`) or one of those seen in its place.

    `models[].slug`, `.id`, `.model` or `.name`, and a bare list. Raises CallError where none fits.
    """
    rows: object = payload
    if isinstance(payload, Mapping):
        if payload.get("error"):
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


def _found_model(row: object) -> FoundModel:
    if isinstance(row, str):
        return FoundModel(model_id=row)
    if not isinstance(row, Mapping):
        return FoundModel(model_id="")
    names = (row.get(key) for key in ("id", "slug", "model", "name"))
    model_id = next((name for name in names if isinstance(name, str) and name), "")
    # Gemini lists "models/gemini-..." and takes both; the short name is the one people know.
    model_id = model_id.removeprefix("models/")
    context = row.get("context_length") or row.get("context_window") or row.get("max_model_len")
    return FoundModel(
        model_id=model_id,
        name=str(row.get("display_name") or row.get("name") or ""),
        context=context if isinstance(context, int) else None,
    )
