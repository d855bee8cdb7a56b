"""Client keys in use: made and revoked here, so that every change is told to all processes."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone

from api.models import ClientKey


def make(user: User, name: str, expires_at: datetime | None = None) -> tuple[ClientKey, str]:
    """A new key and its secret, which works at once."""
    return ClientKey.make(user, name, expires_at)


def revoke(ids: Iterable[int]) -> int:
    """Takes keys out of use, in every process within two seconds; how many were in use."""
    return ClientKey.objects.filter(pk__in=list(ids)).revoke(timezone.now())
