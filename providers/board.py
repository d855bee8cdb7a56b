"""What this process knows of every route right now, and the results it has not written down yet.

Calls read here and never wait for the database; a result moves the state in memory at once and the
rows in batches a moment later. While the database is away results wait in bounded memory; the
oldest are dropped and counted.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import django.db
from django.conf import settings
from django.utils import timezone

from providers import breaker, changes, database, metrics, presets, records, snapshot
from providers.errors import ErrorKind
from providers.limits import Gate, RetryBudget
from providers.records import Result
from providers.routes import Evidence, RouteState, Window, after, is_plain
from providers.snapshot import Candidate, Snapshot
from providers.types import Target

log = logging.getLogger(__name__)

SOON = 0.05  # seconds; what comes within it is written together
PACE = 1.0  # seconds at most that results gather while more and more of them come
EACH = 0.01  # seconds that each result of the last writing makes the next one wait for more
BATCH = 2000  # results in one transaction
MOST_MADE = 10_000  # candidates made ready, of as many models
MOST_KEPT = 20_000  # results that wait for a database that is away: about 20 MB


class Board:
    """One event loop's view. `dropped` counts results that were lost to a long outage."""

    def __init__(self) -> None:
        self._guard = asyncio.Lock()  # a write and a reading of the routes never overlap
        self._providers = changes.Mirror(snapshot.load, {"providers"})
        self._routes = changes.Mirror(
            snapshot.load_routes,
            {"providers", "routes"},
            taken=self._take,
            guard=self._guard,
        )
        self._states: dict[int, RouteState] = {}
        self._of_provider: dict[int, tuple[int, ...]] = {}
        self._pending: deque[Result | Evidence] = deque()
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._claiming: set[int] = set()
        self._last_resort: dict[int, float] = {}
        self._rules = settings.ROUTING_RULES
        self._windows: defaultdict[int, Window] = defaultdict(lambda: Window(self._rules))
        self._candidates: dict[tuple[int, str], tuple[Snapshot, Candidate]] = {}
        self._gates: dict[tuple[str, str], Gate] = {}
        self.budget = RetryBudget(self._rules)
        self.dropped = 0

    # Reading

    async def ready(self) -> Snapshot:
        """The providers and models as of now. Raises django.db.Error where they were never read."""
        known = await self._providers.get()
        await self._routes.get()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
            metrics.retry_budget(self.budget.left)
        return known

    async def ready_for(self, name: str) -> Snapshot:
        """The providers and models; read anew where no model has this name, at most each second:
        another process may have stored it a moment ago.

        Raises django.db.Error where they were never read.
        """
        known = await self.ready()
        return known if known.named(name) else await self._providers.reread()

    @property
    def stale(self) -> bool:
        """Whether the database could not be read when that was last tried."""
        return self._providers.stale or self._routes.stale

    @property
    def waiting(self) -> int:
        """Results that are not written yet."""
        return len(self._pending)

    async def candidate(self, provider_id: int, model_id: str) -> Candidate | None:
        """A provider with its routes as they are now; None where it is gone or switched off."""
        known = await self._knowing(provider_id)
        routes = self.routes(provider_id)
        made = self._candidates.get((provider_id, model_id))
        if made and made[0] is known and made[1].routes == routes:
            return made[1]
        found = known.providers.get(provider_id)
        if found is None:
            return None
        served = known.served(provider_id, model_id)
        prices = served.prices if served else snapshot.Prices()
        new = replace(found, model_id=model_id, prices=prices, routes=routes)
        if len(self._candidates) >= MOST_MADE:
            self._candidates.clear()
        self._candidates[provider_id, model_id] = (known, new)
        return new

    async def _knowing(self, provider_id: int) -> Snapshot:
        """The providers; what is read apart is read anew where this one is not yet in it."""
        known = await self.ready()
        with suppress(django.db.Error):
            if provider_id not in known.providers:
                await self._providers.read()
                known = await self.ready()
            if provider_id in known.providers and provider_id not in self._of_provider:
                await self._routes.read()
        return known

    def routes(self, provider_id: int) -> tuple[RouteState, ...]:
        found = (self._states.get(pk) for pk in self._of_provider.get(provider_id, ()))
        return tuple(state for state in found if state)

    def route(self, route_id: int) -> RouteState | None:
        return self._states.get(route_id)

    # What a call asks for before it goes out

    async def claim(self, route: RouteState) -> breaker.Breaker | None:
        """The breaker under which this route's one trial may run; None where somebody has it.

        The database decides between processes. Without it each process decides for itself.
        """
        if route.route_id in self._claiming or breaker.is_leased(route.breaker, timezone.now()):
            return None
        self._claiming.add(route.route_id)
        try:
            trial = await self._claimed(route)
        finally:
            self._claiming.discard(route.route_id)
        if trial is None:
            self._routes.look()
        elif current := self._states.get(route.route_id):
            self._states[route.route_id] = replace(current, breaker=trial)
        return trial

    async def _claimed(self, route: RouteState) -> breaker.Breaker | None:
        now = timezone.now()
        asking = asyncio.ensure_future(database.run(records.claim_trial, route, now))
        try:
            async with asyncio.timeout(self._rules.claim_patience):
                return await asyncio.shield(asking)
        except (django.db.Error, TimeoutError):
            return breaker.on_trial(route.breaker, now, self._rules)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._let_go, route.route_id))
            raise

    def _let_go(self, route_id: int, asking: asyncio.Future[breaker.Breaker | None]) -> None:
        """Whoever claimed has left before it was granted: the trial is free for the next one."""
        if asking.cancelled() or asking.exception():
            return
        if trial := asking.result():
            self.settle(records.let_go(route_id, trial.epoch))

    def may_pass(self, provider_id: int) -> bool:
        """Whether a request may go out although every route rests: one a second."""
        now = time.monotonic()
        last = self._last_resort.get(provider_id)
        if last is not None and now - last < self._rules.last_resort_every:
            return False
        self._last_resort[provider_id] = now
        return True

    def gate(self, candidate: Candidate, target: Target) -> Gate:
        """How many calls with this target's key may be under way at once."""
        upstream = target.upstream or target
        key = (upstream.base_url, upstream.api_key)
        chosen = candidate.concurrency or presets.get(candidate.connection.preset).concurrency
        most = chosen or self._rules.concurrency
        if key not in self._gates:
            self._gates[key] = Gate(most, self._rules)
        self._gates[key].allow(most)
        return self._gates[key]

    # What a call has shown

    def settle(self, result: Result | Evidence) -> None:
        """Takes a result: the route's state moves at once, the rows follow. Never waits."""
        seen = _evidence(result)
        if seen:
            counted = self._counted(seen)
            self._move(counted)
            if counted is not seen:
                result = (
                    counted if isinstance(result, Evidence) else replace(result, evidence=counted)
                )
        if len(self._pending) >= MOST_KEPT:
            self._pending.popleft()
            self.dropped += 1
            metrics.dropped(1)
        self._pending.append(result)
        self._arrived.set()

    def _counted(self, seen: Evidence) -> Evidence:
        """Marks the failure with which half of the last half minute's calls have failed."""
        if seen.kind == ErrorKind.STOPPED or not seen.judges:
            return seen
        weight = breaker.WEIGHTS[seen.kind] if seen.kind else None
        failed = weight in (breaker.Weight.COUNTS, breaker.Weight.HALF)
        told = self._windows[seen.route_id].add(seen.at, failed=failed)
        return replace(seen, half_failed=True) if told else seen

    def _move(self, seen: Evidence) -> None:
        state = self._states.get(seen.route_id)
        # The averages are the row's; they come back with it, and no call is decided by them.
        if state and not is_plain(state, seen):
            moved = self._states[seen.route_id] = after(state, seen, self._rules)
            if moved.breaker != state.breaker:
                self._urgent.set()

    # Keeping in step

    def _take(self, rows: dict[int, tuple[RouteState, ...]]) -> None:
        """The rows as they are, with the results on top that they do not know of yet."""
        self._states = {route.route_id: route for routes in rows.values() for route in routes}
        self._of_provider = {pk: tuple(r.route_id for r in routes) for pk, routes in rows.items()}
        self._replay(self._pending)

    def _replay(self, results: Iterable[Result | Evidence]) -> None:
        for result in results:
            if seen := _evidence(result):
                self._move(seen)

    async def _write(self) -> None:
        written = 0
        while True:
            await self._arrived.wait()
            await self._gather(written)
            try:
                written = await self._write_once()
            except django.db.Error as exc:
                log.warning("results_wait count=%s problem=%s", self.waiting, type(exc).__name__)
                await asyncio.sleep(1)

    async def _gather(self, written: int) -> None:
        """A moment for more to come, and a longer one where many came before: a writing costs
        about as much for one result as for two hundred. What moves a breaker does not wait."""
        await asyncio.sleep(SOON)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(PACE, written * EACH)):
                await self._urgent.wait()

    async def _write_once(self) -> int:
        """Writes what waits, and tells how much that was. A result leaves memory only once it is in
        the database."""
        self._urgent.clear()
        async with self._guard:
            batch = list(islice(self._pending, BATCH))
            if not batch:
                self._arrived.clear()
                return 0
            dropped = self.dropped
            states = await database.run(records.record_all, batch)
            # What was dropped meanwhile was at the front, so part of this batch.
            for _ in range(len(batch) - (self.dropped - dropped)):
                self._pending.popleft()
            for pk, state in states.items():
                if known := self._states.get(pk):
                    self._states[pk] = replace(state, spare=known.spare)
            self._replay(r for r in self._pending if (e := _evidence(r)) and e.route_id in states)
            if not self._pending:
                self._arrived.clear()
        metrics.retry_budget(self.budget.left)
        return len(batch)

    async def flush(self) -> None:
        """Writes all that waits. Raises django.db.Error while the database is away."""
        while self._pending:
            await self._write_once()

    async def close(self) -> None:
        """Writes what it can, and ends."""
        with suppress(django.db.Error, TimeoutError):
            async with asyncio.timeout(2):
                await self.flush()
        if self._writer:
            self._writer.cancel()
        await self._providers.close()
        await self._routes.close()


def _evidence(result: Result | Evidence) -> Evidence | None:
    return result if isinstance(result, Evidence) else result.evidence


_boards: dict[asyncio.AbstractEventLoop, Board] = {}


def current() -> Board:
    """The running loop's board; boards of loops that have ended are forgotten."""
    loop = asyncio.get_running_loop()
    if loop not in _boards:
        for ended in [known for known in _boards if known.is_closed()]:
            del _boards[ended]
        _boards[loop] = Board()
    return _boards[loop]


async def close() -> None:
    """Ends the running loop's board, if it has one."""
    if found := _boards.pop(asyncio.get_running_loop(), None):
        await found.close()
