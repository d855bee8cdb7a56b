"""The observer checks what is due, once, and nobody waits for a neighbour that hangs."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from health import monitor, tasks
from providers import http
from providers.models import Provider
from tests import fakes

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


async def checked() -> int:
    try:
        return await monitor.check_due()
    finally:
        await http.close()


async def test_what_is_due_is_checked(make_provider: MakeProvider, fake: fakes.Upstream) -> None:
    """Health, the time of the check and the next one are written."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint=fake.url, gateway_api_key=fakes.KEY
    )
    before = timezone.now()
    assert await checked() == 1
    await provider.arefresh_from_db()
    assert provider.health_status == "healthy"
    assert provider.last_health_check is not None
    assert provider.last_health_check >= before
    assert provider.next_check_at > before
    assert await checked() == 0


async def test_what_is_not_due_or_not_used_is_left_alone(make_provider: MakeProvider) -> None:
    """No call goes out."""
    make = sync_to_async(make_provider)
    await make("Later", next_check_at=timezone.now() + timedelta(minutes=1))
    await make("Off", enabled=False)
    assert await checked() == 0


async def test_two_observers_share_the_work(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Each check is made by one of them."""
    for number in range(5):
        await sync_to_async(make_provider)(f"P{number}", base_url=fake.url, api_key=fakes.KEY)
    try:
        assert sum(await asyncio.gather(monitor.check_due(), monitor.check_due())) == 5
    finally:
        await http.close()


async def test_one_that_hangs_or_refuses_does_not_stop_the_others(
    make_provider: MakeProvider, fake: fakes.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check has an end, and its failure is its own."""
    monkeypatch.setattr(monitor, "CHECK_SECONDS", 2.0)
    make = sync_to_async(make_provider)
    good = await make("Good", base_url=fake.url, api_key=fakes.KEY)
    refused = await make("Refused", base_url="http://127.0.0.1:1/v1")
    with fakes.Upstream() as silent:
        silent.script(models="stall-headers")
        await make("Silent", base_url=silent.url, api_key=fakes.KEY)
        began = time.monotonic()
        assert await checked() == 3
        assert time.monotonic() - began < 6
    await good.arefresh_from_db()
    await refused.arefresh_from_db()
    assert (await good.routes.aget(method="direct")).last_outcome == "ok"
    assert (await refused.routes.aget(method="direct")).last_outcome == "network"
    assert refused.consecutive_failures > 0


def test_the_task_runs_it(make_provider: MakeProvider, fake: fakes.Upstream) -> None:
    """What beat starts every five seconds."""
    provider = make_provider(base_url=fake.url, api_key=fakes.KEY)
    tasks.check_due()
    provider.refresh_from_db()
    assert provider.last_health_check is not None
