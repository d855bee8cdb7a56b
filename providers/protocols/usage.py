"""Token counts in every place and under every name that vendors use, and as OpenAI names them.

What is read of one answer is merged by the highest count of each kind: counts grow from chunk to
chunk, and some vendors send zeros after good figures. No I/O.

Input tokens always include the cached ones. OpenAI, DeepSeek, Gemini and LiteLLM count so.
Anthropic does not (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching), nor do
gateways that pass its counts on.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.types import Json, Usage

_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "inputTokens")
_OUTPUT = (
    *("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "outputTokens"),
    *("generated_tokens",),
)
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_TOTALS = frozenset({_INPUT[0], _OUTPUT[0], _TOTAL[0]})
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_READ = (
    *("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens", "cache_read_tokens"),
    *("cachedContentTokenCount", "num_cached_tokens", "cacheReadInputTokens", "cache_read"),
)
_WRITTEN = (
    *("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens"),
    *("cacheWriteInputTokens", "cache_write_input_tokens"),
)
_REASONING = ("reasoning_tokens", "thoughtsTokenCount", "reasoning")
# Counts of Anthropic's and Bedrock's kind: input tokens without the cached ones.
_EXCLUDING = ("cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens")


def find_usage(chunk: Json) -> Json | None:
    """The usage that a chunk or a full answer carries, wherever it is."""
    usage = chunk.get("usage") or chunk.get("usageMetadata")
    for name in ("x_groq", "message", "response") if not usage else ():
        usage = usage or (_usage_within(chunk, name) if name in chunk else None)
    if isinstance(usage, Mapping):
        return usage
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping):
            for holder in (choice, choice.get("delta"), choice.get("message")):
                if isinstance(holder, Mapping) and (usage := holder.get("usage")):
                    return usage if isinstance(usage, Mapping) else None
    return None


def _usage_within(chunk: Json, name: str) -> Any:
    inner = chunk.get(name)
    return inner.get("usage") if isinstance(inner, Mapping) else None


def read_usage(reported: Json) -> Usage:
    """Token counts of one report; what is missing, null or no number is zero."""
    read = written = reasoning = 0
    if not _TOTALS.issuperset(reported):  # else there is nothing more to find
        read, written = _find_count(reported, _READ, _INPUT_DETAILS), _cache_write_tokens(reported)
        reasoning = _find_count(reported, _REASONING, _OUTPUT_DETAILS)
    total, given = _first_count(reported, _TOTAL), _first_count(reported, _INPUT)
    output = _add_reasoning(reported, given, _first_count(reported, _OUTPUT), reasoning, total)
    return Usage(
        input_tokens=_add_cached(reported, given or max(0, total - output), read + written),
        output_tokens=output,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        estimated=reported.get("estimated") is True,
    )


def _add_cached(reported: Json, given: int, cached: int) -> int:
    """Input tokens with the cached ones, which cannot be more than all."""
    excluding = not _first_count(reported, ("prompt_tokens",)) and not any(
        isinstance(reported.get(name), Mapping) for name in _INPUT_DETAILS
    )
    if cached > given or (excluding and any(name in reported for name in _EXCLUDING)):
        return given + cached
    return given


def _add_reasoning(reported: Json, given: int, output: int, reasoning: int, total: int) -> int:
    """Output tokens with those of reasoning, which xAI and Gemini count beside them: the total, or
    that there is more reasoning than output, shows it."""
    if not output and total > given > 0:
        return total - given
    beside = reasoning > output or (total and given + output + reasoning == total)
    return output + reasoning if beside else output


def merge_usage(merged: Usage | None, new: Usage) -> Usage | None:
    """What two reports of one answer amount to; None where nothing was counted yet."""
    if not any((new.input_tokens, new.output_tokens, new.cached_tokens, new.reasoning_tokens)):
        return merged
    if merged is None:
        return new
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
    highest = {n: max(getattr(merged, n), getattr(new, n)) for n in (*names, "reasoning_tokens")}
    return Usage(**highest, estimated=merged.estimated and new.estimated)


def openai_usage(usage: Usage, reported: Json | None = None) -> dict[str, Any]:
    """The counts by OpenAI's names, with every other field that the vendor reported.

    `estimated` is there where the vendor sent none and they were counted here.
    """
    reported_fields = {name: value for name, value in (reported or {}).items() if value is not None}
    written = {"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}
    fields = {
        **reported_fields,
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            **_mapping(reported_fields.get("prompt_tokens_details")),
            "cached_tokens": usage.cached_tokens,
            **written,
        },
        "completion_tokens_details": {
            **_mapping(reported_fields.get("completion_tokens_details")),
            "reasoning_tokens": usage.reasoning_tokens,
        },
    }
    return fields | ({"estimated": True} if usage.estimated else {})


def _cache_write_tokens(reported: Json) -> int:
    count = _find_count(reported, _WRITTEN, _INPUT_DETAILS)
    lifetimes = _mapping(reported.get("cache_creation"))  # Anthropic's, by how long they are kept
    return count or sum(map(_count, lifetimes.values()))


def _find_count(reported: Json, names: Iterable[str], details: Iterable[str]) -> int:
    """A count in one of the details, or beside them."""
    for name in details:
        if name in reported and (count := _first_count(_mapping(reported[name]), names)):
            return count
    return _first_count(reported, names)


def _first_count(fields: Json, names: Iterable[str]) -> int:
    for name in names:
        if (value := fields.get(name)) and (count := _count(value)):
            return count
    return 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    """A number of tokens, also as a float or as text; zero for anything else."""
    if type(value) is int:  # nearly always
        return max(0, value)
    if isinstance(value, bool) or not isinstance(value, str | float):
        return 0
    try:
        number = float(value)
    except ValueError:
        return 0
    return max(0, int(number)) if math.isfinite(number) else 0
