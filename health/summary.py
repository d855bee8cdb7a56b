"""Roll-ups of attempts for the status page, and the one sentence that stands above it. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """The attempts of one clock hour; those the reader stopped count neither way.

    `recent_good` and `recent_bad` are the part of them within the last sixty minutes.
    """

    begins: datetime
    good: int = 0
    bad: int = 0
    recent_good: int = 0
    recent_bad: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a span's attempts went well."""

    good: int = 0
    total: int = 0

    @property
    def percent(self) -> str:
        """`99.4 %`; a dash where there was none. Never rounded up to 100."""
        if not self.total:
            return "–"
        tenths = self.good * 1000 // self.total
        return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10:.1f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    status: str
    sentence: str


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def day(hours: Iterable[Hour], now: datetime) -> tuple[Hour, ...]:
    """The last 24 clock hours, oldest first, with the empty ones between."""
    known = {hour.begins: hour for hour in hours}
    first = hour_of(now) - timedelta(hours=HOURS - 1)
    begins = (first + timedelta(hours=number) for number in range(HOURS))
    return tuple(known.get(begin, Hour(begins=begin)) for begin in begins)


def share(hours: Iterable[Hour]) -> Share:
    counted = list(hours)
    return Share(good=sum(h.good for h in counted), total=sum(h.total for h in counted))


def recent(hours: Iterable[Hour]) -> Share:
    counted = list(hours)
    good = sum(h.recent_good for h in counted)
    return Share(good=good, total=good + sum(h.recent_bad for h in counted))


def banner(statuses: Sequence[str]) -> Banner:
    """One word for all providers in use: as bad as it gets for somebody who picks any of them."""
    failing, degraded = statuses.count("failing"), statuses.count("degraded")
    if not statuses:
        return Banner(status="unknown", sentence="There is no provider to watch yet")
    if failing:
        whole = "Every provider is" if failing == len(statuses) else f"{_some(failing)}"
        return Banner(status="failing", sentence=f"{whole} failing")
    if degraded:
        return Banner(status="degraded", sentence=f"{_some(degraded)} degraded")
    if all(status == "unknown" for status in statuses):
        return Banner(status="unknown", sentence="Nothing has been checked yet")
    return Banner(status="healthy", sentence="All is well")


def _some(number: int) -> str:
    return "1 provider is" if number == 1 else f"{number} providers are"
