"""A provider's history as pages draw it: one bar for each span of time. No I/O."""

from health import status_page
from health.status_page import NO_SPEND, Spend
from providers.domain.frozen import frozen
from providers.operations.cards import Card

BAR, GAP = 8, 2  # in the drawing's units; the page scales it
HEIGHTS = {"healthy": 24, "degraded": 17, "failing": 10, "unknown": 3}


@frozen
class Bar:
    """One bar of the drawing; taller is healthier."""

    x: int
    status: str
    title: str

    @property
    def height(self) -> int:
        return HEIGHTS[self.status]

    @property
    def above(self) -> int:
        return HEIGHTS["healthy"] - self.height


@frozen
class HistoryRow:
    """One provider with its history."""

    card: Card
    shown: status_page.Range
    buckets: tuple[status_page.Bucket, ...]
    spend: Spend = NO_SPEND

    @property
    def share(self) -> status_page.Share:
        return status_page.sum_share(self.buckets)

    @property
    def width(self) -> int:
        return len(self.buckets) * (BAR + GAP) - GAP

    @property
    def last(self) -> int:
        return len(self.buckets) - 1

    @property
    def newest(self) -> str:
        return self.buckets[-1].describe(self.shown)

    @property
    def table(self) -> list[status_page.Bucket]:
        return [bucket for bucket in reversed(self.buckets) if bucket.total]

    @property
    def bars(self) -> list[Bar]:
        return [
            Bar(x=number * (BAR + GAP), status=bucket.status, title=bucket.describe(self.shown))
            for number, bucket in enumerate(self.buckets)
        ]
