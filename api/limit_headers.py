"""The headers that report a key's limits, as OpenAI's and Anthropic's clients read them. No I/O.

Sources: https://platform.openai.com/docs/guides/rate-limits,
https://docs.anthropic.com/en/api/rate-limits.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from providers.domain.frozen import frozen


@frozen
class LimitFigures:
    """One limit a minute. `what`: `requests` or `tokens`; `reset_seconds`: until all are left."""

    what: str
    limit: int
    remaining: int
    reset_seconds: float


def openai_headers(figures: Iterable[LimitFigures], now: datetime) -> dict[str, str]:
    """`x-ratelimit-*`; resets are durations, such as `6m0s`."""
    headers = {}
    for each in figures:
        headers[f"x-ratelimit-limit-{each.what}"] = str(each.limit)
        headers[f"x-ratelimit-remaining-{each.what}"] = str(each.remaining)
        headers[f"x-ratelimit-reset-{each.what}"] = format_duration(each.reset_seconds)
    return headers


def anthropic_headers(figures: Iterable[LimitFigures], now: datetime) -> dict[str, str]:
    """`anthropic-ratelimit-*`; resets are moments."""
    headers = {}
    for each in figures:
        reset = now + timedelta(seconds=math.ceil(each.reset_seconds))
        headers[f"anthropic-ratelimit-{each.what}-limit"] = str(each.limit)
        headers[f"anthropic-ratelimit-{each.what}-remaining"] = str(each.remaining)
        headers[f"anthropic-ratelimit-{each.what}-reset"] = f"{reset:%Y-%m-%dT%H:%M:%SZ}"
    return headers


def format_duration(seconds: float) -> str:
    """`12ms`, `1s`, `1m0s`, as OpenAI writes durations."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
