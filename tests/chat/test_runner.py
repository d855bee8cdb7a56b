"""Turns are executed to their end, whoever dies, leaves, or is away meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from chat import event_log, fragments, notifications, turn_leases, turns
from chat import runner as runner_module
from chat.endings import CONTINUE
from chat.models import LEASE, Message, Status
from chat.runner import Runner
from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import (
    AttemptRecord,
    AttemptStarted,
    Completed,
    Method,
    ReasoningDelta,
    Usage,
)
from providers.infra import database, heartbeat
from providers.infra.redis_client import Redis, blocking_client
from providers.models import LanguageModel
from tests.chat.conftest import DONE, ROUTE, Script
from tests.polling import until
from tests.programs import PYTHON

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Message]
ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def running(*steps: Any) -> AsyncGenerator[Script]:
    """A runner whose model follows the steps."""
    script = Script(list(steps))
    runner = Runner(script)
    task = asyncio.create_task(runner.run())
    try:
        yield script
    finally:
        runner.close()
        await task


async def until_status(turn: Message, *statuses: Status) -> None:
    """The row has one of these; the turn is read again."""

    async def has_status() -> bool:
        await database.run(turn.refresh_from_db)
        return turn.status in statuses

    await until(has_status)


async def until_log(turn: Message, text: str) -> None:
    """The log holds this text."""
    async with blocking_client() as client:

        async def holds_text() -> bool:
            return (await event_log.read_answer(client, turn.pk))[0] == text

        await until(holds_text)


async def test_a_runner_says_that_it_is_at_work(settings: Settings) -> None:
    """`/readyz` reports where no runner is; several runners share one word."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("heartbeat:runner")
        async with running():
            await until(lambda: client.exists("heartbeat:runner"))
            assert heartbeat.ProcessRole.RUNNER not in await heartbeat.missing_roles()


async def until_closed(script: Script, times: int) -> None:
    """So many calls have ended, whichever way."""
    await until(lambda: script.closed >= times)


async def until_ended(client: Redis, turn: Message) -> None:
    """The log lives on for its hour: the end is in it."""

    async def has_end() -> bool:
        return 0 < await client.ttl(event_log.key(turn.pk)) <= event_log.ENDED_LOG_SECONDS

    await until(has_end)


def failing_twice(real: Callable[..., Any]) -> Callable[..., Any]:
    """Postgres is away for the first two calls."""
    failures = [OperationalError("away")] * 2

    def call(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args)

    return call


def end_lease(turn: Message) -> None:
    held = Message.objects.filter(pk=turn.pk, status=Status.RUNNING)
    held.update(lease_until=timezone.now())


async def test_a_turn_is_answered_and_its_figures_kept(make_turn: Make) -> None:
    """Claimed, asked, logged, stored."""
    turn = await database.run(make_turn)
    async with running(ROUTE, ReasoningDelta(text="Hm."), "Hel", "lo.", DONE) as script:
        await until_status(turn, Status.DONE)
    assert (turn.text, turn.reasoning, turn.html) == ("Hello.", "Hm.", "<p>Hello.</p>\n")
    assert (turn.provider_name, turn.method, turn.ttft_ms) == ("Acme", "direct", 120)
    assert (turn.input_tokens, turn.output_tokens) == (3, 5)
    assert turn.duration_ms is not None
    assert script.closed == 1
    async with blocking_client() as client:
        await until(lambda: client.xlen(event_log.key(turn.pk)))


async def test_no_answer_over_any_route_is_a_failure_with_its_attempts(
    make_turn: Make, failed_attempt: AttemptRecord
) -> None:
    """The error card has what it needs."""
    turn = await database.run(make_turn)
    error = CallError(ErrorKind.NETWORK, "Network error.")
    async with running(PlanFailed(error, (failed_attempt,))):
        await until_status(turn, Status.FAILED)
    assert turn.error is not None
    assert turn.error["message"] == "Network error."
    assert len(turn.error["attempts"]) == 1


async def test_a_break_after_content_is_interrupted(make_turn: Make) -> None:
    """The text stays, the reason is shown."""
    turn = await database.run(make_turn)
    broken = Completed(
        attempts=(),
        usage=Usage(),
        cost=None,
        finish_reason="",
        error=CallError(ErrorKind.PROVIDER, "It broke off."),
    )
    async with running(ROUTE, "Half an", broken):
        await until_status(turn, Status.INTERRUPTED)
    assert turn.text == "Half an"


async def test_a_removed_model_is_reported(make_turn: Make, model: LanguageModel) -> None:
    """No call can be made."""
    turn = await database.run(make_turn)
    await database.run(model.delete)
    async with running():
        await until_status(turn, Status.FAILED)
    assert turn.error is not None
    assert "removed" in turn.error["message"]


async def test_stop_ends_the_call_at_once(make_turn: Make) -> None:
    """By the notice; the text that came is kept."""
    turn = await database.run(make_turn)
    async with running(ROUTE, "Never end", asyncio.Event().wait) as script:
        await until_log(turn, "Never end")
        await database.run(turns.stop, turn)
        await until_status(turn, Status.STOPPED)
        assert script.closed == 1
    assert turn.text == "Never end"


async def test_stop_works_without_its_notice(
    make_turn: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag in the row is seen when the lease is renewed."""
    monkeypatch.setattr(notifications, "request_stop", lambda turn_id: None)
    turn = await database.run(make_turn)
    async with running(ROUTE, "Never end", asyncio.Event().wait):
        await until_log(turn, "Never end")
        await database.run(turns.stop, turn)
        await until_status(turn, Status.STOPPED)


async def test_two_runners_share_turns_and_answer_each_once(make_turn: Make) -> None:
    """However they race for them."""
    made = [await database.run(make_turn) for _ in range(20)]
    async with running(ROUTE, "Hi.", DONE) as one, running(ROUTE, "Hi.", DONE) as other:
        for turn in made:
            await until_status(turn, Status.DONE)
    assert len(one.calls) + len(other.calls) == 20
    assert all(turn.runs == 1 for turn in made)


async def claimed_by(runner: Runner) -> None:
    """The one turn there is, begun by a runner whose loops do not run."""
    claimed = await database.run(turn_leases.claim, runner.name, 1)
    await runner._begin(claimed[0])


async def test_growing_text_is_saved_every_two_seconds(make_turn: Make) -> None:
    """Not at every piece, and not only at the end."""
    turn, clock, go = await database.run(make_turn), [100.0], asyncio.Event()
    runner = Runner(
        Script([ROUTE, "one ", go.wait, "two", asyncio.Event().wait]), now=lambda: clock[0]
    )
    await claimed_by(runner)

    async def until_written(text: str) -> None:
        async def is_written() -> bool:
            await runner._write_once()
            return (await event_log.read_answer(runner._redis, turn.pk))[0] == text

        await until(is_written)

    async def saved() -> str:
        await runner._renew_once()
        await database.run(turn.refresh_from_db)
        return turn.text

    await until_written("one ")
    assert await saved() == "one "
    go.set()
    await until_written("one two")
    clock[0] += runner_module.SAVE_SECONDS / 2
    assert await saved() == "one "
    clock[0] += runner_module.SAVE_SECONDS / 2
    assert await saved() == "one two"
    runner._turns[turn.pk].cancel()


def on_this_database() -> dict[str, str]:
    """The environment of a process that is to work on this test's database."""
    at = connection.settings_dict
    user = f"{at['USER']}:{at['PASSWORD']}"
    place = urlencode({"host": at["HOST"], "port": at["PORT"] or 5432})
    return os.environ | {"DATABASE_URL": f"postgresql://{user}@/{at['NAME']}?{place}"}


def spawn(*said: str) -> subprocess.Popen[bytes]:
    """A runner in a process of its own."""
    command = [sys.executable, "-m", "tests.chat.hanging", *said]
    return subprocess.Popen(command, env=on_this_database(), cwd=ROOT)


async def test_a_killed_runners_answer_is_kept_and_marked(make_turn: Make) -> None:
    """Taken over after kill -9; the log had more than the row."""
    turn = await database.run(make_turn)
    process = await asyncio.to_thread(spawn, "Half an ans")
    try:
        await until_log(turn, "Half an ans")
    finally:
        process.kill()
        process.wait()
    async with running(ROUTE, "must not be asked", DONE) as script:
        await until_status(turn, Status.INTERRUPTED)
    assert turn.text == "Half an ans"
    assert script.calls == []


async def test_a_killed_runners_turn_is_asked_again_if_nothing_was_seen(make_turn: Make) -> None:
    """The reader never knows."""
    turn = await database.run(make_turn)
    process = await asyncio.to_thread(spawn)
    try:
        await until_status(turn, Status.RUNNING)
    finally:
        process.kill()
        process.wait()
    async with running(ROUTE, "Whole answer.", DONE):
        await until_status(turn, Status.DONE)
    assert (turn.text, turn.runs) == ("Whole answer.", 2)


async def test_a_turn_that_outlived_three_runners_is_not_asked_again(make_turn: Make) -> None:
    """It may be what kills them."""
    turn = await database.run(lambda: make_turn(status=Status.RUNNING, runs=turn_leases.MAX_RUNS))
    async with running(ROUTE, "never", DONE) as script:
        await until_status(turn, Status.FAILED)
    assert script.calls == []


async def test_a_runner_that_is_reported_to_end_leaves_its_turns_to_others(
    make_turn: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its grace the text is saved and the lease is over at once."""
    monkeypatch.setattr(runner_module, "GRACE_SECONDS", 0.2)
    turn = await database.run(make_turn)
    async with running(ROUTE, "Half", asyncio.Event().wait) as script:
        await until_log(turn, "Half")
    await database.run(turn.refresh_from_db)
    assert (turn.status, turn.text, script.closed) == (Status.RUNNING, "Half", 1)
    assert turn.lease_until is not None
    assert turn.lease_until <= timezone.now()


async def test_answers_that_end_within_the_grace_are_finished(make_turn: Make) -> None:
    """A restart interrupts only what takes longer."""
    turn, go = await database.run(make_turn), asyncio.Event()
    runner = Runner(Script([ROUTE, "Half", go.wait, " and half.", DONE]))
    task = asyncio.create_task(runner.run())
    await until_log(turn, "Half")
    runner.close()
    go.set()
    await task
    await database.run(turn.refresh_from_db)
    assert (turn.status, turn.text) == (Status.DONE, "Half and half.")


async def test_a_runner_that_lost_its_lease_stops_writing(make_turn: Make) -> None:
    """Another one has the turn: the call is closed, log and row are left alone."""
    turn = await database.run(make_turn)

    async def robbed() -> None:
        held = Message.objects.filter(pk=turn.pk)
        await database.run(lambda: held.update(runner="b", lease_until=timezone.now() + LEASE))
        await asyncio.Event().wait()

    async with running(ROUTE, "Mine", robbed) as script:
        await until_closed(script, 1)
    await database.run(turn.refresh_from_db)
    assert (turn.status, turn.runner) == (Status.RUNNING, "b")


async def test_without_a_lease_nothing_is_logged(
    make_turn: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was suspended must look at its leases before it writes again."""
    turn, clock, checks = await database.run(make_turn), [100.0], [0]
    runner = Runner(Script([ROUTE, "late", asyncio.Event().wait]), now=lambda: clock[0])
    check = runner._has_leases

    def has_leases() -> bool:
        checks[0] += 1
        return check()

    monkeypatch.setattr(runner, "_has_leases", has_leases)
    clock[0] += LEASE.total_seconds()
    await claimed_by(runner)
    writing = asyncio.create_task(runner._write())
    await until(lambda: checks[0] > 2)
    async with blocking_client() as client:
        assert await event_log.read_answer(client, turn.pk) == ("", "")
        await runner._renew_once()
        await until_log(turn, "late")
    writing.cancel()
    runner._turns[turn.pk].cancel()


async def test_a_lost_log_is_begun_anew(make_turn: Make, clean_redis: "redis.Redis") -> None:
    """Redis forgot everything in mid-answer: log and row have the whole text again."""
    turn = await database.run(make_turn)

    async def forget() -> None:
        await until_log(turn, "One. ")
        clean_redis.flushdb()

    async with running(ROUTE, "One. ", forget, "Two.", partial(until_log, turn, "One. Two."), DONE):
        await until_status(turn, Status.DONE)
    assert turn.text == "One. Two."


async def test_redis_away_costs_no_answer(
    make_turn: Make, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither at the start nor for the whole of an answer: Postgres has it all."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    turn = await database.run(make_turn)

    async def until_missed() -> None:
        await until(lambda: "redis_away" in caplog.text)

    async with running(ROUTE, "Kept.", until_missed, " All.", DONE):
        await until_status(turn, Status.DONE)
    assert turn.text == "Kept. All."


async def test_a_crash_of_ours_ends_as_a_failure_after_three_runs(make_turn: Make) -> None:
    """An error nobody foresaw: the lease ends, and the turn is tried again, but not for ever."""
    turn = await database.run(make_turn)
    async with running(ValueError("a bug")) as script:
        for run in range(turn_leases.MAX_RUNS):
            await until_closed(script, run + 1)
            await database.run(end_lease, turn)
        await until_status(turn, Status.FAILED)
    assert script.closed == turn_leases.MAX_RUNS


async def test_postgres_away_at_the_end_loses_nothing(
    make_turn: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is stored when it is back."""
    turn = await database.run(make_turn)
    for module, name in ((turn_leases, "finish"), (fragments, "render_finished")):
        monkeypatch.setattr(module, name, failing_twice(getattr(module, name)))
    async with running(ROUTE, "Kept.", DONE), blocking_client() as client:
        await until_status(turn, Status.DONE)
        await until_ended(client, turn)
    assert turn.text == "Kept."


async def test_postgres_away_at_the_beginning_is_waited_for(make_turn: Make) -> None:
    """The router cannot read its routes: nothing was visible, so it is asked again."""
    turn = await database.run(make_turn)
    problems: list[Exception] = [OperationalError("away")]

    async def fails_once() -> None:
        if problems:
            raise problems.pop()

    async with running(fails_once, ROUTE, "Kept.", DONE) as script:
        await until_status(turn, Status.DONE)
    assert (turn.text, len(script.calls)) == ("Kept.", 2)


def test_the_process_ends_on_sigterm() -> None:
    """Cleanly, and soon."""
    command = [PYTHON, "manage.py", "runner"]
    with subprocess.Popen(command, cwd=ROOT, env=on_this_database(), stderr=subprocess.PIPE) as it:
        assert it.stderr is not None
        line = it.stderr.readline()
        while b"runner_started" not in line:
            assert line, "the runner ended by itself"
            line = it.stderr.readline()
        it.send_signal(signal.SIGTERM)
        assert it.wait(30) == 0


async def test_a_cut_answer_goes_on_where_it_was_cut(make_turn: Make) -> None:
    """One message in the end, its figures those of both runs; the model sees what it wrote."""
    turn = await database.run(
        partial(
            make_turn, status=Status.DONE, text="Half an ans", finish_reason="length",
            input_tokens=3, output_tokens=2, cost="0.5", duration_ms=1000,
        )
    )  # fmt: skip
    await database.run(turns.resume, turn, 11)
    async with running(ROUTE, "wer.", DONE) as script:
        await until_status(turn, Status.DONE)
    asked = [(message.role, message.content) for message in script.calls[0][1].messages]
    assert asked == [("user", "Hello?"), ("assistant", "Half an ans"), ("user", CONTINUE)]
    assert (turn.text, turn.html) == ("Half an answer.", "<p>Half an answer.</p>\n")
    assert (turn.input_tokens, turn.output_tokens, str(turn.cost)) == (6, 7, "0.50000000")
    assert (turn.duration_ms or 0) >= 1000
    assert turn.finish_reason == "stop"


async def test_what_cannot_go_on_keeps_what_there_was(
    make_turn: Make, failed_attempt: AttemptRecord
) -> None:
    """No route answers: interrupted, not failed; and it can be tried once more."""
    turn = await database.run(
        partial(make_turn, status=Status.DONE, text="Half", finish_reason="length")
    )
    await database.run(turns.resume, turn, 4)
    failed = PlanFailed(CallError(ErrorKind.NETWORK, "Connection refused."), (failed_attempt,))
    async with running(failed):
        await until_status(turn, Status.INTERRUPTED)
    assert (turn.text, turn.can_continue) == ("Half", True)


async def test_a_continued_turn_survives_its_runner(make_turn: Make) -> None:
    """Nothing new was visible: it goes on; else it is kept as interrupted, the text whole."""
    turn = await database.run(
        partial(make_turn, status=Status.DONE, text="Half", finish_reason="length")
    )
    await database.run(turns.resume, turn, 4)
    gone = {"status": Status.RUNNING, "runner": "gone", "runs": 1}
    ended = timezone.now() - timedelta(seconds=1)
    row = Message.objects.filter(pk=turn.pk)
    await database.run(partial(row.update, **gone, lease_until=ended))
    async with running(ROUTE, " way.", DONE):
        await until_status(turn, Status.DONE)
    assert turn.text == "Half way."
    await database.run(partial(row.update, **gone, lease_until=ended, text="Half way on"))
    async with running(ROUTE, "never", DONE) as script:
        await until_status(turn, Status.INTERRUPTED)
    assert (turn.text, script.calls) == ("Half way on", [])


async def test_what_is_waited_for_is_shown_and_kept_until_the_first_token(make_turn: Make) -> None:
    """Live in the log, and in the row for readers without scripts; no longer than that."""
    turn = await database.run(make_turn)
    started, go = AttemptStarted(
        provider_name="Acme",
        model="tiny",
        method=Method.DIRECT,
        started_at=timezone.now(),
        first_token=10.0,
        next_route="gateway",
    ), asyncio.Event()  # fmt: skip
    async with running(started, go.wait, ROUTE, "Hi.", DONE), blocking_client() as client:

        async def is_waiting() -> bool:
            await database.run(turn.refresh_from_db)
            return turn.waiting is not None

        await until(is_waiting)
        assert (turn.waits and turn.waits.route) == "tiny on Acme, direct"
        log: Any = await client.xrange(event_log.key(turn.pk))
        shown = "".join(value for _, fields in log for value in fields.values())
        assert f'id="waiting-{turn.pk}"' in shown
        assert "Without an answer in 10 s gateway is tried." in shown
        go.set()
        await until_status(turn, Status.DONE)
    assert turn.waiting is None
