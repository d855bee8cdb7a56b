"""Claim the half-open probe of an open route: one call among those of all processes may go out.

The rows decide who has it, not a process's copy of them, because the copies lag: where each process
decided for itself, every one of them would send its own probe to a provider that is barely back.
Only without the database does each process decide alone. A claim is also the only thing that makes
a call wait for the database, so it is asked for seldom and never for long.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

import django.db
from django.utils import timezone

from providers.domain.tuning import Rules
from providers.infra import database
from providers.policy import domains
from providers.policy.route_state import Outcome, RouteState
from providers.router import breaker_rows
from providers.router.route_states import RouteStates
from providers.router.write_queue import WriteBehindQueue

ROW_CHECK_SECONDS = 0.1  # between two looks at a row whose cooldown lasts, by this process's copy


class TrialClaims:
    """The claims of one event loop.

    `refresh` has the routes read again: their copy is behind. `release` takes the outcome that
    frees a probe again.
    """

    def __init__(
        self,
        states: RouteStates,
        queue: WriteBehindQueue,
        rules: Rules,
        *,
        refresh: Callable[[], None],
        release: Callable[[Outcome], None],
    ) -> None:
        self._states = states
        self._queue = queue
        self._rules = rules
        self._refresh = refresh
        self._release = release
        self._claiming: set[int] = set()  # routes
        self._checked: dict[int, float] = {}  # when each route's row was last looked at
        self._last_resorts: dict[int, float] = {}  # when each provider's last one went out

    async def claim(
        self, route: RouteState, model_id: str = "", *, early: bool = False
    ) -> RouteState | None:
        """The route with every half-open probe that a call over it needs.

        None where another call has one, or none is due. `early` claims before a cooldown is over.
        """
        if route.route_id in self._claiming or not self._may_check(route, early=early):
            return None
        self._claiming.add(route.route_id)
        try:
            claimed = await self._claim(route, model_id, early=early)
        finally:
            self._claiming.discard(route.route_id)
        if claimed is None or claimed.is_closed:
            self._refresh()
        if claimed:
            self._states.take_claim(claimed)
        return claimed

    def _may_check(self, route: RouteState, *, early: bool) -> bool:
        """Whether to look at the row: now and then also where this copy has none due."""
        if early or route.admits(timezone.now()):
            return True
        now = time.monotonic()
        last = self._checked.get(route.route_id)
        if last is not None and now - last < ROW_CHECK_SECONDS:
            return False
        self._checked[route.route_id] = now
        return True

    async def _claim(self, route: RouteState, model_id: str, *, early: bool) -> RouteState | None:
        now = timezone.now()
        claiming = asyncio.ensure_future(self._claim_rows(route, model_id, now, early=early))
        try:
            async with asyncio.timeout(self._rules.claim_patience):
                return await asyncio.shield(claiming)
        except (django.db.Error, TimeoutError):
            if not domains.may_claim(route, now, early=early):
                return None
            return domains.claim_probe(route, now, self._rules)
        except asyncio.CancelledError:
            claiming.add_done_callback(partial(self._release_claim, model_id))
            raise

    async def _claim_rows(
        self, route: RouteState, model_id: str, now: datetime, *, early: bool
    ) -> RouteState | None:
        """Claim on the rows, once they hold what this process has queued about the route."""
        if any(_concerns(outcome, route) for outcome in self._queue.outcomes()):
            await self._queue.write_batch()
        return await database.run(breaker_rows.claim_trial, route, model_id, now, early=early)

    def _release_claim(self, model_id: str, claiming: asyncio.Future[RouteState | None]) -> None:
        """Free a probe whose caller disconnected while it was claimed."""
        if claiming.cancelled() or claiming.exception():
            return
        if (claimed := claiming.result()) and not claimed.is_closed:
            self._release(breaker_rows.release_probe(claimed, model_id))

    def last_resort_in(self, provider_id: int) -> float:
        """Seconds until a request may go out although every route is in a cooldown."""
        last = self._last_resorts.get(provider_id)
        if last is None:
            return 0.0
        return max(0.0, last + self._rules.last_resort_every - time.monotonic())

    def take_last_resort(self, provider_id: int) -> None:
        """Make the next request of this kind wait for `last_resort_every` seconds."""
        self._last_resorts[provider_id] = time.monotonic()


def _concerns(outcome: Outcome, route: RouteState) -> bool:
    """Whether an outcome may change a breaker of this route."""
    return outcome.route_id == route.route_id or outcome.key == route.key
