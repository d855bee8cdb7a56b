"""The values of the status page: ranges, bars, shares, spend, and the banner. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES
from providers.policy import reasons

FAILING_SHARE = 0.5  # of an hour's attempts failed: the provider was down
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Range:
    """A time range, and the span of each of its bars. `finest`: the unit of a bar's worst share."""

    slug: str
    words: str
    span: timedelta
    bucket: timedelta
    finest: str = "hour"
    label: str = "%a %d %b, %H:%M"

    def begins(self, now: datetime) -> tuple[datetime, ...]:
        """The start of each bar, oldest first; the last bar contains `now`."""
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
DEFAULT_RANGE = RANGES[1]


def find_range(slug: str) -> Range:
    return next((each for each in RANGES if each.slug == slug), DEFAULT_RANGE)


@frozen
class Bucket:
    """The attempts of one bar; neutral ones do not count.

    `worst` is the failed share of its worst hour or minute: a day with an hour of downtime must not
    look healthy.
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
        if self.worst >= FAILING_SHARE:
            return "failing"
        return "degraded" if self.worst > RULES.degraded_share else "healthy"

    @property
    def worst_percent(self) -> str:
        return f"{100 * self.worst:.0f}"

    def describe(self, shown: Range) -> str:
        """The bar in words."""
        start = f"{self.begins:{shown.label}}"
        if not self.total:
            return f"{start}: no requests"
        counts = f"{start}: {self.good} succeeded, {self.bad} failed"
        if shown.bucket <= HOUR or not self.bad:
            return counts
        return f"{counts}; {self.worst_percent} % in the worst {shown.finest}"


def fill(buckets: Iterable[Bucket], shown: Range, now: datetime) -> tuple[Bucket, ...]:
    """All bars of a range, including the empty ones."""
    by_start: Mapping[datetime, Bucket] = {bucket.begins: bucket for bucket in buckets}
    return tuple(by_start.get(start, Bucket(begins=start)) for start in shown.begins(now))


@frozen
class Share:
    """The share of attempts in a span that succeeded."""

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
    """The cost of a provider's calls in USD, by UTC days. Estimated where no usage was reported."""

    today: Decimal = Decimal(0)
    month: Decimal = Decimal(0)
    today_estimated: bool = False
    month_estimated: bool = False


NO_SPEND = Spend()
SPEND_DAYS = 30


def sum_share(buckets: Sequence[Bucket]) -> Share:
    return Share(good=sum(b.good for b in buckets), total=sum(b.total for b in buckets))


def describe_cause(kind: str) -> str:
    """An incident's cause in a word or two."""
    return reasons.words(ErrorKind(kind)).capitalize() if kind else "Slow or unstable"


MAX_NAMES = 5


def shorten_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def describe_rescued(count: int) -> str:
    """The number of failed requests that a fallback answered; empty for none."""
    if not count:
        return ""
    requests = "1 request" if count == 1 else f"{count} requests"
    return f"{requests} answered by a fallback"


@frozen
class Banner:
    """The status of all providers in use, in one sentence."""

    status: str
    sentence: str


def make_banner(statuses: Sequence[str]) -> Banner:
    """The worst status of all providers in use."""
    failing, degraded = statuses.count("failing"), statuses.count("degraded")
    if not statuses:
        return Banner(status="unknown", sentence="No providers yet")
    if failing:
        all_fail = failing == len(statuses) > 1
        subject = "All providers are" if all_fail else _count_providers(failing)
        return Banner(status="failing", sentence=f"{subject} failing")
    if degraded:
        return Banner(status="degraded", sentence=f"{_count_providers(degraded)} degraded")
    if all(status == "unknown" for status in statuses):
        return Banner(status="unknown", sentence="No provider has been checked yet")
    return Banner(status="healthy", sentence="All systems operational")


def _count_providers(number: int) -> str:
    return "1 provider is" if number == 1 else f"{number} providers are"
