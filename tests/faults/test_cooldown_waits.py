"""Every route in a cooldown: who waits for the half-open probe, and who is refused at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.models import Provider
from providers.router import route_table
from tests import fakes
from tests.faults.asking import Answer, RouteSetup, listen

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 20


@asynccontextmanager
async def closing() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await route_table.close()
        await http.close()


async def fail(provider: Provider, fake: fakes.Upstream) -> None:
    """Requests of two models until the route is in its cooldown; the upstream is well again."""
    fake.script("reset")
    while not any(not r.is_closed for r in route_table.current().routes(provider.pk)):
        await listen(provider, "sixty")
    fake.script("late-50")
    fake.requests.clear()


async def burst(provider: Provider) -> list[Answer]:
    return await asyncio.gather(*(listen(provider, "sixty") for _ in range(CALLERS)))


async def test_requests_of_a_short_cooldown_wait_for_its_probe_and_are_answered(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, settings: Settings
) -> None:
    """None of them fails, and none goes out before the cooldown is over."""
    settings.ROUTING_RULES = replace(
        settings.ROUTING_RULES, rests=(1.0,), jitter=0.001, last_resort_every=1000
    )
    provider = await sync_to_async(make_provider)(**direct.fields)
    async with closing():
        await fail(provider, fake)
        route_table.current().take_last_resort(provider.pk)
        retry_at = route_table.current().routes(provider.pk)[0].breaker.retry_at
        answers = await burst(provider)
    assert [answer.kind for answer in answers] == [None] * CALLERS
    assert retry_at
    attempts = [each for a in answers if a.completed for each in a.completed.attempts]
    assert len(attempts) == CALLERS
    assert min(each.started_at for each in attempts) >= retry_at


async def test_in_the_first_seconds_of_an_outage_the_last_resort_is_waited_for(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, settings: Settings
) -> None:
    """The upstream is back long before the cooldown is over."""
    settings.ROUTING_RULES = replace(
        settings.ROUTING_RULES, rests=(60.0,), last_resort_every=0.5, cooldown_patience=20
    )
    provider = await sync_to_async(make_provider)(**direct.fields)
    async with closing():
        await fail(provider, fake)
        answers = await burst(provider)
    assert [answer.kind for answer in answers] == [None] * CALLERS


async def test_a_request_is_refused_at_once_where_no_probe_is_near(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, settings: Settings
) -> None:
    """With the time at which to come again; nothing is sent."""
    settings.ROUTING_RULES = replace(settings.ROUTING_RULES, rests=(60.0,), last_resort_every=1000)
    provider = await sync_to_async(make_provider)(**direct.fields)
    async with closing():
        await fail(provider, fake)
        route_table.current().take_last_resort(provider.pk)
        answers = await burst(provider)
    errors = [answer.failed for answer in answers if answer.failed]
    assert [error.code for error in errors] == ["routes_resting"] * CALLERS
    assert all(error.retry_after and error.retry_after > 30 for error in errors)
    assert fake.requests == []


async def test_no_more_wait_than_the_queue_of_the_key_holds(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, settings: Settings
) -> None:
    """The others are refused at once."""
    settings.ROUTING_RULES = replace(
        settings.ROUTING_RULES, rests=(1.0,), jitter=0.001, last_resort_every=1000, queue=5
    )
    provider = await sync_to_async(make_provider)(**direct.fields)
    async with closing():
        await fail(provider, fake)
        route_table.current().take_last_resort(provider.pk)
        answers = await burst(provider)
    refused = [answer.failed for answer in answers if answer.failed]
    assert {error.code for error in refused} == {"routes_resting"}
    assert len(refused) == CALLERS - 5
