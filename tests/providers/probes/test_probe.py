"""Probes take the routes of real traffic and feed the same state."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from pytest_django import Settings

from providers.clients import http
from providers.domain.tuning import RULES
from providers.domain.types import Method
from providers.infra import database
from providers.models import Attempt, Provider, Route
from providers.policy.breaker import BreakerState, State
from providers.policy.route_state import RouteState
from providers.probes import probe as probing
from providers.probes import probe_plan
from tests import fakes

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


async def probed(provider: Provider) -> Provider:
    await Provider.objects.filter(pk=provider.pk).aupdate(next_check_at=timezone.now())
    try:
        await probing.check_provider(provider.pk)
    finally:
        await http.close()
    return await Provider.objects.aget(pk=provider.pk)


async def test_a_probe_makes_health_known(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """GET /models alone: no chat is sent."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint=fake.url, gateway_api_key=fakes.KEY
    )
    provider = await probed(provider)
    assert provider.health_status == "healthy"
    assert provider.last_health_check is not None
    assert {request.path for request in fake.requests} == {"/v1/models"}


async def test_a_dead_provider_becomes_failing_and_recovers(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """Two refused connects without a success before; then the trials close it again."""
    settings.ROUTING_RULES = replace(RULES, good_to_recover=2, recover_after=0.001)
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    provider = await sync_to_async(make_provider)(base_url=nowhere, gateway_endpoint=nowhere)
    await probed(provider)
    provider = await probed(provider)
    # The gateway's failures are its own kind, which takes five.
    for _ in range(3):
        provider = await probed(provider)
    assert provider.health_status == "failing"
    assert provider.consecutive_failures > 0
    await Provider.objects.filter(pk=provider.pk).aupdate(
        base_url=fake.url, api_key=fakes.KEY, gateway_api_key=fakes.KEY, gateway_endpoint=fake.url
    )
    await Route.objects.aupdate(retry_at="2020-01-01T00:00:00Z")
    await probed(provider)
    provider = await probed(provider)
    assert (provider.health_status, provider.health_reason) == ("healthy", "")
    assert provider.consecutive_failures == 0


async def test_a_probe_that_is_refused_for_its_key_does_not_call_it_down(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """401 is recorded and moves no breaker: listing may need other rights than chatting."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key="wrong", gateway_endpoint=fake.url
    )
    await probed(provider)
    route = await Route.objects.aget(provider=provider, method="direct")
    assert (route.state, route.last_outcome) == (State.CLOSED, "auth")


async def test_a_resting_route_is_left_alone(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Its time has not come."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint=fake.url
    )
    await Route.objects.filter(provider=provider).aupdate(
        state=State.OPEN, retry_at="2999-01-01T00:00:00Z", opened_at="2026-01-01T00:00:00Z"
    )
    await probed(provider)
    assert fake.requests == []


CHATTY = {"routing_method": "direct", "fallback_enabled": False, "chat_probe": True}


async def test_a_short_chat_follows_where_it_is_paid_for(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Of the cheapest model that chats; the attempt has time, tokens and cost."""
    make = sync_to_async(make_provider)
    provider = await make(base_url=fake.url, api_key=fakes.KEY, model_id="echo", **CHATTY)
    models = provider.language_models
    await models.aupdate(input_price=3, output_price=15)
    await models.acreate(model_id="cheap-embed", name="e", input_price=0, output_price=0)
    await models.acreate(model_id="dear", name="d", input_price=30, output_price=150)
    await models.acreate(model_id="unpriced", name="u")
    await probed(provider)
    assert [request.path for request in fake.requests] == ["/v1/models", "/v1/chat/completions"]
    assert fake.requests[1].body["max_tokens"] == 16
    attempt = await Attempt.objects.aget(provider=provider)
    assert (attempt.purpose, attempt.outcome, attempt.model_id) == ("probe", "ok", "echo")
    assert attempt.ttft_ms is not None
    assert attempt.cost


@pytest.mark.parametrize("model_id", ["wants-16", "wants-64"])
async def test_a_chat_that_a_model_refuses_shows_nothing_about_its_route(
    make_provider: MakeProvider, fake: fakes.Upstream, model_id: str
) -> None:
    """Some refuse a small limit with 400: the list was given, so the provider is healthy."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, model_id=model_id, **CHATTY
    )
    provider = await probed(provider)
    assert provider.health_status == "healthy"
    assert (await Attempt.objects.aget(provider=provider)).outcome == "ok"


async def test_the_days_cap_ends_chats_and_not_probes(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Yesterday's cost and other purposes' do not count."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, model_id="echo", **CHATTY, chat_probe_cap="0.01"
    )
    spent = {"provider": provider, "request_id": uuid4(), "method": "direct", "outcome": "ok"}
    earlier = timezone.now() - timedelta(days=1)
    await Attempt.objects.acreate(**spent, purpose="probe", cost="1", started_at=earlier)
    await Attempt.objects.acreate(**spent, purpose="chat", cost="1")
    await probed(provider)
    assert len(fake.requests) == 2
    # In a minute, so that it is today's on both sides of midnight.
    soon = timezone.now() + timedelta(minutes=1)
    await Attempt.objects.acreate(**spent, purpose="probe", cost="0.01", started_at=soon)
    await Route.objects.aupdate(last_success_at=None)
    await probed(provider)
    assert [request.path for request in fake.requests[2:]] == ["/v1/models"]


async def test_terms_that_forbid_synthetic_chats_are_respected(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Whatever the operator has switched on."""
    provider = await sync_to_async(make_provider)(
        preset="zai-coding", base_url=fake.url, api_key=fakes.KEY, model_id="echo", **CHATTY
    )
    await probed(provider)
    assert {request.path for request in fake.requests} == {"/v1/models"}


async def test_a_chat_decides_where_models_are_not_listed(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """404 for the list and an answer to the chat: it works."""
    fake.script(models="404")
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, model_id="echo", **CHATTY
    )
    assert (await probed(provider)).health_status == "healthy"


@pytest.mark.parametrize("status", ["401", "402", "429", "400"])
async def test_a_refusal_is_recorded_and_is_not_down(
    make_provider: MakeProvider, fake: fakes.Upstream, status: str
) -> None:
    """What refuses a probe may well answer a chat."""
    fake.script(models=status)
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, routing_method="direct", fallback_enabled=False
    )
    for _ in range(6):
        provider = await probed(provider)
    attempts = Attempt.objects.filter(provider=provider, status=int(status))
    assert await attempts.acount() == 6
    assert (await provider.routes.aget(method="direct")).state == State.CLOSED
    assert provider.health_status not in ("degraded", "failing")


async def test_an_open_route_whose_rest_is_over_is_tried(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Two good trials close it; each is claimed."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, routing_method="direct", fallback_enabled=False
    )
    past = timezone.now() - timedelta(minutes=1)
    direct = provider.routes.filter(method="direct")
    await direct.aupdate(state=State.OPEN, retry_at=past, opened_at=past, last_kind="network")
    await probed(provider)
    assert (await direct.aget()).state == State.OPEN
    await probed(provider)
    route = await direct.aget()
    assert (route.state, route.epoch) == (State.CLOSED, 4)
    assert len(fake.requests) == 2


NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
AT_WORK = RouteState(
    route_id=1,
    method=Method.DIRECT,
    breaker=BreakerState(proven=True),
    last_outcome_at=NOW - timedelta(seconds=29),
    last_success_at=NOW - timedelta(seconds=29),
)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (AT_WORK, False),
        (replace(AT_WORK, last_success_at=NOW - timedelta(seconds=31)), True),
        (replace(AT_WORK, last_outcome_at=NOW), True),  # it failed since
        (RouteState(route_id=1, method=Method.DIRECT), True),
        (RouteState(route_id=1, method=Method.GATEWAY, is_fallback=True), False),
        (
            replace(
                AT_WORK, is_fallback=True, breaker=BreakerState(state=State.OPEN, retry_at=NOW)
            ),
            True,
        ),
        (replace(AT_WORK, breaker=BreakerState(state=State.OPEN, retry_at=NOW)), True),
        (replace(AT_WORK, breaker=BreakerState(state=State.OPEN)), False),  # disabled until edited
        (
            replace(
                AT_WORK,
                breaker=BreakerState(state=State.HALF_OPEN, retry_at=NOW + timedelta(seconds=9)),
            ),
            False,
        ),
    ],
)
def test_a_route_is_probed_where_it_needs_a_probe(route: RouteState, expected: bool) -> None:
    """Not with recent successes, not in a cooldown, and no healthy fallback."""
    assert probe_plan.needs_probe(route, NOW, timedelta(minutes=1)) is expected


async def test_only_routes_of_the_policy_are_probed(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """A forced method without fallback; while with the automatic one both have to prove it."""
    make = sync_to_async(make_provider)
    for name, fields in (
        ("Forced", {"routing_method": "gateway", "fallback_enabled": False}),
        ("Auto", {"fallback_enabled": False}),
        ("Legacy", {"provider_type": "legacy"}),
    ):
        url = f"{fake.origin}/{name}/v1"
        await make(name, base_url=url, gateway_endpoint=f"{url}/gate", **fields)
    due = await database.run(Provider.objects.all().claim_due, timezone.now())
    routes = {
        probe.candidate.name: {route.method.value for route in probe.routes}
        for probe in await database.run(probe_plan.plan_probes, due)
    }
    assert routes == {"Forced": {"gateway"}, "Auto": {"direct", "gateway"}, "Legacy": {"direct"}}
