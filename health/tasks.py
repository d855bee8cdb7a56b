"""Celery's entry to the observer."""

from celery import shared_task

from health import monitor
from providers.tasks import run


@shared_task
def check_due() -> None:
    run(monitor.check_due())
