"""A 429 costs a sole route nothing where it names no wait or a short one: requests wait."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.domain.tuning import RULES
from providers.models import Attempt, Provider
from providers.router import route_table
from providers.vendors import presets
from tests import fakes
from tests.faults.asking import Answer, listen

pytestmark = pytest.mark.django_db(transaction=True)

SCALE = 4  # times faster than the report: requests, pauses and cooldowns alike
RATE, REQUESTS = 10, 300  # a second, and in all
LIMITED = (20, 71, 122, 173, 224)  # which of the upstream's answers were 1302


@pytest.mark.parametrize("limit", ["zai-1302", "429-ms", "429-words"])
async def test_five_429s_in_254_answers_fail_none_of_300_requests(
    make_provider: Callable[..., Provider], fake: fakes.Upstream, settings: Settings, limit: str
) -> None:
    """Z.ai's preset, one route, ten requests a second: 51 of them failed when a 1302 opened it.
    A short wait that is named, in a header or in words, is waited out by all."""
    settings.ROUTING_RULES = replace(
        RULES,
        pause=RULES.pause / SCALE,
        repeat_within=RULES.repeat_within / SCALE,
        rests=tuple(rest / SCALE for rest in RULES.rests),
        # A busy machine is late with all of them: how many may wait is not the question here.
        queue=REQUESTS,
        queue_patience=100,
    )
    zai = presets.get("zai")
    provider = await sync_to_async(make_provider)(
        model_id="glm-4.7",
        preset=zai.slug,
        base_url=fake.url,
        api_key=fakes.KEY,
        routing_method="direct",
        fallback_enabled=False,
    )
    fake.script(*(limit if n in LIMITED else "late-50" for n in range(1, REQUESTS + 6)))

    async def one(number: int) -> Answer:
        await asyncio.sleep(number / RATE / SCALE)
        return await listen(provider, "glm-4.7")

    try:
        answers = await asyncio.gather(*(one(number) for number in range(REQUESTS)))
        await route_table.current().flush()
    finally:
        await route_table.close()
        await http.close()
    assert [answer.kind for answer in answers] == [None] * REQUESTS
    assert {answer.text for answer in answers} == {fakes.SIXTY}
    assert len(fake.requests) == REQUESTS + len(LIMITED)
    limited = Attempt.objects.filter(outcome="rate_limit")
    assert await limited.acount() == len(LIMITED)
    route = await provider.routes.aget(method="direct")
    assert (route.state, route.consecutive_failures) == ("closed", 0)
