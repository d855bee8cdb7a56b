"""Hash and check passwords: a few at a time, and never while a database connection is held.

A hash takes half a second of a processor on purpose. Done while holding one of the pool's
connections, a dozen of wrong sign-ins took all of them from the pages.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from allauth.account.adapter import get_adapter
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from providers.infra import database

MAX_AT_ONCE = 2  # of one process; hashing uses no more than a processor each
WAIT_SECONDS = 10.0  # for a turn, before the caller is refused

_turns = threading.BoundedSemaphore(MAX_AT_ONCE)


class Busy(ValidationError):
    """Too many passwords are being hashed."""

    def __init__(self) -> None:
        message = "Too many passwords are being checked at this moment. Try again in a few seconds."
        super().__init__(message, code="busy")


@contextmanager
def hashing() -> Iterator[None]:
    """Wait for a turn to hash, without a database connection. Raises Busy."""
    database.release()
    if not _turns.acquire(timeout=WAIT_SECONDS):
        raise Busy
    try:
        yield
    finally:
        _turns.release()


def confirm(user: User, password: str) -> None:
    """Check the password of somebody who is signed in, under the throttle of the sign-in.

    Raises ValidationError, with what to do about it.
    """
    if not password:
        raise ValidationError("Enter your password.", code="required")
    if not get_adapter().reauthenticate(user, password):
        raise ValidationError("This is not your password.", code="wrong_password")
