"""How long a server asks to be left alone: every form seen, and nothing from what is no wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import ErrorKind
from providers.protocols.retry_after import (
    LONGEST_LIMIT_SECONDS,
    LONGEST_PLAN_SECONDS,
    duration,
    stated_wait,
)

NOW = datetime(2026, 1, 2, 0, 0, 0, tzinfo=UTC)


def wait(words: str = "", kind: ErrorKind = ErrorKind.RATE_LIMIT, **headers: str) -> float | None:
    """Header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return stated_wait(named, kind, words, NOW)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        # OpenAI, Groq, Azure, Google, Mistral, Cohere, LiteLLM, and wordings like theirs
        ("Rate limit reached for gpt-4o. Please try again in 11.75s. Visit our page.", 11.75),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 6m0s. Need more tokens?", 360),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("Too many requests, please wait 20 seconds", 20),
        ("please wait for 7 s before the next request", 7),
        ("You must wait at least 1.5 seconds.", 1.5),
        ("Please retry after 3 minutes", 180),
        ("Please retry your requests after 9 seconds.", 9),
        ("Retry after 250 ms", 0.25),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Your quota will reset after 5h12m3s.", 18723),
        ("Limit resets in: 2 hours", 7200),
        ("Try again in 1 minute and 5 seconds", 65),
        ("Expected available in 20 seconds", 20),
        ("Try again within 2 mins", 120),
        ('retryDelay: "34s"', 34),
        ("retry_after=12", 12),
        ("Retry-After: 15", 15),
        ("TRY AGAIN IN 3 SECONDS!", 3),
        ("retry after 30.", 30),
        # no wait
        ("Limit: 3 requests in 60 seconds", None),
        ("You sent 20 requests within 1 minute.", None),
        ("Try again later", None),
        ("Please try again in a few moments", None),
        ("Retry after 3 failed attempts", None),
        ("retry after 2026-01-02", None),
        ("try again in 10 miles", None),
        ("Used 5s of 10s", None),
        ("", None),
    ],
)
def test_a_wait_in_words_is_read(words: str, seconds: float | None) -> None:
    """Where no header is there."""
    assert wait(words) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "20"}, 20),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "20s"}, 20),
        ({"retry_after": "-3"}, 0),
        ({"retry_after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry_after": "Fri, 02 Jan 2026 00:00:10 -0000"}, 10),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after_ms": "300"}, 0.3),
        ({"retry_after_ms": "300", "retry_after": "1"}, 0.3),
        ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "0"}, 360),
        ({"x_ratelimit_reset_tokens": "12ms", "x_ratelimit_remaining_tokens": "0"}, 0.012),
        ({"x_ratelimit_reset_tokens": "12ms", "x_ratelimit_remaining_tokens": "5"}, None),
        (
            {
                "x_ratelimit_reset_requests": "1s",
                "x_ratelimit_remaining_requests": "59",
                "x_ratelimit_reset_tokens": "8.5s",
                "x_ratelimit_remaining_tokens": "0",
            },
            8.5,
        ),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 40)}, 40),
        ({"x_ratelimit_reset": str((int(NOW.timestamp()) + 40) * 1000)}, 40),
        ({"ratelimit_reset": "30"}, 30),
        ({"anthropic_ratelimit_requests_reset": "2026-01-02T00:00:25Z"}, 25),
        ({"x_ratelimit_reset": "tomorrow"}, None),
    ],
)
def test_a_wait_in_a_header_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds, milliseconds, as a date, or as the time at which a limit is renewed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    assert stated_wait(named, ErrorKind.RATE_LIMIT, "", NOW) == (
        None if seconds is None else pytest.approx(seconds)
    )


def test_a_proxys_prefix_is_read_through() -> None:
    """LiteLLM's puts one before the provider's own headers."""
    headers = {"llm_provider-retry-after": "7"}
    assert stated_wait(headers, ErrorKind.RATE_LIMIT, "", NOW) == 7
    headers = {"llm_provider-x-ratelimit-reset-requests": "2s"}
    assert stated_wait(headers, ErrorKind.RATE_LIMIT, "", NOW) == 2


def test_the_exact_header_comes_before_the_words_and_these_before_a_reset() -> None:
    """The time at which a limit is full again may be later than the next request's turn."""
    assert wait("try again in 5s", retry_after="9") == 9
    assert wait("try again in 5s", x_ratelimit_reset_requests="6m") == 5


@pytest.mark.parametrize("kind", [ErrorKind.REQUEST, ErrorKind.AUTH, ErrorKind.PROVIDER])
def test_the_words_of_a_fault_are_no_wait(kind: ErrorKind) -> None:
    """Only those of a limit, an overload or a used-up plan; a header is one in any case."""
    assert wait("try again in 5s", kind) is None
    assert wait("try again in 5s", kind, retry_after="9") == 9


def test_a_used_up_plan_names_the_time_of_its_reset() -> None:
    """Z.ai does, in China's time."""
    words = "Usage limit reached for 5 hour. Your limit will reset at 2026-01-02 09:00:00"
    assert wait(words, ErrorKind.QUOTA) == 3600
    assert wait("It will reset at 2026-99-99 09:00:00", ErrorKind.QUOTA) is None


def test_no_wait_is_longer_than_its_cap() -> None:
    """A wrong figure would take a key out for ever."""
    assert wait("try again in 99999 days") == LONGEST_LIMIT_SECONDS
    assert wait(retry_after="1e12") == LONGEST_LIMIT_SECONDS
    assert wait("try again in 99999 days", ErrorKind.QUOTA) == LONGEST_PLAN_SECONDS


@given(
    st.text(max_size=60),
    st.text(max_size=30),
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset"]),
)
def test_any_header_and_any_words_give_a_bounded_wait_or_none(
    words: str, value: str, header: str
) -> None:
    """And no exception."""
    found = stated_wait({header: value}, ErrorKind.RATE_LIMIT, f"try again in {words}", NOW)
    assert found is None or 0 <= found <= LONGEST_LIMIT_SECONDS


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_durations_parts_add_up(hours: int, minutes: int, seconds: int, thousandths: int) -> None:
    """However many there are, and in words as well."""
    total = hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    assert duration(f"{hours}h{minutes}m{seconds}.{thousandths:03}s") == pytest.approx(total)
    spelled = f"{hours} hours, {minutes} minutes and {seconds}.{thousandths:03} seconds"
    assert wait(f"Please try again in {spelled}.") == pytest.approx(total)
