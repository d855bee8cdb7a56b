"""What this process knows of every route right now, and the results it has not written down yet.

Calls read here and never wait for the database; a result moves the state in memory at once and the
rows in batches a moment later. While the database is away results wait in bounded memory; the
oldest are dropped and counted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice

import django.db
from django.conf import settings
from django.utils import timezone

from providers.domain.errors import ErrorKind
from providers.domain.types import Target
from providers.event_loop.per_loop import PerLoop
from providers.infra import database, metrics, replicas
from providers.policy import breaker, domains
from providers.policy.breaker import Domain, Scope
from providers.policy.domains import Domains
from providers.policy.route_state import Outcome, RouteState, Windows, is_plain
from providers.router import attempt_writer, breaker_rows, snapshot
from providers.router.attempt_writer import Result
from providers.router.limits import ConcurrencyLimiter, RetryBudget
from providers.router.snapshot import Candidate, RouteSnapshot, Snapshot
from providers.vendors import presets

log = logging.getLogger(__name__)

SOON = 0.05  # seconds; what comes within it is written together
PACE = 1.0  # seconds at most that results gather while more and more of them come
EACH = 0.01  # seconds that each result of the last writing makes the next one wait for more
BATCH = 2000  # results in one transaction
MOST_MADE = 10_000  # candidates made ready, of as many models
LOOK_EVERY = 0.1  # seconds between two looks at the rows of a route that rests by this copy of it
MOST_KEPT = 20_000  # results that wait for a database that is away: about 20 MB


class RouteTable:
    """One event loop's view. `dropped` counts results that were lost to a long outage."""

    def __init__(self) -> None:
        self._guard = asyncio.Lock()  # a write and a reading of the routes never overlap
        self._providers = replicas.Replica(snapshot.load, {"providers"})
        self._routes = replicas.Replica(
            snapshot.load_route_snapshot,
            {"providers", "routes"},
            taken=self._take,
            guard=self._guard,
        )
        self._states: dict[int, RouteState] = {}
        self._domains = Domains()
        self._of_provider: dict[int, tuple[int, ...]] = {}
        self._pending: deque[Result | Outcome] = deque()
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._claiming: set[int] = set()
        self._looked: dict[int, float] = {}
        self._last_resort: dict[int, float] = {}
        self._rules = settings.ROUTING_RULES
        self._windows = Windows(self._rules)
        self._candidates: dict[tuple[int, str], tuple[Snapshot, Candidate]] = {}
        self._gates: dict[tuple[str, str], ConcurrencyLimiter] = {}
        self.checks: set[asyncio.Task[None]] = set()  # of keys, see key_check.py
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
        routes = self.routes(provider_id, model_id)
        made = self._candidates.get((provider_id, model_id))
        if made and made[0] is known and made[1].routes == routes:
            return made[1]
        found = known.providers.get(provider_id)
        if found is None:
            return None
        served = known.served(provider_id, model_id)
        new = replace(found, model_id=model_id, routes=routes)
        if served:
            new = replace(new, prices=served.prices, streams=served.streams)
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

    def routes(self, provider_id: int, model_id: str = "") -> tuple[RouteState, ...]:
        """A provider's routes, as a call for this model meets them."""
        found = (self.route(pk, model_id) for pk in self._of_provider.get(provider_id, ()))
        return tuple(state for state in found if state)

    def route(self, route_id: int, model_id: str = "") -> RouteState | None:
        state = self._states.get(route_id)
        return self._domains.attach_breakers(state, model_id) if state else None

    # What a call asks for before it goes out

    async def claim(
        self, route: RouteState, model_id: str = "", *, early: bool = False
    ) -> RouteState | None:
        """The route with the half-open probes that a call over it needs; None where somebody else
        has one, or none is due. `early`: before a cooldown is over.

        The rows decide between processes, whatever this one's copy of them says; without the
        database each process decides for itself.
        """
        if route.route_id in self._claiming or not self._may_look(route, early=early):
            return None
        self._claiming.add(route.route_id)
        try:
            claimed = await self._claimed(route, model_id, early=early)
        finally:
            self._claiming.discard(route.route_id)
        if claimed is None or claimed.is_closed:
            self._routes.refresh_soon()
        if claimed and (current := self._states.get(route.route_id)):
            self._states[route.route_id] = replace(current, breaker=claimed.breaker)
            for each in claimed.others:
                self._domains.put(each)
        return claimed

    def _may_look(self, route: RouteState, *, early: bool) -> bool:
        """Whether to ask the rows: now and then also where this copy says that nothing is due."""
        if early or route.admits(timezone.now()):
            return True
        now = time.monotonic()
        last = self._looked.get(route.route_id)
        if last is not None and now - last < LOOK_EVERY:
            return False
        self._looked[route.route_id] = now
        return True

    async def _claimed(self, route: RouteState, model_id: str, *, early: bool) -> RouteState | None:
        now = timezone.now()
        claiming = asyncio.ensure_future(self._claim_row(route, model_id, now, early=early))
        try:
            async with asyncio.timeout(self._rules.claim_patience):
                return await asyncio.shield(claiming)
        except (django.db.Error, TimeoutError):
            if not domains.may_claim(route, now, early=early):
                return None
            return domains.claim_probe(route, now, self._rules)
        except asyncio.CancelledError:
            claiming.add_done_callback(partial(self._release, model_id))
            raise

    async def _claim_row(
        self, route: RouteState, model_id: str, now: datetime, *, early: bool
    ) -> RouteState | None:
        """Claims on the rows, once they hold what this process knows of them."""
        if any(_concerns(result, route) for result in self._pending):
            await self._write_once()
        return await database.run(breaker_rows.claim_trial, route, model_id, now, early=early)

    def _release(self, model_id: str, claiming: asyncio.Future[RouteState | None]) -> None:
        """The caller left before its claim was granted: the probe is free for the next one."""
        if claiming.cancelled() or claiming.exception():
            return
        if (claimed := claiming.result()) and not claimed.is_closed:
            self.settle(breaker_rows.release_probe(claimed, model_id))

    def last_resort_in(self, provider_id: int) -> float:
        """Seconds until a request may go out although every route is in a cooldown."""
        last = self._last_resort.get(provider_id)
        if last is None:
            return 0.0
        return max(0.0, last + self._rules.last_resort_every - time.monotonic())

    def take_last_resort(self, provider_id: int) -> None:
        """The next request of this kind has to wait for `last_resort_every` seconds."""
        self._last_resort[provider_id] = time.monotonic()

    def gate(self, candidate: Candidate, target: Target) -> ConcurrencyLimiter:
        """How many calls with this target's key may be under way at once."""
        upstream = target.upstream or target
        key = (upstream.base_url, upstream.api_key)
        chosen = candidate.concurrency or presets.get(candidate.connection.preset).concurrency
        most = chosen or self._rules.concurrency
        if key not in self._gates:
            self._gates[key] = ConcurrencyLimiter(most, self._rules)
        self._gates[key].set_limit(most)
        return self._gates[key]

    # What a call has shown

    def settle(self, result: Result | Outcome) -> None:
        """Takes a result: the route's state moves at once, the rows follow. Never waits."""
        seen = _evidence(result)
        if seen:
            counted = self._counted(seen)
            self._move(counted)
            if counted is not seen:
                result = (
                    counted if isinstance(result, Outcome) else replace(result, evidence=counted)
                )
        if len(self._pending) >= MOST_KEPT:
            self._pending.popleft()
            self.dropped += 1
            metrics.dropped(1)
        self._pending.append(result)
        self._arrived.set()

    def _counted(self, seen: Outcome) -> Outcome:
        """Marks the failure with which half of the last half minute's calls have failed: of the
        model, or of the route, whichever it belongs to."""
        if seen.kind == ErrorKind.STOPPED or not seen.judges:
            return seen
        route, model = Domain(seen.route_id, "", ""), Domain(seen.route_id, "", seen.model_id)
        weight = domains.weight_of(seen.kind, seen.scope) if seen.kind else None
        failed = weight in (breaker.Weight.COUNTS, breaker.Weight.HALF)
        failed = failed and seen.kind not in domains.ANSWERED
        of_route = self._windows.add(route, seen.at, failed=failed and seen.scope == Scope.ROUTE)
        of_model = seen.model_id and self._windows.add(
            model, seen.at, failed=failed and seen.scope == Scope.MODEL
        )
        return replace(seen, half_failed=True) if of_route or of_model else seen

    def _move(self, seen: Outcome) -> None:
        state = self._states.get(seen.route_id)
        # The averages are the row's; they come back with it, and no call is decided by them, but
        # where something failed: whether it was the route depends on what went well since.
        if state and (len(self._domains) or not is_plain(state, seen)):
            moved = domains.apply_outcome(state, self._domains, seen, self._rules)
            self._states[seen.route_id] = moved.route
            for each in moved.others:
                self._domains.put(each)
            if moved.others or moved.route.breaker != state.breaker:
                self._urgent.set()

    # Keeping in step

    def _take(self, shown: RouteSnapshot) -> None:
        """The rows as they are, with the results on top that they do not know of yet."""
        rows, self._domains = shown.routes, shown.domains
        self._states = {route.route_id: route for routes in rows.values() for route in routes}
        self._of_provider = {pk: tuple(r.route_id for r in routes) for pk, routes in rows.items()}
        self._replay(self._pending)

    def _replay(self, results: Iterable[Result | Outcome]) -> None:
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
            written = await database.run(attempt_writer.write_results, batch)
            # What was dropped meanwhile was at the front, so part of this batch.
            for _ in range(len(batch) - (self.dropped - dropped)):
                self._pending.popleft()
            self._refresh(written)
            if not self._pending:
                self._arrived.clear()
        metrics.retry_budget(self.budget.left)
        return len(batch)

    def _refresh(self, written: breaker_rows.Written) -> None:
        """The rows of a batch as they are now, with later results on top."""
        keys = {known.key for pk in written.routes if (known := self._states.get(pk))}
        self._domains.drop(written.routes, keys)
        for each in written.domains:
            self._domains.put(each)
        for pk, state in written.routes.items():
            if known := self._states.get(pk):
                self._states[pk] = replace(state, is_fallback=known.is_fallback, key=known.key)
        routes = written.routes
        self._replay(r for r in self._pending if (e := _evidence(r)) and e.route_id in routes)

    async def flush(self) -> None:
        """Writes all that waits. Raises django.db.Error while the database is away."""
        while self._pending:
            await self._write_once()

    async def close(self) -> None:
        """Writes what it can, and ends."""
        for check in list(self.checks):
            check.cancel()
        with suppress(django.db.Error, TimeoutError):
            async with asyncio.timeout(2):
                await self.flush()
        if self._writer:
            self._writer.cancel()
        await self._providers.close()
        await self._routes.close()


def _evidence(result: Result | Outcome) -> Outcome | None:
    return result if isinstance(result, Outcome) else result.evidence


def _concerns(result: Result | Outcome, route: RouteState) -> bool:
    """Whether a result may change the breakers of this route."""
    seen = _evidence(result)
    return bool(seen and (seen.route_id == route.route_id or seen.key == route.key))


_tables = PerLoop(RouteTable)
current = _tables.current


async def close() -> None:
    """Closes the running loop's route table, if it has one."""
    if table := _tables.pop():
        await table.close()
