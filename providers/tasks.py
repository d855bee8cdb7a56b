"""Celery tasks for discovery, probes and gateways; each runs one flow."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from celery import shared_task
from django.utils import timezone

from providers.catalog import discovery
from providers.clients import http
from providers.infra import database
from providers.probes import gateways, probe

log = logging.getLogger(__name__)

MAX_CONCURRENT_FETCHES = 8


def run(work: Awaitable[object]) -> None:
    """Runs a flow on its own event loop, then closes its HTTP connections."""

    async def closing() -> None:
        try:
            await work
        finally:
            await http.close()

    asyncio.run(closing())


@shared_task
def refresh(provider_id: int) -> None:
    run(discovery.refresh(provider_id))


@shared_task
def look_over(provider_id: int) -> None:
    """Checks a provider and fetches its models, after a change of key or base URL."""
    run(_look_over(provider_id))


async def _look_over(provider_id: int) -> None:
    await probe.check_provider(provider_id)
    await discovery.refresh(provider_id)


@shared_task
def refresh_stale() -> None:
    """Refreshes every catalogue that is due; a failure does not affect the others."""
    run(_each(discovery.refresh))


@shared_task
def check_gateways() -> None:
    run(gateways.check_endpoints())


async def _each(work: Callable[[int], Awaitable[object]]) -> None:
    gate = asyncio.Semaphore(MAX_CONCURRENT_FETCHES)

    async def one(provider_id: int) -> None:
        async with gate:
            await work(provider_id)

    due = await database.run(discovery.find_stale, timezone.now())
    results = await asyncio.gather(*(one(pk) for pk in due), return_exceptions=True)
    for provider_id, result in zip(due, results, strict=True):
        if isinstance(result, BaseException):
            log.error("refresh_failed provider=%s", provider_id, exc_info=result)
