"""The status page in values: ranges and their bars, shares, incidents, one sentence. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES
from providers.policy import reasons

HALF = 0.5  # of an hour's attempts failed: for whoever asked then, it was down
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Range:
    """How far back the bars go, and what each of them stands for. `finest`: the piece of time in
    which a bar's worst is looked for."""

    slug: str
    words: str
    span: timedelta
    bucket: timedelta
    finest: str = "hour"
    label: str = "%a %d %b, %H:%M"

    def begins(self, now: datetime) -> tuple[datetime, ...]:
        """The beginnings of all its bars, oldest first; the last one holds `now`."""
        last = now - (now - _EPOCH) % self.bucket
        count = self.span // self.bucket
        return tuple(last - self.bucket * number for number in reversed(range(count)))


MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RANGES = (
    Range(slug="1h", words="1 hour", span=HOUR, bucket=2 * MINUTE, finest="minute", label="%H:%M"),
    Range(slug="24h", words="24 hours", span=DAY, bucket=HOUR, label="%H:%M"),
    Range(slug="7d", words="7 days", span=7 * DAY, bucket=6 * HOUR),
    Range(slug="30d", words="30 days", span=30 * DAY, bucket=DAY, label="%a %d %b"),
    Range(slug="90d", words="90 days", span=90 * DAY, bucket=DAY, label="%a %d %b"),
)
USUAL = RANGES[1]


def named_range(slug: str) -> Range:
    return next((each for each in RANGES if each.slug == slug), USUAL)


@frozen
class Bucket:
    """The attempts of one bar; what says nothing about the provider counts neither way.

    `worst` is the failed share of its worst piece of time: a day that was down for an hour must
    not look well.
    """

    begins: datetime
    good: int = 0
    bad: int = 0
    worst: float = 0

    @property
    def total(self) -> int:
        return self.good + self.bad

    @property
    def status(self) -> str:
        if not self.total:
            return "unknown"
        if self.worst >= HALF:
            return "failing"
        return "degraded" if self.worst > RULES.degraded_share else "healthy"

    @property
    def worst_percent(self) -> str:
        return f"{100 * self.worst:.0f}"

    def told(self, shown: Range) -> str:
        """The bar in words: when, how many, and how bad at worst."""
        when = f"{self.begins:{shown.label}}"
        if not self.total:
            return f"{when}: nothing was asked"
        words = f"{when}: {self.good} good, {self.bad} failed"
        coarse = shown.bucket > HOUR and self.bad
        return f"{words}; {self.worst:.0%} of the worst {shown.finest}" if coarse else words


def fill(known: Iterable[Bucket], shown: Range, now: datetime) -> tuple[Bucket, ...]:
    """All bars of a range, with the empty ones between."""
    found: Mapping[datetime, Bucket] = {bucket.begins: bucket for bucket in known}
    return tuple(found.get(begin, Bucket(begins=begin)) for begin in shown.begins(now))


@frozen
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


@frozen
class Spend:
    """USD of a provider's calls, in UTC; whether some of it is estimated, as no usage was told."""

    today: Decimal = Decimal(0)
    month: Decimal = Decimal(0)
    today_estimated: bool = False
    month_estimated: bool = False


NOTHING = Spend()
SPEND_DAYS = 30


def share(buckets: Iterable[Bucket]) -> Share:
    counted = list(buckets)
    return Share(good=sum(b.good for b in counted), total=sum(b.total for b in counted))


def cause(kind: str) -> str:
    """An incident's cause in a word or two."""
    return reasons.words(ErrorKind(kind)).capitalize() if kind else "Slow or shaky"


MOST_NAMED = 5


def some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def rescued(count: int) -> str:
    if not count:
        return ""
    return "1 request rescued" if count == 1 else f"{count} requests rescued"


@frozen
class Banner:
    status: str
    sentence: str


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
