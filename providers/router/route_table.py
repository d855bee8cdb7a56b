"""One process's view of every provider and route, and the one door to what is kept about them.

A request reads the providers and route states from memory, may have to claim a half-open probe,
takes a place at a key's concurrency limit, and leaves its result. Those are separate jobs, each in
a class of its own: RouteStates, TrialClaims, Limiters, WriteBehindQueue and CandidateCache. They
meet here, because all of them belong to one event loop and begin, read and end together. Nothing
here waits for the database, except for the first reading and a probe's claim.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import django.db
from django.conf import settings

from providers.domain.types import Target
from providers.event_loop.per_loop import PerLoop
from providers.infra import metrics, replicas
from providers.policy.members import MemberState, Strategy
from providers.policy.plan import FallbackProvider, Plan
from providers.policy.route_state import Outcome, RouteState
from providers.router import snapshot
from providers.router.breaker_rows import RouteChanges
from providers.router.candidate_cache import CandidateCache
from providers.router.key_usage import KeyUsage
from providers.router.limiters import Limiters
from providers.router.limits import ConcurrencyLimiter, RetryBudget
from providers.router.member_choices import MemberChoices
from providers.router.results import Entry, outcome_of
from providers.router.route_states import RouteStates
from providers.router.snapshot import Candidate, RouteSnapshot, Snapshot
from providers.router.trial_claims import TrialClaims
from providers.router.write_queue import WriteBehindQueue

CLOSE_SECONDS = 2.0  # in which a process that ends writes what it still can


class RouteTable:
    """The view of one event loop. `queue` holds the results that are not written yet."""

    def __init__(self) -> None:
        rules = settings.ROUTING_RULES
        guard = self.write_guard = asyncio.Lock()  # rows are never read during a write
        self._providers = replicas.Replica(snapshot.load, {"providers"})
        self._routes = replicas.Replica(
            snapshot.load_route_snapshot,
            {"providers", "routes"},
            on_read=self._load_routes,
            guard=guard,
        )
        self._states = RouteStates(rules)
        self._candidates = CandidateCache()
        self.key_usage = KeyUsage()
        self._limiters = Limiters(rules)
        self.choices = MemberChoices()
        self.queue = WriteBehindQueue(guard, self._load_written)
        self._claims = TrialClaims(
            self._states,
            self.queue,
            rules,
            refresh=self._routes.refresh_soon,
            release=self.settle,
        )
        self.checks: set[asyncio.Task[None]] = set()  # of keys, see key_check.py
        self.budget = RetryBudget(rules)

    # Reading

    async def ready(self) -> Snapshot:
        """The current providers and models. Raises django.db.Error where they were never read."""
        providers = await self._providers.get()
        await self._routes.get()
        if self.queue.start():
            metrics.set_retry_budget(self.budget.left)
        if providers.virtual_models:
            self.choices.feed.start()
        return providers

    async def ready_for(self, name: str) -> Snapshot:
        """The same, read again where no model has this name: another process may have just stored
        it. At most once a second.
        """
        providers = await self.ready()
        return providers if providers.find_models(name) else await self._providers.reread()

    @property
    def stale(self) -> bool:
        """Whether the last attempt to read the database failed."""
        return self._providers.stale or self._routes.stale

    def routes(self, provider_id: int, model_id: str = "") -> tuple[RouteState, ...]:
        """A provider's routes as they are now, each with the breakers of this model and its key."""
        return self._states.routes(provider_id, model_id)

    def route(self, route_id: int, model_id: str = "") -> RouteState | None:
        """One route as it is now, with the breakers of this model and its key."""
        return self._states.route(route_id, model_id)

    async def candidate(
        self, provider_id: int, model_id: str, providers: Snapshot | None = None
    ) -> Candidate | None:
        """A provider with its routes as they are now; None where it is gone or disabled.

        `providers`: the current ones, from a caller who has them.
        """
        providers = providers or await self.ready()
        if provider_id not in providers.providers or not self._states.has_provider(provider_id):
            providers = await self._read_missing(provider_id)
        routes = self._states.routes(provider_id, model_id)
        return self._candidates.candidate(providers, provider_id, model_id, routes)

    async def _read_missing(self, provider_id: int) -> Snapshot:
        """The providers, read again where this one or its routes are missing: both are read apart,
        and either may be behind."""
        providers = await self.ready()
        with suppress(django.db.Error):
            if provider_id not in providers.providers:
                await self._providers.read()
                providers = await self.ready()
            if provider_id in providers.providers and not self._states.has_provider(provider_id):
                await self._routes.read()
        return providers

    def plan(
        self, candidate: Candidate, now: datetime, fallbacks: tuple[FallbackProvider, ...] = ()
    ) -> Plan:
        """The routes that one request to this candidate tries, in order."""
        return self._candidates.plan(candidate, now, fallbacks)

    def target(self, candidate: Candidate, route: RouteState, *, last: bool = False) -> Target:
        """Where an attempt over this route goes. `last`: no other route is left to try."""
        return self._candidates.target(candidate, route, last=last)

    def member_state(self, strategy: Strategy, candidate: Candidate, now: datetime) -> MemberState:
        """A virtual model's member as it is now."""
        plan = self.plan(candidate, now)
        return self.choices.state(strategy, candidate, plan, now, self._limiter_of)

    def _limiter_of(self, candidate: Candidate, route: RouteState) -> ConcurrencyLimiter:
        return self.gate(candidate, self.target(candidate, route))

    # Before a call

    async def claim(
        self, route: RouteState, model_id: str = "", *, early: bool = False
    ) -> RouteState | None:
        """Claim the half-open probes that a call over this route needs; see TrialClaims."""
        return await self._claims.claim(route, model_id, early=early)

    def last_resort_in(self, provider_id: int) -> float:
        """Seconds until a request may go out although every route is in a cooldown."""
        return self._claims.last_resort_in(provider_id)

    def take_last_resort(self, provider_id: int) -> None:
        """Make the next request of this kind wait for `last_resort_every` seconds."""
        self._claims.take_last_resort(provider_id)

    def gate(self, candidate: Candidate, target: Target) -> ConcurrencyLimiter:
        """The concurrency limiter of the target's key."""
        return self._limiters.find(candidate, target)

    # After a call

    def settle(self, entry: Entry) -> None:
        """Apply a result to its route at once, and queue it for the rows. Never waits."""
        if outcome := outcome_of(entry):
            marked = self._states.mark_half_failed(outcome)
            if marked is not outcome:
                entry = _with_outcome(entry, marked)
            self._write_changed(changed=self._states.apply(marked))
        self.key_usage.add(entry)
        self.queue.put(entry)

    def _write_changed(self, *, changed: bool) -> None:
        """A changed breaker is written at once: other processes decide by its row."""
        if changed:
            self.queue.write_soon()

    def key_costs_read(self) -> None:
        """The costs of the client keys were read from the rows, with `write_guard` held."""
        self.key_usage.restart_costs(self.queue.entries())

    def _load_routes(self, rows: RouteSnapshot) -> None:
        self._write_changed(changed=self._states.load(rows, self.queue.outcomes()))

    def _load_written(self, changes: RouteChanges) -> None:
        self._write_changed(changed=self._states.load_written(changes, self.queue.outcomes()))
        metrics.set_retry_budget(self.budget.left)

    async def flush(self) -> None:
        """Write every queued result. Raises django.db.Error while the database is away."""
        await self.queue.flush()

    async def close(self) -> None:
        """Write what can be written in a moment, and end every task."""
        for check in list(self.checks):
            check.cancel()
        await self.choices.feed.close()
        await self.queue.close(CLOSE_SECONDS)
        await self._providers.close()
        await self._routes.close()


def _with_outcome(entry: Entry, outcome: Outcome) -> Entry:
    return outcome if isinstance(entry, Outcome) else replace(entry, outcome=outcome)


_tables = PerLoop(RouteTable)
current = _tables.current


async def close() -> None:
    """Close the running loop's table, if it has one."""
    if table := _tables.pop():
        await table.close()
