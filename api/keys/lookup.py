"""Find the caller of a request by its client key, in memory.

Each event loop holds a copy of the active keys, so that no request waits for the database before
its upstream call. With them it holds what keys with a budget have spent; what the calls of this
loop cost since then is added from memory. The last use of a key is written later, in batches, once
in a few seconds.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from datetime import date, datetime
from decimal import Decimal

import django.db
from django.utils import timezone

from api.budgets import BudgetState, KeyBudget
from api.keys.enforcement import KeyLimits
from api.keys.permissions import AllowedModels
from api.keys.spending import load_costs
from api.models import USE_EVERY, ClientKey, hash_secret
from providers.domain.frozen import frozen
from providers.event_loop.per_loop import PerLoop
from providers.infra import database, replicas
from providers.router import route_table

log = logging.getLogger(__name__)

WRITE_DELAY_SECONDS = 1.0  # uses within it are written together


@frozen
class Caller:
    """The user a request belongs to, and the key it was sent with."""

    key_id: int
    user_id: int
    expires_at: datetime | None = None
    allowed: AllowedModels = field(default_factory=AllowedModels)
    limits: KeyLimits = field(default_factory=KeyLimits)
    budget: KeyBudget | None = None
    costs: Mapping[date, Decimal] = field(default_factory=dict)  # stored ones, for the budget

    def budget_state(self, now: datetime) -> BudgetState | None:
        """The key's budget, with the calls that ended in this event loop; None without one."""
        if self.budget is None:
            return None
        recent = route_table.current().key_usage.costs(self.key_id)
        return self.budget.state(now, self.costs, recent)


def load_callers() -> Mapping[str, Caller]:
    """The callers of all active keys, by the hash of the key."""
    now = timezone.now()
    keys = list(ClientKey.objects.usable(now).order_by().defer("notes"))
    costs = load_costs((key.pk for key in keys if key.budget is not None), now)
    return dict(pair for key in keys for pair in _callers_of(key, costs.get(key.pk, {})))


def _callers_of(key: ClientKey, costs: Mapping[date, Decimal]) -> Iterator[tuple[str, Caller]]:
    """A key's caller, and that of the secret before its rotation."""
    caller = Caller(
        key_id=key.pk,
        user_id=key.user_id,
        expires_at=key.expires_at,
        allowed=AllowedModels(patterns=tuple(key.allowed_models)),
        limits=KeyLimits(
            requests=key.requests_per_minute,
            tokens=key.tokens_per_minute,
            calls=key.calls_at_once,
        ),
        budget=key.budget_terms,
        costs=costs,
    )
    yield key.hash, caller
    if key.previous_until:
        ends = (moment for moment in (key.previous_until, key.expires_at) if moment)
        yield key.previous_hash, replace(caller, expires_at=min(ends))


class KeyTable:
    """One event loop's copy of the keys, and their uses that are not written yet."""

    def __init__(self) -> None:
        table = route_table.current()
        self._callers = replicas.Replica(
            load_callers,
            {"keys"},
            on_read=lambda _: table.key_costs_read(),
            guard=table.write_guard,
        )
        self._used: set[int] = set()
        self._next_write: dict[int, float] = {}
        self._writer: asyncio.Task[None] | None = None

    async def find_caller(self, secret: str) -> Caller | None:
        """The caller with this key; None where it is wrong, revoked or expired.

        Raises django.db.Error where the keys were never read.
        """
        caller = (await self._callers.get()).get(hash_secret(secret))
        if caller is None or (caller.expires_at and caller.expires_at <= timezone.now()):
            return None
        self._record_use(caller.key_id)
        return caller

    def _record_use(self, key_id: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next_write.get(key_id, 0.0):
            return
        self._next_write[key_id] = now + USE_EVERY.total_seconds()
        self._used.add(key_id)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_uses())

    async def _write_uses(self) -> None:
        """A use that is lost here is recorded by the next request."""
        await asyncio.sleep(WRITE_DELAY_SECONDS)
        used, self._used = self._used, set()
        try:
            await database.run(ClientKey.objects.all().mark_used, used, timezone.now())
        except django.db.Error as exc:
            log.warning("key_use_not_written count=%s problem=%s", len(used), type(exc).__name__)

    async def close(self) -> None:
        """Write the last uses and stop."""
        if self._writer:
            await self._writer
        await self._callers.close()


current = PerLoop(KeyTable).current
"""The running loop's table."""
