"""Client keys in use: who shows which, known in-process, and every change told to all processes.

A request's key is looked up in this process's copy: no database call before the upstream call. When
a key was last used is written later, in batches, once a minute for each key.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

import django.db
from django.contrib.auth.models import User
from django.utils import timezone

from api.models import USE_EVERY, ClientKey, hashed
from providers.domain.frozen import frozen
from providers.event_loop.per_loop import PerLoop
from providers.infra import database, replicas

log = logging.getLogger(__name__)

WRITE_AFTER = 1.0  # seconds; uses within it are written together


@frozen
class Caller:
    """On whose behalf a request is made, and with which key."""

    key_id: int
    user_id: int
    expires_at: datetime | None = None


def make(user: User, name: str, expires_at: datetime | None = None) -> tuple[ClientKey, str]:
    """A new key and its secret, which works everywhere at once."""
    made = ClientKey.make(user, name, expires_at)
    replicas.publish("keys")
    return made


def revoke(ids: Iterable[int]) -> int:
    """Takes keys out of use, in every process within two seconds; how many were in use."""
    count = ClientKey.objects.filter(pk__in=list(ids)).revoke(timezone.now())
    replicas.publish("keys")
    return count


def load() -> Mapping[str, Caller]:
    """Every usable key's hash, and whose it is."""
    rows = ClientKey.objects.usable(timezone.now())
    columns = rows.order_by().values_list("hash", "pk", "user_id", "expires_at")
    return {
        stored: Caller(key_id=key_id, user_id=user_id, expires_at=expires_at)
        for stored, key_id, user_id, expires_at in columns
    }


class Keys:
    """One event loop's copy of the keys, and the uses that are not written yet."""

    def __init__(self) -> None:
        self._mirror = replicas.Replica(load, {"keys"})
        self._used: set[int] = set()
        self._next_note: dict[int, float] = {}
        self._writer: asyncio.Task[None] | None = None

    async def caller(self, secret: str) -> Caller | None:
        """Who shows this key. Raises django.db.Error where the keys were never read."""
        found = (await self._mirror.get()).get(hashed(secret))
        if found is None or (found.expires_at and found.expires_at <= timezone.now()):
            return None
        self._note(found.key_id)
        return found

    def _note(self, key_id: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next_note.get(key_id, 0.0):
            return
        self._next_note[key_id] = now + USE_EVERY.total_seconds()
        self._used.add(key_id)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """A use that could not be written is noted again a minute later, if there is one."""
        await asyncio.sleep(WRITE_AFTER)
        used, self._used = self._used, set()
        try:
            await database.run(ClientKey.objects.all().used, used, timezone.now())
        except django.db.Error as exc:
            log.warning("key_use_not_written count=%s problem=%s", len(used), type(exc).__name__)

    async def close(self) -> None:
        """Ends, with the last uses written."""
        if self._writer:
            await self._writer
        await self._mirror.close()


current = PerLoop(Keys).current
"""The running loop's keys."""
