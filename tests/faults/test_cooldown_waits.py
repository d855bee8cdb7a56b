"""Every route in a cooldown: who waits for the half-open probe, and who is refused at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The rules, whether the last resort is used up, and how many callers are refused at once."""

    rules: dict[str, Any]
    is_last_resort_used: bool
    refused: int


CASES = {
    "a short cooldown: all wait for its probe": Case(
        rules={"rests": (1.0,), "jitter": 0.001, "last_resort_every": 1000},
        is_last_resort_used=True,
        refused=0,
    ),
    "the first seconds of an outage: all wait for the last resort": Case(
        rules={"rests": (60.0,), "last_resort_every": 0.5, "cooldown_patience": 20},
        is_last_resort_used=False,
        refused=0,
    ),
    "no probe is near: all are refused": Case(
        rules={"rests": (60.0,), "last_resort_every": 1000},
        is_last_resort_used=True,
        refused=CALLERS,
    ),
    "the queue of the key is full: those beyond it are refused": Case(
        rules={"rests": (1.0,), "jitter": 0.001, "last_resort_every": 1000, "queue": 5},
        is_last_resort_used=True,
        refused=CALLERS - 5,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_callers_wait_for_a_probe_that_is_near_and_are_refused_otherwise(
    case: Case,
    make_provider: MakeProvider,
    fake: fakes.Upstream,
    direct: RouteSetup,
    settings: Settings,
) -> None:
    """Who waits is answered; who is refused learns when to come again."""
    settings.ROUTING_RULES = replace(settings.ROUTING_RULES, **case.rules)
    provider = await sync_to_async(make_provider)(**direct.fields)
    async with closing():
        await fail(provider, fake)
        if case.is_last_resort_used:
            route_table.current().take_last_resort(provider.pk)
        retry_at = route_table.current().routes(provider.pk)[0].breaker.retry_at
        answers = await burst(provider)
    refused = [answer.failed for answer in answers if answer.failed]
    assert [error.code for error in refused] == ["routes_resting"] * case.refused
    attempts = [each for a in answers if a.completed for each in a.completed.attempts]
    assert len(attempts) == CALLERS - case.refused
    assert retry_at
    if case.is_last_resort_used:  # nothing is sent before the cooldown is over
        assert all(each.started_at >= retry_at for each in attempts)
    if not attempts:
        assert fake.requests == []
        assert all(error.retry_after and error.retry_after > 30 for error in refused)
