"""Celery's entry to the observer."""

import asyncio

from celery import shared_task

from health import monitor


@shared_task
def check_due() -> None:
    asyncio.run(monitor.check_due())
