"""Issue and revoke client keys. Every process learns of a change within two seconds."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone

from api.models import ClientKey
from providers.infra import replicas


def issue_key(user: User, name: str, expires_at: datetime | None = None) -> tuple[ClientKey, str]:
    """Store a new key; return it with its secret, which is readable only now."""
    key, secret = ClientKey.make(user, name, expires_at)
    replicas.publish("keys")
    return key, secret


def revoke_keys(ids: Iterable[int]) -> int:
    """Revoke keys for good; return how many were active."""
    count = ClientKey.objects.filter(pk__in=list(ids)).revoke(timezone.now())
    replicas.publish("keys")
    return count
