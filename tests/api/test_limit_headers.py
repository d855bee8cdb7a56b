"""Limits as headers, in the formats of OpenAI and Anthropic."""

from datetime import UTC, datetime

import pytest

from api.limit_headers import LimitFigures, anthropic_headers, format_duration, openai_headers

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
FIGURES = [LimitFigures(what="requests", limit=60, remaining=59, reset_seconds=0.8)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0123, "13ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (90.5, "1m31s")],
)
def test_durations_are_openais(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_each_format_has_its_names() -> None:
    """And Anthropic's resets are moments."""
    assert openai_headers(FIGURES, NOW) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "800ms",
    }
    assert anthropic_headers(FIGURES, NOW) == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2026-05-01T12:00:01Z",
    }
