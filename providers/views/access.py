"""What every view needs of a request: who may do what (everybody reads, staff change), a search."""

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


_IMPATIENT = {"max_retries": 0, "socket_connect_timeout": 1, "socket_timeout": 2}


def require_staff(request: HttpRequest) -> User:
    """The operator; anybody else gets a 403."""
    user = cast(User, request.user)
    if not user.is_staff:
        raise PermissionDenied("Only operators may change providers.")
    return user


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        require_staff(request)
        return view(request, *args, **kwargs)

    return checked


def in_background(task: str, provider_id: int) -> bool:
    """Hands work to the worker, by name; False where the broker is away: beat makes up for it."""
    try:
        # A connection of its own: the pool's would try again for seconds while the page waits.
        with current_app.connection_for_write(transport_options=_IMPATIENT) as connection:
            current_app.send_task(
                task, args=[provider_id], retry=False, ignore_result=True, connection=connection
            )
    except OperationalError:
        log.warning("task_not_sent task=%s provider=%s", task, provider_id)
        return False
    return True


def search_text(given: QueryDict) -> str:
    """What is searched for, without a NUL: the database has no text with one."""
    return given.get("q", "").replace("\0", "").strip()
