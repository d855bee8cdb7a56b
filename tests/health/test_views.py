"""The status page and a provider's history: from storage alone, in a few queries."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from health import rollups
from health.models import HealthRollup, Incident
from providers.models import Provider
from tests.health.conftest import Tried

MakeProvider = Callable[..., Provider]
HTMX = {"HX-Request": "true"}
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def page(client: Client, shown: str = "24h", **headers: str) -> str:
    return client.get(reverse("health:status"), {"range": shown}, headers=headers).content.decode()


def test_it_works(stranger_client: Client, make_provider: MakeProvider, tried: Tried) -> None:
    """Everybody who is signed in sees the banner, the reason, the routes and the share."""
    provider = make_provider(health_status="degraded", health_reason="direct fails 7 % of the time")
    for outcome in ("ok", "ok", "network", "stopped"):
        tried(provider, outcome)
    rollups.roll_up(timezone.now())
    html = page(stranger_client)
    assert "1 provider is degraded" in html
    assert "direct fails 7 % of the time." in html
    assert "66.6 %" in html
    assert "Not tried yet" in html
    assert "2 of 3 requests succeeded" in html


def test_the_last_hour_is_read_from_the_attempts(
    owner_client: Client, make_provider: MakeProvider, tried: Tried
) -> None:
    """By two minutes; nothing has been rolled up yet."""
    provider = make_provider()
    tried(provider, "network", ago=20 * MINUTE)
    tried(provider, "ok")
    html = page(owner_client, "1h")
    assert html.count("<rect") == 30
    assert html.count('<rect data-status="failing"') == 1
    assert html.count('<rect data-status="healthy"') == 1
    assert "50 %" in html


def test_a_day_is_as_bad_as_its_worst_hour(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Over both routes together."""
    provider = make_provider()
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for hour in range(5):
        at = midnight - 2 * DAY + hour * HOUR
        HealthRollup.objects.create(provider=provider, method="direct", hour=at, good=1000)
    HealthRollup.objects.create(provider=provider, method="gateway", hour=at, bad=1000)
    html = page(owner_client, "30d")
    assert html.count('<rect data-status="failing"') == 1
    assert "5000 succeeded, 1000 failed; 50 % in the worst hour" in html
    assert "83.3 %" in html


def test_the_range_stays_in_the_address(owner_client: Client, make_provider: MakeProvider) -> None:
    """What is polled is the range that the reader chose."""
    make_provider()
    html = page(owner_client, "7d")
    assert 'hx-get="/status/?range=7d"' in html
    assert '<a href="?range=7d" aria-current="true">7 days</a>' in html
    assert "?range=7d" in html.partition("View history")[0].rpartition("<a ")[2]


def test_htmx_gets_the_body_alone(owner_client: Client, make_provider: MakeProvider) -> None:
    """What is polled is small."""
    make_provider()
    html = page(owner_client, **HTMX)
    assert "<html" not in html
    assert "Acme" in html


def test_shows_a_hint_without_providers(owner_client: Client) -> None:
    """An empty page would look broken."""
    assert "No providers yet" in page(owner_client)


def test_incidents_explain_themselves(owner_client: Client, make_provider: MakeProvider) -> None:
    """The open one first; cause, models, how long, and what was saved."""
    provider, now = make_provider(), timezone.now()
    Incident.objects.create(
        provider=provider,
        status="failing",
        worst="failing",
        cause="network",
        sentence="The connection was refused.",
        affected_models=["glm-4.7"],
        rescued=37,
        opened_at=now - 12 * MINUTE,
    )
    past = {"provider": provider, "status": "degraded", "worst": "degraded"}
    for hours in (3, 30):
        at = now - hours * HOUR
        Incident.objects.create(**past, opened_at=at, closed_at=at + 25 * MINUTE)
    html = page(owner_client)
    shown, _, ended = html.partition("Past incidents")
    assert "network error" in shown
    assert "The connection was refused." in shown
    assert "Ongoing for 12 min" in shown
    assert "Affected models: glm-4.7." in shown
    assert "37 requests answered by a fallback" in shown
    assert ended.count("lasted 25 min") == 1
    assert "No requests failed." in ended
    assert page(owner_client, "7d").count("lasted 25 min") == 2


@pytest.mark.parametrize("shown", ["1h", "24h", "90d"])
def test_it_takes_the_same_queries_however_many(
    owner_client: Client,
    make_provider: MakeProvider,
    tried: Tried,
    django_assert_num_queries: DjangoAssertNumQueries,
    shown: str,
) -> None:
    """Session, user, providers, routes, bars, incidents; with fifty providers."""
    for number in range(50):
        provider = make_provider(f"P{number}")
        tried(provider)
        Incident.objects.create(provider=provider, status="failing", worst="failing")
    rollups.roll_up(timezone.now())
    with django_assert_num_queries(8):
        page(owner_client, shown, **HTMX)


def test_a_provider_out_of_use_is_paused(owner_client: Client, make_provider: MakeProvider) -> None:
    """And no reason for a banner."""
    make_provider(enabled=False, health_status="failing", health_reason="direct failed")
    html = page(owner_client)
    assert 'data-status="paused"' in html
    assert "failing" not in html
    assert "direct failed" not in html


def test_a_providers_history_is_a_table_too(
    owner_client: Client,
    make_provider: MakeProvider,
    tried: Tried,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """What the bars say, for who cannot see them; its own attempts and incidents alone."""
    provider, other = make_provider(), make_provider("Other")
    tried(provider, "network")
    tried(other)
    Incident.objects.create(provider=other, status="failing", worst="failing", sentence="Theirs.")
    rollups.roll_up(timezone.now())
    address = reverse("health:provider", args=[provider.slug])
    with django_assert_num_queries(8):
        html = owner_client.get(address).content.decode()
    assert html.count("<tr><td") == 1
    assert "100 %</td>" in html
    assert "Theirs." not in html
    assert "<html" not in owner_client.get(address, headers=HTMX).content.decode()
    assert address in owner_client.get(reverse("providers:detail", args=["acme"])).content.decode()


def test_an_unknown_provider_is_404(owner_client: Client) -> None:
    """It was removed."""
    assert owner_client.get(reverse("health:provider", args=["gone"])).status_code == 404


def test_strangers_sign_in_first(client: Client) -> None:
    """Addresses of providers are nobody else's business."""
    for name, args in (("health:status", []), ("health:provider", ["acme"])):
        assert client.get(reverse(name, args=args)).status_code == 302


def test_no_open_incident_beside_a_healthy_provider(
    owner_client: Client, make_provider: Callable[..., Provider]
) -> None:
    """It is closed by the next tick; until then the page does not contradict itself."""
    provider = make_provider(health_status="healthy")
    Incident.objects.create(provider=provider, status="failing", worst="failing", sentence="Down.")
    page = owner_client.get("/status/").content.decode()
    assert 'id="open-incidents"' not in page
    assert "resolved just now" in page
    Provider.objects.update(health_status="failing")
    page = owner_client.get("/status/").content.decode()
    assert 'id="open-incidents"' in page


def test_a_route_in_a_cooldown_counts_down(
    owner_client: Client, make_provider: Callable[..., Provider]
) -> None:
    """On the status page and the provider's own."""
    provider = make_provider()
    retry_at = timezone.now() + timedelta(seconds=90)
    provider.routes.filter(method="direct").update(state="open", retry_at=retry_at)
    for page in ("/status/", f"/providers/{provider.slug}/"):
        html = owner_client.get(page).content.decode()
        assert re.search(r'data-countdown="(8\d|90)"', html), page
