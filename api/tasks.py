"""Celery tasks: the deletion of stored responses past their time."""

import logging

from celery import shared_task
from django.utils import timezone

from api.responses import store

log = logging.getLogger(__name__)


@shared_task
def delete_old_responses() -> None:
    log.info("responses_deleted rows=%s", store.delete_expired(timezone.now()))
