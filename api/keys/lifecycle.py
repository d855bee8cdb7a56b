"""Issue, rotate and revoke client keys. Every process learns of a change within two seconds."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from api.models import ClientKey
from providers.infra import replicas


def issue_key(
    user: User, name: str, expires_at: datetime | None = None, *, is_locked: bool = False
) -> tuple[ClientKey, str]:
    """Store a new key; return it with its secret, which is readable only now."""
    key, secret = ClientKey.make(user, name, expires_at, is_locked=is_locked)
    replicas.publish("keys")
    return key, secret


def rotate_key(key: ClientKey, overlap: timedelta) -> str:
    """Give a key a new secret, which is readable only now; the old one ends after the overlap."""
    secret = key.rotate(timezone.now(), overlap)
    replicas.publish("keys")
    return secret


def revoke_keys(ids: Iterable[int]) -> int:
    """Revoke keys for good; return how many were active."""
    count = ClientKey.objects.filter(pk__in=list(ids)).revoke(timezone.now())
    replicas.publish("keys")
    return count
