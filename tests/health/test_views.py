"""The status page, and the addresses that ask whether this process can work."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from health import liveness
from providers.models import Attempt, Provider

MakeProvider = Callable[..., Provider]
HTMX = {"HX-Request": "true"}


def attempt(provider: Provider, outcome: str, minutes: int = 1) -> None:
    Attempt.objects.create(
        provider=provider,
        request_id=uuid4(),
        method="direct",
        purpose="chat",
        outcome=outcome,
        started_at=timezone.now() - timedelta(minutes=minutes),
    )


def test_it_works(stranger_client: Client, make_provider: MakeProvider) -> None:
    """Everybody who is signed in sees the banner, the routes and the shares."""
    provider = make_provider(health_status="degraded", last_health_check=timezone.now())
    for outcome in ("ok", "ok", "network", "stopped"):
        attempt(provider, outcome)
    attempt(provider, "auth", minutes=180)
    html = stranger_client.get(reverse("health:status")).content.decode()
    assert "1 provider is degraded" in html
    assert "66.6 %" in html
    assert "50 %" in html
    assert "Not tried yet" in html
    assert "2 of 4 went well" in html


def test_htmx_gets_the_body_alone(owner_client: Client, make_provider: MakeProvider) -> None:
    """What is polled is small."""
    make_provider()
    html = owner_client.get(reverse("health:status"), headers=HTMX).content.decode()
    assert "<html" not in html
    assert "Acme" in html


def test_without_a_provider_it_says_what_to_do(owner_client: Client) -> None:
    """An empty page would look broken."""
    html = owner_client.get(reverse("health:status")).content.decode()
    assert "There is no provider to watch yet" in html


@pytest.mark.parametrize("count", [1, 12])
def test_it_takes_the_same_queries_however_many(
    owner_client: Client,
    make_provider: MakeProvider,
    django_assert_num_queries: DjangoAssertNumQueries,
    count: int,
) -> None:
    """Session, user, providers, routes, attempts."""
    for number in range(count):
        attempt(make_provider(f"P{number}"), "ok")
    with django_assert_num_queries(5):
        owner_client.get(reverse("health:status"), headers=HTMX)


def test_a_provider_out_of_use_is_paused(owner_client: Client, make_provider: MakeProvider) -> None:
    """And no reason for a banner."""
    make_provider(enabled=False, health_status="failing")
    html = owner_client.get(reverse("health:status")).content.decode()
    assert 'data-status="paused"' in html
    assert "failing" not in html


def test_strangers_sign_in_first(client: Client) -> None:
    """Addresses of providers are nobody else's business."""
    assert client.get(reverse("health:status")).status_code == 302


def test_a_living_process_says_so(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, db: None
) -> None:
    """Without sign-in, and without asking the database."""
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.fixture
def _asked_anew() -> None:
    """The answers that liveness keeps for two seconds are of another test."""
    liveness.database_problem.until = liveness.redis_problem.until = 0


@pytest.mark.usefixtures("_asked_anew")
def test_a_ready_process_says_so(client: Client, db: None) -> None:
    """Database and Redis answer."""
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok", "redis": "ok", "reasons": []}


@pytest.mark.usefixtures("_asked_anew")
def test_without_redis_it_is_degraded_and_ready(
    client: Client, db: None, settings: Settings
) -> None:
    """Answers still come; a load balancer must not take it out."""
    settings.REDIS_URL = "redis://:a-secret@127.0.0.1:1"
    response = client.get("/readyz")
    liveness.redis_problem.until = 0
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["reasons"] == [liveness.REDIS_AWAY]
    assert "a-secret" not in response.content.decode()


@pytest.mark.usefixtures("_asked_anew")
def test_without_the_database_it_is_not_ready(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, with the reason and without an address."""
    monkeypatch.setattr(liveness, "database_problem", lambda: liveness.DATABASE_AWAY)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == [liveness.DATABASE_AWAY]
