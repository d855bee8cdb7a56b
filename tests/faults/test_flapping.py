"""A provider that is up and down and up again, and callers that go on asking, in real time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.domain.errors import PlanFailed
from providers.domain.types import TextDelta
from providers.models import Provider
from providers.router import route_table, router
from tests import fakes
from tests.faults.asking import QUESTION, make_call

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)

UP, DOWN = 900, 600  # milliseconds
PHASES = 4
SECONDS = PHASES * (UP + DOWN) / 1000
PACE = 0.025  # seconds between two requests of the steady caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one request ended, and how long it took."""

    text: str
    code: str
    seconds: float


@pytest.fixture
def quick(impatient: Settings) -> None:
    """Cooldowns in the same proportion to these outages as real ones to outages of a minute."""
    impatient.ROUTING_RULES = replace(
        impatient.ROUTING_RULES,
        rests=(0.1, 0.16, 0.24, 0.3, 0.3),
        last_resort_every=0.2,
        cooldown_patience=0.08,
        short_outage=0.3,
        window=0.6,
    )


async def one(provider: Provider, model: str) -> Ended:
    began, text, code = time.monotonic(), "", ""
    try:
        async with aclosing(router.stream(make_call(provider, model), QUESTION)) as events:
            async for event in events:
                text += event.text if isinstance(event, TextDelta) else ""
    except PlanFailed as failed:
        code = failed.code
    return Ended(text=text, code=code, seconds=time.monotonic() - began)


async def steadily(provider: Provider, model: str) -> list[Ended]:
    """Asks at an even pace for the whole time, whatever becomes of the requests before."""
    asking: list[asyncio.Task[Ended]] = []
    until = time.monotonic() + SECONDS
    try:
        await one(provider, "sixty")
        while time.monotonic() < until:
            asking.append(asyncio.create_task(one(provider, model)))
            await asyncio.sleep(PACE)
        ended = [await each for each in asking]
        await route_table.current().flush()
        return ended
    finally:
        await route_table.close()
        await http.close()


async def test_with_a_second_route_no_caller_notices(
    make_provider: MakeProvider, fake: fakes.Upstream, quick: None
) -> None:
    """Each is answered in whole, and the route that flaps is left alone after its first fall."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.fault(f"flap-{UP}-{DOWN}"),
        gateway_endpoint=fake.url,
        api_key=fakes.KEY,
        gateway_api_key=fakes.KEY,
    )
    ended = await steadily(provider, "sixty")
    assert {each.text for each in ended} == {fakes.SIXTY}
    down = sum(record.behaviour == "500" for record in fake.requests)
    assert 0 < down <= 10


async def test_with_one_route_the_calls_while_it_is_down_are_few_and_it_comes_back_by_itself(
    make_provider: MakeProvider, fake: fakes.Upstream, quick: None
) -> None:
    """Each fall costs a handful of calls; the rest fail within moments, with the reason."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.fault(f"flap-{UP}-{DOWN}"),
        api_key=fakes.KEY,
        routing_method="direct",
        fallback_enabled=False,
    )
    began = time.monotonic()
    ended = await steadily(provider, "sixty")
    phases = 1 + (time.monotonic() - began) * 1000 / (UP + DOWN)
    down = sum(record.behaviour == "500" for record in fake.requests)
    failed = [each for each in ended if each.code]
    # Those that open the breaker, a trial for each rest, and one a fifth of a second all the same.
    assert down <= 15 * phases
    assert len(failed) / len(ended) < 0.85
    assert Counter(each.code for each in failed)["routes_resting"] > len(failed) / 2
    # It came back: there were answers after failures, more than once.
    ends = [bool(each.code) for each in ended]
    assert sum(earlier and not later for earlier, later in pairwise(ends)) > 1
    assert {each.text for each in ended if not each.code} == {fakes.SIXTY}
