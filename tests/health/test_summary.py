"""The status page's figures: rolled up, never rounded up."""

from datetime import UTC, datetime, timedelta

import pytest

from health import summary
from health.summary import Hour, Share

NOW = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)


def test_a_day_has_every_hour_oldest_first() -> None:
    """Those without an attempt too."""
    busy = Hour(begins=NOW.replace(minute=0) - timedelta(hours=2), good=3, bad=1)
    day = summary.day([busy], NOW)
    assert len(day) == 24
    assert day[-1].begins == NOW.replace(minute=0)
    assert day[-3] == busy
    assert sum(hour.total for hour in day) == 4


def test_what_is_older_than_a_day_is_left_out() -> None:
    """It has no bar to stand in."""
    old = Hour(begins=NOW.replace(minute=0) - timedelta(hours=24), good=3)
    assert summary.share(summary.day([old], NOW)) == Share()


@pytest.mark.parametrize(
    ("good", "total", "words"),
    [(0, 0, "–"), (1, 1, "100 %"), (9999, 10000, "99.9 %"), (1, 2, "50 %"), (0, 3, "0 %")],
)
def test_a_share_is_never_rounded_up(good: int, total: int, words: str) -> None:
    """One failure in ten thousand is not a perfect day."""
    assert Share(good=good, total=total).percent == words


def test_the_last_hour_is_sixty_minutes() -> None:
    """Not the clock hour, which may be a minute old."""
    hours = [
        Hour(begins=NOW, good=1, recent_good=1),
        Hour(begins=NOW, good=5, bad=5, recent_good=2, recent_bad=1),
    ]
    assert summary.recent(hours) == Share(good=3, total=4)


@pytest.mark.parametrize(
    ("statuses", "status", "sentence"),
    [
        ([], "unknown", "There is no provider to watch yet"),
        (["unknown", "unknown"], "unknown", "Nothing has been checked yet"),
        (["healthy", "unknown"], "healthy", "All is well"),
        (["healthy", "degraded"], "degraded", "1 provider is degraded"),
        (["degraded", "degraded"], "degraded", "2 providers are degraded"),
        (["failing", "degraded", "healthy"], "failing", "1 provider is failing"),
        (["failing", "failing"], "failing", "Every provider is failing"),
    ],
)
def test_the_banner_is_as_bad_as_it_gets(statuses: list[str], status: str, sentence: str) -> None:
    """For somebody who picks any provider."""
    banner = summary.banner(statuses)
    assert (banner.status, banner.sentence) == (status, sentence)
