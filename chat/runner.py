"""Execute chat turns: claim them, stream from the router, write log and rows, finish them.

Three loops serve all turns of the process at once, so that a token costs no query and no command
of its own: one claims, one writes the logs every 40 ms, one renews the leases every second and
saves what has grown. Without a lease nothing is written.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial

import django.db
import uvloop
from django.conf import settings
from redis.exceptions import RedisError

from chat import event_log, fragments, notifications, turn_leases
from chat.answer_buffer import AnswerBuffer
from chat.events import Event, EventKind
from chat.models import LEASE
from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import ChatRequest, StreamEvent
from providers.infra import database, heartbeat
from providers.infra.redis_client import blocking_client
from providers.router import route_table, router
from providers.router.call import Call

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.04  # seconds; what comes within it is one log entry
SAVE_SECONDS = 2.0  # seconds between two saves of one growing answer
RENEW_SECONDS = 1.0
LOOK_SECONDS = 1.0  # for turns whose wake-up was lost, and for leases that ended
GRACE_SECONDS = 3.0  # seconds for answers to end by themselves when the process has to
CLAIM_BATCH = 16  # so that the first of many does not wait for the claims of the last
POSTGRES_AWAY = (django.db.OperationalError, django.db.InterfaceError)
AWAY = (*POSTGRES_AWAY, RedisError, OSError)  # cannot be reached just now

type Stream = Callable[[Call, ChatRequest], AsyncGenerator[StreamEvent]]

STREAM = partial(router.stream, announces=True)


class Turn:
    """One claimed turn under way."""

    def __init__(self, claimed: turn_leases.Work) -> None:
        self.id = claimed.turn_id
        self.work = claimed
        self.answer = AnswerBuffer(partial(fragments.render_route, self.id), name=str(self.id))
        self.task: asyncio.Task[None] | None = None
        self.answering = True  # until the end is being stored
        self.stopping = False
        self.logged = False  # whether the log has all that was taken from the answer
        self.end = ""  # the page's parts with the finished message

    def cancel(self) -> None:
        if self.answering and self.task:
            self.task.cancel()


class Runner:
    """All turns of this process, and the loops that serve them. `now`: the loop's clock."""

    def __init__(self, stream: Stream = STREAM, now: Callable[[], float] | None = None) -> None:
        self._now = now or asyncio.get_running_loop().time
        self.name = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stream = stream
        self._turns: dict[int, Turn] = {}
        self._ended: list[Turn] = []
        self._redis = blocking_client()
        self._closing = asyncio.Event()
        # A lease must not end because its renewal waits behind two hundred other statements.
        self._keeper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leases")
        self._renewed_at = self._now()
        self._away: set[str] = set()

    def close(self) -> None:
        """Claims no more; what runs has a few seconds, then others may take it."""
        self._closing.set()

    async def run(self) -> None:
        log.info("runner_started name=%s", self.name)
        async with asyncio.TaskGroup() as group:
            serving = (self._follow_stop_requests, self._write, self._renew, self._send_heartbeats)
            loops = [group.create_task(each()) for each in serving]
            claiming = group.create_task(self._claim())
            await self._closing.wait()
            claiming.cancel()
            await self._release_turns()
            for loop in loops:
                loop.cancel()
        await self._redis.aclose()
        await route_table.close()
        log.info("runner_ended name=%s", self.name)

    # Claiming

    async def _claim(self) -> None:
        while True:
            free = settings.RUNNER_CONCURRENCY - len(self._turns)
            claimed: list[turn_leases.Work] = []
            if free > 0:
                claimed = await self._try("postgres", self._claim_rows(free)) or []
                await asyncio.gather(*[self._begin(each) for each in claimed])
            if len(claimed) < CLAIM_BATCH:
                await self._wait()

    async def _claim_rows(self, free: int) -> list[turn_leases.Work]:
        limit = min(free, CLAIM_BATCH)
        return await database.run(turn_leases.claim, self.name, limit, list(self._turns))

    async def _wait(self) -> None:
        if len(self._turns) >= settings.RUNNER_CONCURRENCY:
            await asyncio.sleep(0.1)
            return
        try:
            await notifications.wait_for_wake(self._redis, LOOK_SECONDS)
        except (RedisError, OSError):
            await asyncio.sleep(LOOK_SECONDS)

    async def _begin(self, claimed: turn_leases.Work) -> None:
        turn = Turn(claimed)
        if claimed.runs > 1 or claimed.continued:
            await self._recover(turn)
        self._turns[turn.id] = turn
        turn.task = asyncio.create_task(self._execute(turn))
        turn.task.add_done_callback(partial(self._forget, turn))

    async def _recover(self, turn: Turn) -> None:
        """Take over the earlier answer from the log, or from the row where that has more."""
        saved = (turn.work.text, turn.work.reasoning)
        reading = event_log.read_answer(self._redis, turn.id)
        logged = await self._try("redis", reading) or ("", "")
        text, reasoning = max(saved, logged, key=lambda answer: len("".join(answer)))
        turn.answer.recover(text, reasoning, continued=turn.work.continued)

    # Executing

    async def _execute(self, turn: Turn) -> None:
        lost = turn.work.runs > 1 and (turn.answer.visible or turn.work.runs > turn_leases.MAX_RUNS)
        began = self._now()
        if not lost:
            try:
                await self._listen(turn)
            except asyncio.CancelledError:
                if not turn.stopping or not (task := asyncio.current_task()):
                    raise
                task.uncancel()
        turn.answering = False
        columns = turn.answer.last_columns(stopped=turn.stopping, lost=lost)
        columns["duration_ms"] = round((self._now() - began) * 1000)
        await self._finish(turn, turn.work.columns(columns))

    async def _listen(self, turn: Turn) -> None:
        call, request = turn.work.call, turn.work.request
        if call is None:
            gone = "The model this was meant for was removed. Pick another one."
            turn.answer.fail(CallError(ErrorKind.REQUEST, gone), ())
            return
        try:
            async with aclosing(self._stream(call, request)) as events:
                async for event in events:
                    turn.answer.take(event)
        except PlanFailed as failed:
            turn.answer.fail(failed, failed.attempts)
        except POSTGRES_AWAY as exc:
            if turn.answer.visible:
                raise
            self._log_away("postgres", exc)
            await asyncio.sleep(1)
            await self._listen(turn)

    async def _finish(self, turn: Turn, columns: turn_leases.Columns) -> None:
        """Stores the end, however long Postgres is away: other runners cannot reach it either."""
        message = await self._until(
            partial(database.run, turn_leases.finish, self.name, turn.id, columns)
        )
        if message is None:
            log.warning("turn_lost turn=%s", turn.id)
            return
        turn.end = await self._until(partial(database.run, fragments.render_finished, message))
        self._ended.append(turn)

    async def _until[T](self, doing: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                result = await doing()
            except POSTGRES_AWAY as exc:
                self._log_away("postgres", exc)
                await asyncio.sleep(1)
            else:
                self._log_back("postgres")
                return result

    def _forget(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """After a crash the lease ends and another runner takes over, at most MAX_RUNS times."""
        self._turns.pop(turn.id, None)
        if not task.cancelled() and task.exception():
            log.error("turn_crashed turn=%s", turn.id, exc_info=task.exception())

    # Writing the logs

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if self._has_leases():
                await self._write_once()

    async def _write_once(self) -> None:
        turns = [turn for turn in self._turns.values() if turn.answering]
        appends = [
            (turn.id, event) for turn in turns for event in turn.answer.events(full=not turn.logged)
        ]
        ended, self._ended = self._ended, []
        appends += [(turn.id, Event(kind=EventKind.END, html=turn.end)) for turn in ended]
        if not appends:
            return
        try:
            gone = await event_log.append(self._redis, appends)
        except (RedisError, OSError) as exc:
            # What did arrive is not known: all logs begin again with a reset. Ends are in Postgres.
            self._log_away("redis", exc)
            self._mark(turns, logged=False)
            await asyncio.sleep(0.5)
        else:
            self._log_back("redis")
            self._mark(turns, logged=True)
            self._mark([turn for turn in turns if turn.id in gone], logged=False)

    @staticmethod
    def _mark(turns: Iterable[Turn], *, logged: bool) -> None:
        for turn in turns:
            turn.logged = logged

    # Leases and saves

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew_once()

    async def _renew_once(self) -> None:
        now, turns = self._now(), list(self._turns.values())
        if turns:
            due = [t for t in turns if t.answering and now - t.answer.saved_at >= SAVE_SECONDS]
            saves = {t.id: t.answer.columns() for t in due if t.answer.grown}
            ids = [turn.id for turn in turns]
            renewing = database.run_in(self._keeper, turn_leases.renew, self.name, ids, saves)
            renewal = await self._try("postgres", renewing)
            if renewal is None:
                return
            for turn in turns:
                if turn.id in saves:
                    turn.answer.saved_at = now
                if turn.id not in renewal.held:
                    turn.cancel()
                elif turn.id in renewal.stops:
                    self._stop(turn.id)
        self._renewed_at = now

    def _has_leases(self) -> bool:
        """False after this process was suspended or cut off for longer than a lease lives."""
        return self._now() - self._renewed_at < LEASE.total_seconds() - 1

    @staticmethod
    async def _send_heartbeats() -> None:
        while True:
            await heartbeat.send(heartbeat.ProcessRole.RUNNER)
            await asyncio.sleep(heartbeat.INTERVAL_SECONDS)

    # Stopping

    async def _follow_stop_requests(self) -> None:
        while True:
            try:
                async with aclosing(notifications.stop_requests()) as turn_ids:
                    async for turn_id in turn_ids:
                        self._stop(turn_id)
            except (RedisError, OSError) as exc:
                self._log_away("redis", exc)
                await asyncio.sleep(1)

    def _stop(self, turn_id: int) -> None:
        turn = self._turns.get(turn_id)
        if turn and not turn.stopping:
            turn.stopping = True
            turn.cancel()

    async def _release_turns(self) -> None:
        """The process ends: save what is not finished and release it to other runners."""
        await self._wait_for(GRACE_SECONDS)
        left = [turn for turn in self._turns.values() if turn.answering]
        await self._write_once()
        for turn in left:
            turn.cancel()
        await self._wait_for(1)
        saves = {turn.id: turn.answer.columns() for turn in left}
        await self._try("postgres", database.run(turn_leases.release, self.name, saves))

    async def _wait_for(self, timeout: float) -> None:
        if tasks := [turn.task for turn in self._turns.values() if turn.task]:
            await asyncio.wait(tasks, timeout=timeout)

    # Log once when Postgres or Redis is away, and once when it is back

    async def _try[T](self, what: str, doing: Awaitable[T]) -> T | None:
        """The result, or None while Postgres or Redis cannot be reached."""
        try:
            result = await doing
        except AWAY as exc:
            self._log_away(what, exc)
            return None
        self._log_back(what)
        return result

    def _log_away(self, what: str, exc: BaseException) -> None:
        if what not in self._away:
            self._away.add(what)
            log.warning("%s_away problem=%s", what, type(exc).__name__)

    def _log_back(self, what: str) -> None:
        if what in self._away:
            self._away.discard(what)
            log.info("%s_back", what)


async def _serve() -> None:
    runner = Runner()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, runner.close)
    await runner.run()


def main() -> None:
    uvloop.run(_serve())
