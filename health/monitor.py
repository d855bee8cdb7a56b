"""The observer: which providers are due for a check, checked side by side, none in another's way.

A check is claimed by moving its due time, so however many workers run, each is made once.
"""

import asyncio
import logging

from django.utils import timezone

from providers import database, probing
from providers.models import Provider

log = logging.getLogger(__name__)

AT_ONCE = 20  # a hung provider holds one of these for a probe's time-out, no more
CHECK_SECONDS = 60.0  # after which a check is given up, whatever it hangs on


async def check_due() -> int:
    """Checks every provider that is due; returns how many."""
    due = await database.run(_claim)
    gate = asyncio.Semaphore(AT_ONCE)
    results = await asyncio.gather(*(_check(pk, gate) for pk in due), return_exceptions=True)
    for provider_id, result in zip(due, results, strict=True):
        if isinstance(result, BaseException):
            log.error("check_failed provider=%s", provider_id, exc_info=result)
    return len(due)


async def _check(provider_id: int, gate: asyncio.Semaphore) -> None:
    async with gate, asyncio.timeout(CHECK_SECONDS):
        await probing.probe(provider_id)


def _claim() -> list[int]:
    return Provider.objects.all().claim_due(timezone.now())
