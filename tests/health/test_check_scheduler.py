"""The observer checks what is due, once, and nobody waits for a neighbour that hangs."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from health import check_scheduler, tasks
from providers.clients import http
from providers.infra import database, heartbeat
from providers.models import Provider
from providers.probes import probe_plan
from tests import fakes

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


async def checked() -> int:
    try:
        return await check_scheduler.check_due()
    finally:
        await http.close()


async def test_checks_the_due_providers(make_provider: MakeProvider, fake: fakes.Upstream) -> None:
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


async def test_skips_providers_that_are_not_due(make_provider: MakeProvider) -> None:
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
        assert (
            sum(await asyncio.gather(check_scheduler.check_due(), check_scheduler.check_due())) == 5
        )
    finally:
        await http.close()


def test_four_workers_make_one_probe(make_provider: MakeProvider, fake: fakes.Upstream) -> None:
    """Each in a thread with a loop and connections of its own, all started at once."""
    for number in range(30):
        policy = {"routing_method": "direct", "fallback_enabled": False}
        url = f"{fake.origin}/p{number}/v1"
        make_provider(f"P{number}", base_url=url, api_key=fakes.KEY, **policy)
    together = threading.Barrier(4)

    def worker(_: int) -> int:
        together.wait()
        return asyncio.run(checked())

    with ThreadPoolExecutor(4) as workers:
        shares = list(workers.map(worker, range(4)))
    assert sum(shares) == 30
    asked = Counter(request.path for request in fake.requests)
    assert asked == {f"/p{number}/v1/models": 1 for number in range(30)}


async def test_it_takes_the_same_queries_however_many(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Claims, readings and results are for all of them at once."""
    counts = []
    for many in (2, 12):
        for number in range(many):
            url = f"{fake.origin}/p{number}/v1"
            await sync_to_async(make_provider)(f"P{many}-{number}", base_url=url, api_key=fakes.KEY)
        due = await database.run(Provider.objects.all().claim_due, timezone.now())
        assert len(due) == many
        counts.append(await database.run(queries_of_reading, due))
    assert counts[0] == counts[1]


def queries_of_reading(due: list[int]) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert len(probe_plan.plan_probes(due)) == len(due)
    return len(captured)


def test_checks_are_spread(make_provider: MakeProvider) -> None:
    """The next one comes after the interval, a tenth more or less; never all at once."""
    providers = [make_provider(f"P{number}", health_check_interval=100) for number in range(40)]
    now = timezone.now()
    assert len(Provider.objects.all().claim_due(now)) == len(providers)
    waits = [(each.next_check_at - now).total_seconds() for each in Provider.objects.all()]
    assert min(waits) >= 90
    assert max(waits) <= 110
    assert max(waits) - min(waits) > 5


def test_the_longest_idle_is_first(make_provider: MakeProvider) -> None:
    """Where there is more to do than can be done."""
    now = timezone.now()
    for minutes in (2, 5, 1):
        make_provider(f"P{minutes}", next_check_at=now - timedelta(minutes=minutes))
    due = Provider.objects.all().claim_due(now, 2)
    assert [Provider.objects.get(pk=pk).name for pk in due] == ["P5", "P2"]


async def test_what_becomes_due_meanwhile_is_checked_too(
    make_provider: MakeProvider, fake: fakes.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs does not keep the round from it."""
    monkeypatch.setattr(check_scheduler, "CHECK_TIMEOUT_SECONDS", 1.5)
    make = sync_to_async(make_provider)
    with fakes.Upstream() as silent:
        silent.script(models="stall-headers")
        await make("Silent", base_url=silent.url, api_key=fakes.KEY)
        later = timezone.now() + timedelta(seconds=0.4)
        await make("Later", base_url=fake.url, api_key=fakes.KEY, next_check_at=later)
        assert await checked() == 2


async def test_reports_the_end_of_claiming(make_provider: MakeProvider) -> None:
    """From then on the next round may begin, whatever still hangs in this one."""
    with fakes.Upstream() as silent:
        silent.script(models="stall-headers")
        await sync_to_async(make_provider)(base_url=silent.url, api_key=fakes.KEY)
        claimed = asyncio.Event()
        checking = asyncio.create_task(check_scheduler.check_due(0.2, claimed.set))
        async with asyncio.timeout(30):
            await claimed.wait()
        assert not checking.done()
        checking.cancel()
        await asyncio.wait([checking])
        await http.close()


async def test_one_that_hangs_or_refuses_does_not_stop_the_others(
    make_provider: MakeProvider, fake: fakes.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check has an end, and its failure is its own."""
    monkeypatch.setattr(check_scheduler, "CHECK_TIMEOUT_SECONDS", 2.0)
    make = sync_to_async(make_provider)
    good = await make("Good", base_url=fake.url, api_key=fakes.KEY)
    refused = await make("Refused", base_url="http://127.0.0.1:1/v1")
    with fakes.Upstream() as silent:
        silent.script(models="stall-headers")
        await make("Silent", base_url=silent.url, api_key=fakes.KEY)
        async with asyncio.timeout(60):
            assert await checked() == 3
    await good.arefresh_from_db()
    await refused.arefresh_from_db()
    assert (await good.routes.aget(method="direct")).last_outcome == "ok"
    assert (await refused.routes.aget(method="direct")).last_outcome == "network"
    assert refused.consecutive_failures > 0


def test_the_task_runs_it(make_provider: MakeProvider, fake: fakes.Upstream) -> None:
    """What beat starts every second. It says that a worker is there."""
    provider = make_provider(base_url=fake.url, api_key=fakes.KEY)
    tasks.tick()
    provider.refresh_from_db()
    assert provider.last_health_check is not None
    assert heartbeat.ProcessRole.WORKER not in asyncio.run(heartbeat.missing_roles())


def test_a_tick_during_a_round_does_nothing(make_provider: MakeProvider) -> None:
    """A round takes what becomes due while it lasts; a second one would only hold a thread."""
    provider = make_provider()
    with tasks._round:
        tasks.tick()
    provider.refresh_from_db()
    assert provider.last_health_check is None
