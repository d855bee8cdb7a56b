"""Usage in every place and under every name that vendors use, merged, and as callers receive it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import Usage, UsageReport
from providers.protocols import anthropic_messages, openai_chat
from providers.protocols.usage import find_usage, merge_usage, openai_usage, read_usage


@pytest.mark.parametrize(
    ("reported", "counts"),
    [
        # in, out, read from a cache, written to one, reasoning
        ({"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32}, (19, 13, 0, 0, 0)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            (100, 20, 64, 0, 12),
        ),
        # OpenAI's Responses
        (
            {
                "input_tokens": 100,
                "output_tokens": 20,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens_details": {"reasoning_tokens": 12},
            },
            (100, 20, 64, 0, 12),
        ),
        # Moonshot, DeepSeek
        ({"prompt_tokens": 19, "completion_tokens": 13, "cached_tokens": 5}, (19, 13, 5, 0, 0)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            (100, 20, 64, 0, 0),
        ),
        # Anthropic: input without the cached ones
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 90,
                "output_tokens": 100,
            },
            (1000, 100, 900, 90, 0),
        ),
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 0,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 40,
                    "ephemeral_1h_input_tokens": 50,
                },
                "output_tokens": 1,
            },
            (100, 1, 0, 90, 0),
        ),
        # LiteLLM: Anthropic's counts beside OpenAI's
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 90,
                "prompt_tokens_details": {"cached_tokens": 900, "cache_creation_tokens": 90},
            },
            (1000, 100, 900, 90, 0),
        ),
        # A gateway that renamed Anthropic's counts and added nothing up
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "cache_read_input_tokens": 900},
            (910, 1, 900, 0, 0),
        ),
        # OpenRouter
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
            },
            (100, 20, 60, 30, 0),
        ),
        # xAI and Gemini count reasoning beside the output
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            (10, 105, 0, 0, 100),
        ),
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 200,
                "thoughtsTokenCount": 100,
                "totalTokenCount": 310,
                "cachedContentTokenCount": 4,
            },
            (10, 300, 4, 0, 100),
        ),
        # Bedrock's Converse, Ollama's own
        (
            {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 90, "totalTokens": 105},
            (100, 5, 90, 0, 0),
        ),
        ({"prompt_eval_count": 10, "eval_count": 5}, (10, 5, 0, 0, 0)),
        # Only a total; floats, texts, nulls, nonsense
        ({"prompt_tokens": 10, "total_tokens": 15}, (10, 5, 0, 0, 0)),
        ({"completion_tokens": 5, "total_tokens": 15}, (10, 5, 0, 0, 0)),
        ({"prompt_tokens": 10.0, "completion_tokens": "5"}, (10, 5, 0, 0, 0)),
        (
            {"prompt_tokens": None, "completion_tokens": 5, "prompt_tokens_details": None},
            (0, 5, 0, 0, 0),
        ),
        (
            {"prompt_tokens": True, "completion_tokens": -3, "cached_tokens": "many"},
            (0, 0, 0, 0, 0),
        ),
        ({"prompt_tokens": float("nan"), "completion_tokens": [1]}, (0, 0, 0, 0, 0)),
        ({}, (0, 0, 0, 0, 0)),
    ],
)
def test_every_vendors_counts_are_read(
    reported: dict[str, object], counts: tuple[int, int, int, int, int]
) -> None:
    """Input includes what was cached, output includes reasoning."""
    used = read_usage(reported)
    assert counts == (
        used.input_tokens,
        used.output_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
    )


FOUND = {"prompt_tokens": 19, "completion_tokens": 13}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": FOUND},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": FOUND}]},
        {"choices": [{"delta": {"usage": FOUND}}]},
        {"choices": [], "x_groq": {"id": "req", "usage": FOUND}},
        {"choices": [], "usage": None, "x_groq": {"usage": FOUND}},
        {"type": "message_start", "message": {"usage": FOUND}},
        {"usageMetadata": FOUND},
        {"response": {"usage": FOUND}},
    ],
)
def test_usage_is_found_wherever_it_is(chunk: dict[str, object]) -> None:
    """At the top, in a choice, in a vendor's own object."""
    assert find_usage(chunk) == FOUND


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda each: (
            st.lists(each, max_size=2)
            | st.dictionaries(
                st.sampled_from(["usage", "choices", "x_groq", "prompt_tokens", "cached_tokens"]),
                each,
            )
        ),
    )
)
def test_anything_may_be_there(value: object) -> None:
    """Upstreams send what they like."""
    if isinstance(value, dict):
        found = find_usage(value)
        assert found is None or read_usage(found).input_tokens >= 0


def counted(*reports: Usage) -> Usage | None:
    total = None
    for each in reports:
        total = merge_usage(total, each)
    return total


def test_reports_of_one_answer_are_merged() -> None:
    """Counts that grow, zeros after good figures, Anthropic's two halves."""
    first = Usage(input_tokens=1000, output_tokens=1, cached_tokens=900, cache_write_tokens=90)
    last = Usage(input_tokens=10, output_tokens=100, reasoning_tokens=40)
    both = Usage(
        input_tokens=1000,
        output_tokens=100,
        cached_tokens=900,
        cache_write_tokens=90,
        reasoning_tokens=40,
    )
    assert (
        counted(first, last)
        == counted(first, last, Usage())
        == counted(Usage(), first, last)
        == both
    )
    assert counted(Usage(), Usage()) is None


def test_zeros_alone_are_no_usage_and_an_estimate_gives_way() -> None:
    """A figure that somebody counted is not estimated any more."""
    estimate = Usage(input_tokens=5, output_tokens=5, estimated=True)
    assert counted(estimate, Usage(input_tokens=9, output_tokens=4)) == Usage(
        input_tokens=9, output_tokens=5
    )
    assert read_usage({"prompt_tokens": 5, "estimated": True}).estimated


def test_an_anthropic_stream_and_a_full_answer_report_the_same() -> None:
    """1,000 tokens of input in all, of which 10 at the full price."""
    start = {"input_tokens": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90}
    stream = (
        {"type": "message_start", "message": {"usage": start | {"output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 10, "output_tokens": 100}},
    )
    whole = {"type": "message", "content": [], "usage": start | {"output_tokens": 100}}
    for payloads in (stream, (whole,)):
        reader = anthropic_messages.MessageReader()
        found = [event for payload in payloads for event in reader.events(payload)]
        report = [event for event in found if isinstance(event, UsageReport)][-1]
        assert report.usage == Usage(
            input_tokens=1000, output_tokens=100, cached_tokens=900, cache_write_tokens=90
        )
        assert openai_usage(report.usage, report.reported)["cache_read_input_tokens"] == 900


def test_callers_receive_openais_names_and_whatever_else_was_reported() -> None:
    """Also where the vendor has names of its own."""
    reported = {"prompt_tokens": 19, "cached_tokens": 5, "cost": 0.1, "x": None}
    (event,) = openai_chat.ChunkReader().events({"choices": [], "usage": reported})
    assert isinstance(event, UsageReport)
    assert openai_usage(event.usage, event.reported) == {
        "prompt_tokens": 19,
        "completion_tokens": 0,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cached_tokens": 5,
        "cost": 0.1,
    }
    details = {"prompt_tokens_details": {"audio_tokens": 1}}
    written = openai_usage(Usage(cache_write_tokens=3, estimated=True), details)
    assert written["prompt_tokens_details"] == {
        "audio_tokens": 1,
        "cached_tokens": 0,
        "cache_write_tokens": 3,
    }
    assert written["estimated"] is True
