"""What each finish reason means, in one table for all vendors and both routes. No I/O.

Sources: OpenAI's chat completion object, Anthropic's "Handling stop reasons", Gemini's
FinishReason, Bedrock's StopReason, Cohere's chat v1, vLLM, TGI, and the API references of DeepSeek,
Mistral and Z.ai.

A reason that is not in the table counts as a complete answer and is passed on as it came, unless
its name says that it is an error ("engine_error", "request_timeout"): then it is a failure.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from providers.domain.errors import CallError, ErrorKind


class Ending(StrEnum):
    """How an answer ended. Messages keep the vendor's reason; `ending` gives this for it."""

    COMPLETE = "complete"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"  # cut off at the token limit: more can be requested
    PAUSED = "paused"  # the vendor interrupted a long turn: more can be requested
    FILTERED = "filtered"  # stopped by the vendor's filter
    REFUSED = "refused"  # the model refused to go on
    CONTEXT_FULL = "context_full"  # a failure: the conversation fills the context window
    OVERLOADED = "overloaded"  # a failure: the vendor ran out of capacity
    FAILED = "failed"  # a failure
    UNKNOWN = "unknown"


_NAMES: Mapping[Ending, str] = {
    Ending.COMPLETE: (
        "stop end_turn stop_sequence eos eos_token stop_token complete completed done end finished"
        " success normal"
    ),
    Ending.TOOL_CALLS: "tool_calls tool_call tool_use function_call",
    Ending.LENGTH: (
        "length max_tokens max_output_tokens max_new_tokens max_length model_length token_limit"
    ),
    Ending.PAUSED: "pause_turn compaction",
    Ending.FILTERED: (
        "content_filter content_filtered content_filter_error sensitive safety recitation blocklist"
        " prohibited_content spii image_safety guardrail_intervened moderation error_toxic"
    ),
    Ending.REFUSED: "refusal",
    Ending.CONTEXT_FULL: "model_context_window_exceeded context_length_exceeded error_limit",
    Ending.OVERLOADED: "overloaded overloaded_error model_overloaded insufficient_system_resource",
    Ending.FAILED: (
        "error network_error server_error internal_error engine_error failed failure timeout abort"
        " aborted cancelled canceled interrupted malformed_function_call unexpected_tool_call"
        " malformed_model_output malformed_tool_use too_many_tool_calls user_cancel"
    ),
}
_ENDINGS = {name: ending for ending, names in _NAMES.items() for name in names.split()}

STANDARD = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's finish reasons: the ones that clients know."""

_AS_STANDARD = {
    Ending.COMPLETE: "stop",
    Ending.TOOL_CALLS: "tool_calls",
    Ending.LENGTH: "length",
    Ending.PAUSED: "length",  # OpenAI's format has no word for it; "stop" would claim an end
    Ending.FILTERED: "content_filter",
    Ending.REFUSED: "content_filter",
}
_FAILURES = {
    Ending.CONTEXT_FULL: (ErrorKind.REQUEST, "The model's context window is full."),
    Ending.OVERLOADED: (ErrorKind.OVERLOADED, "The provider ran out of capacity."),
    Ending.FAILED: (ErrorKind.PROVIDER, "The provider broke off the answer."),
}
_ERROR_WORDS = frozenset({"error", "failed", "failure", "timeout", "exception", "abort", "aborted"})
_NO_REASON = frozenset({"", "null", "none"})  # some servers write null as a string


def ending(reason: str) -> Ending:
    """The meaning of a vendor's finish reason, however it is spelled."""
    name = re.sub(r"[\s.-]+", "_", reason.strip().lower())
    if meaning := _ENDINGS.get(name):
        return meaning
    return Ending.FAILED if _ERROR_WORDS & set(name.split("_")) else Ending.UNKNOWN


def is_given(reason: object) -> bool:
    """Whether a chunk's finish reason says anything at all."""
    return bool(reason) and str(reason).strip().lower() not in _NO_REASON


def standard(reason: str) -> str:
    """The reason by its name in OpenAI's format. Empty for a failure; unknown ones stay."""
    if reason in STANDARD:
        return reason
    meaning = ending(reason)
    return "" if meaning in _FAILURES else _AS_STANDARD.get(meaning, reason)


def failure(reason: str) -> CallError | None:
    """The error that a finish reason stands for; None where the answer may end with it."""
    meaning = ending(reason)
    if meaning not in _FAILURES:
        return None
    kind, sentence = _FAILURES[meaning]
    full = meaning == Ending.CONTEXT_FULL
    code = "context_length_exceeded" if full else reason[:100]
    return CallError(kind, f'{sentence} Its finish reason: "{reason[:60]}".', code=code)
