"""Shared by all views: the permission check, the hand-off to the worker, the search text.

Everybody signed in may read; only staff may change.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from celery import current_app
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


_NO_RETRIES = {"max_retries": 0, "socket_connect_timeout": 1, "socket_timeout": 2}


def require_staff(request: HttpRequest) -> User:
    """Return the operator; answer 403 to anybody else."""
    user = cast(User, request.user)
    if not user.is_staff:
        raise PermissionDenied("Only operators can change providers.")
    return user


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Restrict a view to operators."""

    @wraps(view)
    def restricted_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        require_staff(request)
        return view(request, *args, **kwargs)

    return restricted_view


def enqueue_task(task: str, provider_id: int) -> bool:
    """Send a task to the worker; return False if the broker is down (beat runs the work later)."""
    try:
        # A separate connection: the pooled one retries for seconds while the page waits.
        with current_app.connection_for_write(transport_options=_NO_RETRIES) as connection:
            current_app.send_task(
                task, args=[provider_id], retry=False, ignore_result=True, connection=connection
            )
    except OperationalError:
        log.warning("task_not_sent task=%s provider=%s", task, provider_id)
        return False
    return True


def read_search_text(query: QueryDict) -> str:
    """The `q` parameter without NUL characters, which PostgreSQL text cannot hold."""
    return query.get("q", "").replace("\0", "").strip()
