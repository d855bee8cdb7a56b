"""Incidents follow from health alone: opened, made worse, closed, opened again, counted."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connections
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from health import incidents
from health.models import Incident
from providers.models import Provider
from tests.health.conftest import Tried

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db


def becomes(provider: Provider, health: str, **columns: object) -> None:
    Provider.objects.filter(pk=provider.pk).update(health_status=health, **columns)


def look(now: datetime | None = None) -> list[Incident]:
    """All incidents after a look, the newest first."""
    incidents.reconcile(now or timezone.now())
    return list(Incident.objects.all())


def test_a_failing_provider_opens_an_incident_with_its_cause(
    make_provider: MakeProvider, tried: Tried
) -> None:
    """In the words of the last failure; a refused probe and a wrong request are none."""
    provider = make_provider()
    tried(provider, "network", error_message="Connection refused.", ago=timedelta(seconds=5))
    tried(provider, "request", error_message="Too long.")
    tried(provider, "auth", purpose="probe", error_message="No.")
    becomes(provider, "failing", health_reason="direct failed 5 times")
    [incident] = look()
    assert (incident.status, incident.worst, incident.closed_at) == ("failing", "failing", None)
    assert (incident.cause, incident.sentence) == ("network", "network error")
    assert incident.affected_models == ["m"]


def test_a_slow_provider_opens_an_incident(make_provider: MakeProvider) -> None:
    """Nothing failed: the cause is what its health says."""
    provider = make_provider()
    becomes(provider, "degraded", health_reason="direct is slow")
    [incident] = look()
    assert (incident.cause, incident.sentence) == ("", "direct is slow")


def test_it_gets_worse_and_better_and_keeps_the_worst(
    make_provider: MakeProvider, tried: Tried
) -> None:
    """And the worst's cause; it is one incident."""
    provider = make_provider()
    becomes(provider, "degraded", health_reason="direct is slow")
    look()
    tried(provider, "timeout", error_message="No answer began.", status=504)
    becomes(provider, "failing")
    [incident] = look()
    expected = ("failing", "failing", "timeout", "time-out, HTTP 504")
    assert (incident.status, incident.worst, incident.cause, incident.sentence) == expected
    becomes(provider, "degraded")
    [incident] = look()
    assert (incident.status, incident.worst, incident.cause) == ("degraded", "failing", "timeout")


@pytest.mark.parametrize(
    ("health", "enabled"), [("healthy", True), ("unknown", True), ("failing", False)]
)
def test_it_closes_when_its_reason_is_gone(
    make_provider: MakeProvider, health: str, enabled: bool
) -> None:
    """Recovered, edited, or switched off."""
    provider = make_provider()
    becomes(provider, "failing")
    look()
    becomes(provider, health, enabled=enabled)
    [incident] = look()
    assert incident.closed_at is not None


def test_reopens_an_incident_within_five_minutes(make_provider: MakeProvider) -> None:
    """Later it is another one."""
    provider, now = make_provider(), timezone.now()
    for minutes in (0, 4, 8, 14):
        becomes(provider, "failing")
        look(now + timedelta(minutes=minutes))
        becomes(provider, "healthy")
        look(now + timedelta(minutes=minutes, seconds=1))
    second, first = Incident.objects.all()
    assert (first.opened_at, first.closed_at) == (now, now + timedelta(minutes=8, seconds=1))
    assert second.opened_at == now + timedelta(minutes=14)


def test_one_is_open_at_most(make_provider: MakeProvider) -> None:
    """The database sees to it."""
    provider = make_provider()
    Incident.objects.create(provider=provider, status="failing", worst="failing")
    with pytest.raises(IntegrityError):
        Incident.objects.create(provider=provider, status="degraded", worst="degraded")


@pytest.mark.django_db(transaction=True)
def test_four_workers_open_one(make_provider: MakeProvider) -> None:
    """They look at the same moment; no one fails."""
    for number in range(5):
        becomes(make_provider(f"P{number}"), "failing")
    together = threading.Barrier(4)

    def worker(_: int) -> None:
        together.wait()
        try:
            incidents.reconcile(timezone.now())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(worker, range(4)))
    assert Incident.objects.count() == 5


def test_an_unchanged_state_takes_one_query(
    make_provider: MakeProvider, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Each second, of however many providers."""
    for number in range(8):
        becomes(make_provider(f"P{number}"), "failing" if number % 2 else "healthy")
    look()
    with django_assert_num_queries(1):
        incidents.reconcile(timezone.now())


def test_rescued_requests_are_counted(make_provider: MakeProvider, tried: Tried) -> None:
    """Those that failed here and were answered by another route, ours or another provider's."""
    provider, other = make_provider(), make_provider("Other")
    for position, rescuer in ((2, provider), (3, other)):
        request = uuid4()
        tried(provider, "network", request_id=request, model_id="glm")
        tried(provider, "gateway", request_id=request, position=2, method="gateway")
        tried(rescuer, "ok", request_id=request, position=position, method="gateway")
    tried(provider, "network", request_id=uuid4())
    tried(other, "ok", position=2)
    tried(provider, "network", model_id="old", ago=timedelta(hours=1))
    becomes(provider, "degraded")
    [incident] = look()
    assert (incident.rescued, incident.affected_models) == (2, ["glm", "m"])


def test_what_happens_meanwhile_is_counted_each_minute_and_at_the_end(
    make_provider: MakeProvider, tried: Tried, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """An answer that began in an incident may end after it."""
    provider, now = make_provider(), timezone.now()
    becomes(provider, "failing")
    look(now)

    def rescue() -> None:
        request = uuid4()
        tried(provider, "network", request_id=request)
        tried(provider, "ok", request_id=request, position=2, method="gateway")

    rescue()
    with django_assert_num_queries(1):
        incidents.count_effects(now + timedelta(seconds=59))
    incidents.count_effects(now + timedelta(seconds=61))
    assert Incident.objects.get().rescued == 1
    rescue()
    becomes(provider, "healthy")
    [incident] = look(now + timedelta(seconds=70))
    assert incident.rescued == 2
    rescue()
    incidents.count_effects(now + timedelta(seconds=140))
    assert Incident.objects.get().rescued == 3
