"""What is older than it is kept goes, in batches, and nothing else."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from health import retention, tasks
from health.models import HealthRollup, Incident
from providers.models import Attempt, KeySpend, Provider
from tests.health.conftest import Tried

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def test_each_has_its_own_time(make_provider: MakeProvider, tried: Tried) -> None:
    """Probes 2 days, other attempts 30, roll-ups and closed incidents 400."""
    provider, now = make_provider(), timezone.now()
    for purpose, days in (("probe", 1.9), ("probe", 2.1), ("chat", 29.9), ("chat", 30.1)):
        tried(provider, purpose=purpose, at=now - days * DAY)
    for days in (399.9, 400.1):
        HealthRollup.objects.create(provider=provider, hour=now - days * DAY)
        Incident.objects.create(
            provider=provider, opened_at=now - 500 * DAY, closed_at=now - days * DAY
        )
    Incident.objects.create(provider=provider, opened_at=now - 500 * DAY)
    assert retention.prune(now) == 4
    assert sorted(Attempt.objects.values_list("purpose", flat=True)) == ["chat", "probe"]
    assert HealthRollup.objects.count() == 1
    assert Incident.objects.count() == 2


def test_the_costs_of_keys_are_kept_for_400_days() -> None:
    """By their day."""
    now = timezone.now()
    for days in (400, 401):
        KeySpend.objects.create(client_key=1, day=(now - days * DAY).date(), cost=1)
    assert retention.prune(now) == 1
    assert KeySpend.objects.get().day == (now - 400 * DAY).date()


def test_batches_continue_where_the_last_one_ended(
    make_provider: MakeProvider, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where many are of the same moment."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    provider, now = make_provider(), timezone.now()
    for number in range(11):
        tried(provider, at=now - (40 - number // 5) * DAY)
    assert retention.prune(now) == 11


def test_it_ends_in_time(make_provider: MakeProvider, tried: Tried) -> None:
    """The next run goes on."""
    tried(make_provider(), ago=40 * DAY)
    assert retention.prune(timezone.now(), seconds=0) == 0
    assert Attempt.objects.count() == 1


def test_the_operator_sets_the_retention(
    make_provider: MakeProvider, tried: Tried, settings: Settings
) -> None:
    """KEEP_ATTEMPTS, and so on."""
    settings.KEEP_ATTEMPTS = 60
    tried(make_provider(), ago=40 * DAY)
    tasks.prune()
    assert Attempt.objects.count() == 1
