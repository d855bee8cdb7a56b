"""Token counts of requests that are passed through: as reported, wherever it is, or estimated.
No I/O."""

import json
import math
from collections.abc import Mapping
from typing import Any

from providers.domain.passed_body import PassedBody
from providers.domain.types import Json, Usage
from providers.protocols import estimates
from providers.protocols.endpoint_kinds import ENDPOINTS, EndpointKind
from providers.protocols.usage import find_usage, read_usage

LARGEST_PARSED = 256 * 1024  # bytes; of a larger answer only the usage is read
_TAIL = 4096  # bytes at the end of a large answer in which its usage stands
_decoder = json.JSONDecoder()


def reported_usage(answer: Json) -> Usage | None:
    """The counts that an answer reports; None where it reports none."""
    usage = read_usage(find_usage(answer) or _find_billed_counts(answer))
    return usage if usage.input_tokens or usage.output_tokens else None


def _find_billed_counts(answer: Json) -> Json:
    """Cohere's place for it: https://docs.cohere.com/reference/rerank."""
    meta = answer.get("meta")
    for name in ("billed_units", "tokens"):
        counts = meta.get(name) if isinstance(meta, Mapping) else None
        if isinstance(counts, Mapping) and any("tokens" in key for key in counts):
            return counts
    return {}


def usage_at_the_end(answer: bytes) -> Usage | None:
    """The usage of a large answer, from its last bytes: parsing all of it takes a second."""
    tail = answer[-_TAIL:].decode("utf-8", "replace")
    _, mark, rest = tail.rpartition('"usage"')
    start = rest.find("{")
    if not mark or start < 0 or rest[:start].strip() != ":":
        return None
    try:
        usage, _ = _decoder.raw_decode(rest, start)
    except ValueError:
        return None
    return reported_usage({"usage": usage})


def estimate_usage(endpoint: EndpointKind, fields: Json, characters_out: int = 0) -> Usage | None:
    """About so many tokens; None for an endpoint whose requests are not counted in tokens."""
    if not endpoint.read_by_model:
        return None
    return Usage(
        input_tokens=sum(_tokens_in(fields.get(name)) for name in endpoint.read_by_model),
        output_tokens=estimates.tokens(characters_out) if endpoint.writes_text else 0,
        estimated=True,
    )


def _tokens_in(value: object) -> int:
    """Tokens of a text, of texts, of texts in objects; a number is a token already."""
    if isinstance(value, str):
        return math.ceil(len(value) / estimates.CHARACTERS_PER_TOKEN)
    if isinstance(value, Mapping):
        return _tokens_in(value.get("text"))
    if isinstance(value, list):
        return sum(1 if type(each) is int else _tokens_in(each) for each in value)
    return 0


def complete_usage(passed: PassedBody, reported: Usage | None, characters_out: int) -> Usage | None:
    """The reported counts, or an estimate in their place; None where tokens are not counted."""
    endpoint = ENDPOINTS[passed.endpoint]
    return reported or estimate_usage(endpoint, passed.fields, characters_out)


def usage_fields(usage: Usage) -> dict[str, Any]:
    """An estimate by OpenAI's names."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "estimated": True,
    }
