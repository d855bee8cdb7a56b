"""Roll-ups say what the attempts said, however often and however late they are made."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from health import rollups
from health.models import HealthRollup
from providers.models import Provider
from tests.health.conftest import Tried

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_hour_of_a_route(make_provider: MakeProvider, tried: Tried) -> None:
    """What says nothing about the route counts neither way."""
    provider = make_provider()
    for number, outcome in enumerate(("ok", "ok", "ok", "network", "rate_limit", "stopped")):
        figures = {"input_tokens": 10, "output_tokens": 2, "cost": Decimal("0.5")}
        parts = {"cached_tokens": 8, "cache_write_tokens": 1, "reasoning_tokens": 2}
        tried(provider, outcome, at=NOW, ttft_ms=100 * (number + 1), **figures, **parts)
    tried(provider, "request", at=NOW)
    for outcome in ("auth", "quota", "rate_limit", "request"):
        tried(provider, outcome, at=NOW, purpose="probe")
    tried(provider, "ok", at=NOW, method="gateway", position=2)
    tried(provider, "network", at=NOW, purpose="probe")
    rollups.roll_up(NOW)
    direct, gateway = HealthRollup.objects.order_by("method")
    assert direct.hour == NOW.replace(minute=0)
    assert (direct.good, direct.bad, direct.stopped, direct.rescued) == (3, 3, 1, 0)
    assert (direct.ttft_p50_ms, direct.ttft_p95_ms) == (300, 600)
    assert (direct.input_tokens, direct.output_tokens, direct.cost) == (60, 12, Decimal(3))
    kept = (direct.cached_tokens, direct.cache_write_tokens, direct.reasoning_tokens)
    assert kept == (48, 6, 12)
    assert (gateway.good, gateway.bad, gateway.rescued) == (1, 0, 1)
    assert gateway.cached_tokens == 0


def test_it_may_be_made_again(make_provider: MakeProvider, tried: Tried) -> None:
    """The last two hours are recomputed, because an attempt is written when it ends."""
    provider = make_provider()
    tried(provider, at=NOW)
    tried(provider, at=NOW - HOUR)
    rollups.roll_up(NOW)
    before = list(HealthRollup.objects.values())
    rollups.roll_up(NOW)
    assert list(HealthRollup.objects.values()) == before
    tried(provider, "network", at=NOW - HOUR)
    rollups.roll_up(NOW + timedelta(minutes=20))
    assert [(each.good, each.bad) for each in HealthRollup.objects.all()] == [(1, 0), (1, 1)]


def test_unchanged_rows_are_not_written(make_provider: MakeProvider, tried: Tried) -> None:
    """Each minute, of all routes: a row that is the same would still be a new version of it."""
    tried(make_provider(), at=NOW)
    rollups.roll_up(NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin FROM health_healthrollup")
        before = cursor.fetchall()
        rollups.roll_up(NOW)
        cursor.execute("SELECT xmin FROM health_healthrollup")
        assert cursor.fetchall() == before


def test_it_catches_up_after_a_time_without_a_worker(
    make_provider: MakeProvider, tried: Tried
) -> None:
    """Days at once; and at the very first time, from the first attempt on."""
    provider = make_provider()
    for days in (5, 4):
        tried(provider, at=NOW - timedelta(days=days))
    rollups.roll_up(NOW - timedelta(days=4))
    assert HealthRollup.objects.count() == 2
    for hours in (1, 30, 80):
        tried(provider, at=NOW - hours * HOUR)
    rollups.roll_up(NOW)
    assert HealthRollup.objects.count() == 5
    assert all(each.good == 1 for each in HealthRollup.objects.all())


def test_does_nothing_without_attempts() -> None:
    """A new instance."""
    rollups.roll_up(NOW)
    assert not HealthRollup.objects.exists()


def test_it_takes_one_statement_however_many_routes(
    make_provider: MakeProvider, tried: Tried
) -> None:
    """The figures never leave the database."""
    counts = []
    for many in (1, 9):
        for number in range(many):
            tried(make_provider(f"P{many}-{number}"), at=NOW)
        rollups.roll_up(NOW)
        with CaptureQueriesContext(connection) as captured:
            rollups.roll_up(NOW)
        counts.append(len(captured))
    assert counts[0] == counts[1] == 2
