"""Read an answer in the OpenAI Responses format as our events. No I/O.

The events carry the payload, and each payload is an event, for callers who read this format.
Specification: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from collections.abc import Iterable
from dataclasses import replace

from providers.domain.types import (
    ClientEvent,
    Finish,
    Json,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from providers.protocols.openai_chat import dicts, fields, in_band_error
from providers.protocols.usage import read_usage

_TEXTS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ARGUMENTS = frozenset(
    {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
)
_CALLS = ("function_call", "custom_tool_call")
_BEGINNINGS = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_INCOMPLETE_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponseReader:
    """Reads one answer, streamed or in one piece."""

    def events(self, payload: Json, line: str = "") -> Iterable[ClientEvent]:
        """The events of one payload. Raises CallError for a failure."""
        events = [replace(event, raw=payload, line=line) for event in _read(payload)]
        content = payload.get("type") not in _BEGINNINGS and not _is_plain_item(payload)
        return events or [Passed(raw=payload, line=line, is_content=content)]


def _read(payload: Json) -> Iterable[ClientEvent]:
    kind, delta = payload.get("type"), payload.get("delta")
    if kind == "error":
        raise in_band_error(payload if payload.get("error") else {"error": payload})
    if kind in _ENDINGS:
        yield from _read_end(fields(payload.get("response")))
    elif payload.get("object") == "response":
        yield from _read_response(payload)
    elif kind == "response.output_item.added":
        yield from _read_call(payload.get("output_index"), fields(payload.get("item")))
    elif isinstance(delta, str) and delta:
        if kind in _TEXTS:
            yield TextDelta(text=delta)
        elif kind in _THOUGHTS:
            yield ReasoningDelta(text=delta)
        elif kind in _ARGUMENTS:
            call = {"index": payload.get("output_index"), "function": {"arguments": delta}}
            yield ToolCallDelta(call=call)


def _is_plain_item(payload: Json) -> bool:
    """Whether a payload begins an item or a part that is still empty."""
    item = fields(payload.get("item")).get("type")
    return (
        payload.get("type") == "response.output_item.added" and item in ("message", "reasoning")
    ) or payload.get("type") in (
        "response.content_part.added",
        "response.reasoning_summary_part.added",
    )


def _read_call(index: object, item: Json) -> Iterable[ClientEvent]:
    if item.get("type") in _CALLS:
        arguments = item.get("arguments") or item.get("input") or ""
        function = {"name": item.get("name"), "arguments": arguments}
        head = {"index": index, "id": item.get("call_id"), "type": "function"}
        yield ToolCallDelta(call={**head, "function": function})


def _read_response(response: Json) -> Iterable[ClientEvent]:
    """A response in one piece."""
    for index, item in enumerate(dicts(response.get("output"))):
        yield from _read_call(index, item)
        for part in dicts(item.get("summary")):
            yield ReasoningDelta(text=str(part.get("text") or ""))
        for part in dicts(item.get("content")) if item.get("type") == "message" else ():
            yield TextDelta(text=str(part.get("text") or part.get("refusal") or ""))
    yield from _read_end(response)


def _read_end(response: Json) -> Iterable[ClientEvent]:
    """Usage and why it ended. Raises CallError where it failed."""
    if response.get("status") == "failed" or response.get("error"):
        raise in_band_error({"error": response.get("error") or "The response failed."})
    if reported := fields(response.get("usage")):
        yield UsageReport(usage=read_usage(reported), reported=reported)
    if response.get("status") == "incomplete":
        native = str(fields(response.get("incomplete_details")).get("reason") or "incomplete")
        yield Finish(reason=_INCOMPLETE_REASONS.get(native, "length"), native=native)
    elif response.get("status") == "completed":
        calls = any(item.get("type") in _CALLS for item in dicts(response.get("output")))
        yield Finish(reason="tool_calls" if calls else "stop", native="completed")
