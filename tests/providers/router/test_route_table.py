"""What a process knows of its routes: at once in memory, a moment later in the rows of all."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import django.db
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from providers.domain.errors import CallError, ErrorKind
from providers.domain.tuning import RULES
from providers.domain.types import AttemptRecord
from providers.models import Attempt, Breaker, Provider, Purpose, Route
from providers.policy.breaker import State
from providers.policy.route_state import RouteState
from providers.router import attempt_writer, breaker_rows, trial_claims, write_queue
from providers.router.results import Result, build_outcome
from providers.router.route_table import RouteTable
from tests.polling import until

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def running() -> AsyncGenerator[RouteTable]:
    table = RouteTable()
    await table.ready()
    try:
        yield table
    finally:
        await table.close()


def result(route: RouteState, kind: ErrorKind | None = None, position: int = 1) -> Result:
    attempt = AttemptRecord(
        route_id=route.route_id,
        method=route.method,
        endpoint=route.endpoint,
        outcome=kind or "ok",
        reason="direct: preferred",
        started_at=timezone.now(),
        duration_ms=5,
        position=position,
        ttft_ms=None if kind else 3,
    )
    error = CallError(kind, "x") if kind else None
    return Result(
        provider_id=route.provider_id,
        model_id="m",
        attempt=attempt,
        purpose=Purpose.API,
        request_id=uuid.uuid4(),
        outcome=build_outcome(attempt, route, "m", Purpose.API, error),
    )


async def test_a_result_moves_the_state_at_once_and_the_row_a_moment_later(
    make_provider: MakeProvider,
) -> None:
    """The next call already knows."""
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        route = table.routes(provider.pk)[0]
        for _ in range(2):
            table.settle(result(route, ErrorKind.NETWORK))
        now = table.route(route.route_id)
        assert now is not None
        assert now.breaker.state == State.OPEN
        assert await Attempt.objects.acount() == 0
        await table.flush()
        row = await Route.objects.aget(pk=route.route_id)
        assert (row.state, row.epoch) == (State.OPEN, 1)
        assert await Attempt.objects.acount() == 2
        assert len(table.queue) == 0


async def test_failures_of_two_processes_add_up(make_provider: MakeProvider) -> None:
    """Each folds its own into the row as it is, not as it once was."""
    provider = await sync_to_async(make_provider)()
    async with running() as one, running() as other:
        route = one.routes(provider.pk)[0]
        one.settle(result(route, ErrorKind.NETWORK))
        other.settle(result(route, ErrorKind.NETWORK))
        await asyncio.gather(one.flush(), other.flush())
        row = await Route.objects.aget(pk=route.route_id)
        assert row.consecutive_failures == 2


async def test_a_breaker_that_one_process_opens_is_seen_by_the_others(
    make_provider: MakeProvider,
) -> None:
    """The first one announces the change."""
    provider = await sync_to_async(make_provider)()
    async with running() as one, running() as other:
        route = one.routes(provider.pk)[0]
        one.settle(result(route, ErrorKind.QUOTA))
        opened = lambda: not other.routes(provider.pk)[0].is_closed  # noqa: E731
        await until(opened)


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of results in each batch that is begun from now on."""
    begun: list[int] = []
    write = write_queue.WriteBehindQueue.write_batch

    async def write_batch(self: write_queue.WriteBehindQueue) -> int:
        begun.append(len(self))
        return await write(self)

    monkeypatch.setattr(write_queue.WriteBehindQueue, "write_batch", write_batch)
    return begun


async def test_where_much_comes_it_gathers_until_something_moves_a_breaker(
    make_provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writing has its price; what others decide by does not wait for it."""
    monkeypatch.setattr(write_queue, "MAX_GATHER_SECONDS", 60)
    monkeypatch.setattr(write_queue, "GATHER_SECONDS_PER_RESULT", 1)
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        table.settle(result(table.routes(provider.pk)[0]))  # proves the route
        await until(lambda: not table.queue)
        for _ in range(30):
            table.settle(result(table.routes(provider.pk)[0]))
        await until(lambda: not table.queue)
        monkeypatch.setattr(write_queue, "WRITE_DELAY_SECONDS", 0)
        begun = count_writes(monkeypatch)
        table.settle(result(table.routes(provider.pk)[0]))
        for _ in range(100):  # it would begin to write by then
            await asyncio.sleep(0)
        assert (begun, len(table.queue)) == ([], 1)
        table.settle(result(table.routes(provider.pk)[0], ErrorKind.QUOTA))
        await until(lambda: not table.queue)
    assert await Attempt.objects.acount() == 33


@pytest.mark.parametrize(
    "copy",
    [
        {"state": State.HALF_OPEN, "retry_at": "2126-01-01T00:00:00Z", "epoch": 4},
        {"state": State.OPEN, "retry_at": "2126-01-01T00:00:00Z", "epoch": 3},
        {"state": State.OPEN, "retry_at": "2026-01-01T00:00:00Z", "epoch": 3},
    ],
    ids=["leased", "in-a-cooldown", "of-an-earlier-epoch"],
)
async def test_one_of_fifty_goes_out_when_a_cooldown_ends_however_far_the_copies_are_behind(
    make_provider: MakeProvider, copy: dict[str, object]
) -> None:
    """The row is due; by its copies no process could know, and all would be refused."""
    provider = await sync_to_async(make_provider)()
    row = Route.objects.filter(provider=provider, method="direct")
    opened_at = "2026-01-01T00:00:00Z"
    await row.aupdate(opened_at=opened_at, **copy)
    async with running() as one, running() as other:
        tables_behind = [(table, table.routes(provider.pk, "m")[0]) for table in (one, other)]
        await row.aupdate(state=State.OPEN, retry_at=opened_at, epoch=5)
        claims = [table.claim(route, "m") for table, route in tables_behind for _ in range(25)]
        claimed = [route for route in await asyncio.gather(*claims) if route]
        assert len(claimed) == 1
        assert (claimed[0].breaker.state, claimed[0].breaker.epoch) == (State.HALF_OPEN, 6)


async def test_a_cooldown_that_lasts_is_looked_at_now_and_then(
    make_provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are refused meanwhile, the database is asked once in a tenth of a second."""
    monkeypatch.setattr(trial_claims, "ROW_CHECK_SECONDS", 60)
    provider = await sync_to_async(make_provider)()
    row = Route.objects.filter(provider=provider, method="direct")
    await row.aupdate(state=State.OPEN, retry_at="2126-01-01T00:00:00Z")
    async with running() as table:
        route = table.routes(provider.pk, "m")[0]
        assert await table.claim(route, "m") is None
        await row.aupdate(state=State.CLOSED)
        assert await table.claim(route, "m") is None


async def test_what_is_not_written_yet_counts_where_a_probe_is_claimed(
    make_provider: MakeProvider,
) -> None:
    """A limit that this process has just met is no row yet: nothing goes out for all that."""
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        route = table.routes(provider.pk, "m")[0]
        table.settle(result(route, ErrorKind.QUOTA))
        limited = table.routes(provider.pk, "m")[0]
        assert not limited.is_closed
        assert await table.claim(limited, "m") is None


async def test_a_model_and_its_key_are_claimed_together(make_provider: MakeProvider) -> None:
    """Whoever has one has the other; a lease on either refuses everybody."""
    provider = await sync_to_async(make_provider)()
    async with running() as one, running() as other:
        route = one.routes(provider.pk, "m")[0]
        for domain in ({"route_id": route.route_id}, {"key": route.key}):
            await Breaker.objects.acreate(
                model_id="m", state=State.OPEN, retry_at="2026-01-01T00:00:00Z", **domain
            )
        claims = [table.claim(route, "m") for table in (one, other) for _ in range(5)]
        claimed = [each for each in await asyncio.gather(*claims) if each]
        assert len(claimed) == 1
        assert [each.breaker.state for each in claimed[0].others] == [State.HALF_OPEN] * 2


async def test_one_trial_among_all_callers_of_all_processes(make_provider: MakeProvider) -> None:
    """Fifty ask in the same instant."""
    provider = await sync_to_async(make_provider)()
    await Route.objects.filter(provider=provider, method="direct").aupdate(
        state=State.OPEN, retry_at="2026-01-01T00:00:00Z", opened_at="2026-01-01T00:00:00Z"
    )
    async with running() as one, running() as other:
        route = one.routes(provider.pk)[0]
        claims = [table.claim(route) for table in (one, other) for _ in range(25)]
        claimed = [trial for trial in await asyncio.gather(*claims) if trial]
        assert len(claimed) == 1
        assert claimed[0].breaker.state == State.HALF_OPEN


async def test_who_leaves_while_a_trial_is_claimed_for_him_does_not_keep_it(
    make_provider: MakeProvider,
) -> None:
    """The next one need not wait until the lease has ended."""
    provider = await sync_to_async(make_provider)()
    await Route.objects.filter(provider=provider, method="direct").aupdate(
        state=State.OPEN, retry_at="2026-01-01T00:00:00Z", opened_at="2026-01-01T00:00:00Z"
    )
    async with running() as table:
        route = next(r for r in table.routes(provider.pk) if r.method == "direct")
        leaving = asyncio.create_task(table.claim(route))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        async with running() as other:

            def is_free() -> bool:
                now = other.route(route.route_id)
                return bool(now and now.breaker.epoch and now.breaker.state != State.HALF_OPEN)

            await until(is_free)
            free = other.route(route.route_id)
            assert free is not None
            assert await other.claim(free)


async def test_without_a_database_results_wait_and_nothing_is_lost(
    make_provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a trial is each process's own decision."""
    provider = await sync_to_async(make_provider)()

    def away(*_: object, **__: object) -> None:
        raise django.db.OperationalError("away")

    async with running() as table:
        route = table.routes(provider.pk)[0]
        with monkeypatch.context() as patched:
            patched.setattr(attempt_writer, "write_results", away)
            patched.setattr(breaker_rows, "claim_trial", away)
            table.settle(result(route))
            with pytest.raises(django.db.OperationalError):
                await table.flush()
            assert len(table.queue) == 1
            assert await table.claim(route) is not None
        await table.flush()
        assert await Attempt.objects.acount() == 1


async def test_the_oldest_results_of_a_long_outage_are_dropped_and_counted(
    make_provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(write_queue, "MAX_PENDING_RESULTS", 3)
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        route = table.routes(provider.pk)[0]
        for position in range(1, 6):
            table.settle(result(route, position=position))
        assert (len(table.queue), table.queue.dropped) == (3, 2)
        await table.flush()
    kept = [position async for position in Attempt.objects.values_list("position", flat=True)]
    assert sorted(kept) == [3, 4, 5]


async def test_what_belongs_to_a_deleted_provider_is_dropped(make_provider: MakeProvider) -> None:
    """It takes nothing else of the batch with it."""
    gone, kept = await sync_to_async(make_provider)(), await sync_to_async(make_provider)("Kept")
    async with running() as table:
        results = [result(table.routes(each.pk)[0]) for each in (gone, kept)]
        await sync_to_async(gone.delete)()
        for each in results:
            table.settle(each)
        await table.flush()
        assert len(table.queue) == 0
    assert [a.provider_id async for a in Attempt.objects.all()] == [kept.pk]


async def test_an_edit_makes_results_of_the_old_key_count_for_nothing(
    make_provider: MakeProvider,
) -> None:
    """They began in an epoch that the edit ended."""
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        late = result(table.routes(provider.pk)[0], ErrorKind.AUTH)
        await sync_to_async(provider.forget_learned)()
        table.settle(late)
        await table.flush()
    row = await Route.objects.aget(pk=late.attempt.route_id)
    assert row.state == State.CLOSED


async def test_where_all_rest_one_request_a_second_passes(make_provider: MakeProvider) -> None:
    """The others learn when to retry."""
    provider = await sync_to_async(make_provider)()
    async with running() as table:
        assert table.last_resort_in(provider.pk) == 0
        table.take_last_resort(provider.pk)
        assert 0 < table.last_resort_in(provider.pk) <= RULES.last_resort_every


async def test_a_provider_added_a_moment_ago_has_its_routes(make_provider: MakeProvider) -> None:
    """Both copies are read apart, and the one of the routes may be the later one."""
    async with running() as table:
        added = await sync_to_async(make_provider)()
        await table._providers.read()
        candidate = await table.candidate(added.pk, "m")
        assert candidate is not None
        assert len(candidate.routes) == 2


async def test_a_provider_that_is_moments_old_is_known(make_provider: MakeProvider) -> None:
    """A runner may hear of the first chat before it hears of the provider."""
    async with running() as table:
        provider = await sync_to_async(make_provider)()
        candidate = await table.candidate(provider.pk, "m")
        assert candidate is not None
        assert candidate.routes
        assert await table.candidate(provider.pk + 1, "m") is None


async def test_a_changed_limit_holds_from_the_next_call_on(make_provider: MakeProvider) -> None:
    """Without a restart."""
    provider = await sync_to_async(make_provider)(concurrency=2)
    async with running() as table:
        before = await table.candidate(provider.pk, "m")
        assert before is not None
        target = before.target(before.routes[0])
        assert table.gate(before, target).limit == 2
        assert table.gate(replace(before, concurrency=5), target).limit == 5
