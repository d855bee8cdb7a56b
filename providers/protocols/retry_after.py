"""How long a server asks to be left alone: in a header, or in the text of its error. No I/O.

A header with the exact wait comes first, then the words, then the time at which a limit that is
used up is renewed. No wait is believed beyond a cap: a day for a limit, a month for a plan.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from providers.domain.errors import ErrorKind

LONGEST_LIMIT_SECONDS = 24 * 3600.0  # of a rate limit or an overload; an edit or a test ends it
LONGEST_PLAN_SECONDS = 30 * 24 * 3600.0  # of a used-up plan: the longest are monthly


def stated_wait(
    headers: Mapping[str, str], kind: ErrorKind, words: str, now: datetime
) -> float | None:
    """The wait in seconds, capped; None where none is stated. Header names are taken as
    case-insensitive where `headers` is."""
    seconds = _wait_in_header(headers, now)
    if seconds is None and kind in _LIMITED:
        seconds = _wait_in_words(words, now, dated=kind == ErrorKind.QUOTA)
    if seconds is None and kind == ErrorKind.RATE_LIMIT:
        seconds = _wait_until_reset(headers, now)
    longest = LONGEST_PLAN_SECONDS if kind == ErrorKind.QUOTA else LONGEST_LIMIT_SECONDS
    return None if seconds is None else min(max(0.0, seconds), longest)


# Elsewhere the words are those of a fault, and say nothing that can be relied on.
_LIMITED = frozenset({ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED, ErrorKind.QUOTA})

# A LiteLLM proxy puts its prefix before the provider's own headers.
_PREFIXES = ("", "llm_provider-")


def _wait_in_header(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3), and OpenAI's in milliseconds."""
    for prefix in _PREFIXES:
        milliseconds = _number(headers.get(f"{prefix}retry-after-ms", ""))
        if milliseconds is not None:
            return milliseconds / 1000
        if (seconds := _moment(headers.get(f"{prefix}retry-after", ""), now)) is not None:
            return seconds
    return None


def _moment(value: str, now: datetime) -> float | None:
    """Seconds from now: a number of them, a duration, or an HTTP date."""
    if (number := _number(value)) is not None:
        return number
    if _DURATION.fullmatch(value.strip()):
        return duration(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# Durations: "11.75s", "6m0s", "1 hour and 5 minutes", "250 ms".

_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNIT = (
    r"(?:ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
)
# In "6m0s" a digit follows the unit, in "20 seconds." a word ends there.
_PART = rf"\d{{1,9}}(?:\.\d{{1,9}})?\s?{_UNIT}"
_PARTS = rf"{_PART}(?:(?:\s|,|and)*{_PART}){{0,4}}"
_DURATION = re.compile(_PARTS, re.IGNORECASE)
_EACH = re.compile(rf"(\d{{1,9}}(?:\.\d{{1,9}})?)\s?({_UNIT})", re.IGNORECASE)


def duration(text: str) -> float:
    """The sum of a duration's parts in seconds."""
    return sum(float(number) * _unit(unit.lower()) for number, unit in _EACH.findall(text))


def _unit(name: str) -> float:
    if name.startswith(("ms", "mil")):
        return 0.001
    return _UNITS[name[0]]


# Only what directly follows a word of waiting: "3 requests in 60 seconds" is no wait.
_WAITING = (
    r"\b(?:(?:re-?)?try(?:ing)?(?:\s+\w+){0,3}?\s+(?:in|after|within)"
    r"|(?:please\s+|must\s+)?wait(?:ing)?(?:\s+(?:for|at\s+least|another|about))*"
    r"|(?:available|back|resets?|resetting|renews?|refreshes|lifted)(?:\s+again)?\s*(?:in|after)"
    r"|retry[-_ ]?(?:after|delay|in))"
)
_ABOUT = r"[\s:=\"'(~]*(?:about\s+|approximately\s+|at\s+least\s+)?"
_IN_WORDS = re.compile(
    rf"{_WAITING}{_ABOUT}(?:({_PARTS})|(\d{{1,9}}(?:\.\d{{1,9}})?)(?=[.,;)\"']*(?:\s*$|[,;)\"']|\.\s)))",
    re.IGNORECASE,
)


def _wait_in_words(words: str, now: datetime, *, dated: bool) -> float | None:
    """What the error's words say, in any of the usual forms; a bare number is seconds."""
    if match := _IN_WORDS.search(words[:2000]):
        return duration(match[1]) if match[1] else float(match[2])
    return plan_reset(words, now) if dated else None


_RESET = re.compile(r"reset at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_BEIJING = timezone(timedelta(hours=8))


def plan_reset(text: str, now: datetime) -> float | None:
    """Seconds until the time at which a used-up plan is renewed, where Z.ai's words name it.

    "Your limit will reset at 2026-01-02 03:04:05" (codes 1308, 1310), in China's time.
    """
    if not (match := _RESET.search(text)):
        return None
    try:
        at = datetime.fromisoformat(match[1]).replace(tzinfo=_BEIJING)
    except ValueError:
        return None
    return max(0.0, (at - now).total_seconds())


# When a limit is renewed, and how much of it is left.
# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers (durations),
# https://docs.anthropic.com/en/api/rate-limits#response-headers (RFC 3339),
# https://openrouter.ai/docs/api-reference/limits (milliseconds since 1970), and
# draft-ietf-httpapi-ratelimit-headers (seconds from now).
_RESETS = (
    *((f"x-ratelimit-reset-{of}", f"x-ratelimit-remaining-{of}") for of in ("requests", "tokens")),
    *(
        (f"anthropic-ratelimit-{of}-reset", f"anthropic-ratelimit-{of}-remaining")
        for of in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
)


def _wait_until_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """The latest reset of the limits that are used up."""
    return max(_resets(headers, now), default=None)


def _resets(headers: Mapping[str, str], now: datetime) -> Iterator[float]:
    for prefix in _PREFIXES:
        for reset, left in _RESETS:
            if _number(headers.get(prefix + left, "0")) != 0:
                continue
            if (wait := _reset(headers.get(prefix + reset, ""), now)) is not None:
                yield wait


_EPOCH_FROM = 1e9  # a number of seconds beyond it is a time since 1970: no wait takes 31 years


def _reset(value: str, now: datetime) -> float | None:
    """Seconds from now: as _moment, a time since 1970 in seconds or milliseconds, or RFC 3339."""
    if (number := _number(value)) is not None:
        since = number / 1000 if number >= 1000 * _EPOCH_FROM else number
        return since - now.timestamp() if since >= _EPOCH_FROM else number
    if (seconds := _moment(value, now)) is not None:
        return seconds
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
