"""The status page's figures: by bar, never rounded up, never better than they were."""

from datetime import UTC, datetime, timedelta

import pytest

from health import status_page
from health.status_page import RANGES, Bucket, Share

NOW = datetime(2026, 11, 23, 4, 31, 7, tzinfo=UTC)
DAY = status_page.find_range("24h")


@pytest.mark.parametrize(
    ("slug", "count", "first", "last"),
    [
        ("1h", 30, "2026-11-23T03:32", "2026-11-23T04:30"),
        ("24h", 24, "2026-11-22T05:00", "2026-11-23T04:00"),
        ("7d", 28, "2026-11-16T06:00", "2026-11-23T00:00"),
        ("30d", 30, "2026-10-25T00:00", "2026-11-23T00:00"),
        ("90d", 90, "2026-08-26T00:00", "2026-11-23T00:00"),
    ],
)
def test_bars_are_aligned_to_the_clock(slug: str, count: int, first: str, last: str) -> None:
    """The last one holds now; there are as many as the range promises."""
    begins = status_page.find_range(slug).begins(NOW)
    assert len(begins) == count
    assert (f"{begins[0]:%Y-%m-%dT%H:%M}", f"{begins[-1]:%Y-%m-%dT%H:%M}") == (first, last)


def test_an_unknown_range_is_the_default() -> None:
    """Somebody typed it into the address."""
    assert status_page.find_range("never").slug == "24h"


def test_every_bar_is_there_oldest_first() -> None:
    """Those without an attempt too; what is older is left out."""
    begin = NOW.replace(minute=0, second=0)
    busy = Bucket(begins=begin - timedelta(hours=2), good=3, bad=1, worst=0.25)
    old = Bucket(begins=begin - timedelta(hours=24), good=3)
    bars = status_page.fill([busy, old], DAY, NOW)
    assert len(bars) == 24
    assert bars[-3] == busy
    assert status_page.sum_share(bars) == Share(good=3, total=4)


@pytest.mark.parametrize(
    ("good", "bad", "worst", "status"),
    [
        (0, 0, 0, "unknown"),
        (9, 0, 0, "healthy"),
        (99, 1, 0.05, "healthy"),
        (99, 1, 0.06, "degraded"),
        (9999, 5, 0.5, "failing"),
    ],
)
def test_a_bar_has_the_status_of_its_worst_hour(
    good: int, bad: int, worst: float, status: str
) -> None:
    """A day with an hour's outage is no healthy day."""
    assert Bucket(begins=NOW, good=good, bad=bad, worst=worst).status == status


def test_describes_a_bar() -> None:
    """When, how many, and how bad at worst where it is longer than that."""
    begins = datetime(2026, 11, 23, tzinfo=UTC)
    bucket = Bucket(begins=begins, good=99, bad=1, worst=0.5)
    assert bucket.describe(DAY) == "00:00: 99 succeeded, 1 failed"
    worst = "Mon 23 Nov: 99 succeeded, 1 failed; 50 % in the worst hour"
    assert bucket.describe(status_page.find_range("30d")) == worst
    assert Bucket(begins=begins).describe(DAY) == "00:00: no requests"


def test_ranges_divide_into_bars() -> None:
    """A rest would be a bar that is not there."""
    for each in RANGES:
        assert each.span % each.bucket == timedelta(0)


@pytest.mark.parametrize(
    ("names", "words"),
    [([], ""), (["a", "b"], "a, b"), ([*"abcdefg"], "a, b, c, d, e and 2 more")],
)
def test_shortens_a_list_of_names(names: list[str], words: str) -> None:
    """A catalogue has hundreds."""
    assert status_page.shorten_names(names) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, ""), (1, "1 request answered by a fallback"), (37, "37 requests answered by a fallback")],
)
def test_describes_rescued_requests(count: int, words: str) -> None:
    """In words, and silent where it saved nothing."""
    assert status_page.describe_rescued(count) == words


@pytest.mark.parametrize(
    ("good", "total", "words"),
    [(0, 0, "–"), (1, 1, "100 %"), (9999, 10000, "99.9 %"), (1, 2, "50 %"), (0, 3, "0 %")],
)
def test_a_share_is_never_rounded_up(good: int, total: int, words: str) -> None:
    """One failure in ten thousand is not a perfect day."""
    assert Share(good=good, total=total).percent == words


@pytest.mark.parametrize(
    ("statuses", "status", "sentence"),
    [
        ([], "unknown", "No providers yet"),
        (["unknown", "unknown"], "unknown", "No provider has been checked yet"),
        (["healthy", "unknown"], "healthy", "All systems operational"),
        (["healthy", "degraded"], "degraded", "1 provider is degraded"),
        (["degraded", "degraded"], "degraded", "2 providers are degraded"),
        (["failing", "degraded", "healthy"], "failing", "1 provider is failing"),
        (["failing", "failing"], "failing", "All providers are failing"),
    ],
)
def test_the_banner_is_as_bad_as_it_gets(statuses: list[str], status: str, sentence: str) -> None:
    """For somebody who picks any provider."""
    banner = status_page.make_banner(statuses)
    assert (banner.status, banner.sentence) == (status, sentence)
