"""Client keys: what a program shows at `/v1`. A key is shown once, and only its hash is stored.

The hash is a plain SHA-256. Slow, salted hashes (argon2, PBKDF2) protect what people choose, for
that can be guessed; a key is 256 random bits, which no number of guesses finds, and the hot path
hashes one on every request: a slow hash would only cost, and a salt would forbid the look-up.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MARK = "ocw-"  # tells people, and scanners of leaked secrets, whose key it is
BITS = 256
SHOWN = len(MARK) + 6  # characters that tell keys apart; 220 bits stay unknown
USE_EVERY = timedelta(minutes=1)  # how exact "last used" is: one write a minute for a busy key


def new_secret() -> str:
    """A key as its owner will hold it."""
    return MARK + secrets.token_urlsafe(BITS // 8)


def hashed(secret: str) -> str:
    """What is stored of a key, and looked up."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ClientKeyQuerySet(models.QuerySet["ClientKey"]):
    def of(self, user: User) -> ClientKeyQuerySet:
        return self.filter(user_id=user.pk)

    def usable(self, now: datetime) -> ClientKeyQuerySet:
        """Neither revoked nor expired, and of a user who may still come in."""
        current = Q(expires_at=None) | Q(expires_at__gt=now)
        return self.filter(current, revoked_at=None, user__is_active=True)

    def revoke(self, now: datetime) -> int:
        """Takes these keys out of use for good; how many were in use."""
        return self.filter(revoked_at=None).update(revoked_at=now)

    def used(self, ids: Iterable[int], now: datetime) -> int:
        """Notes that keys were used, unless another process did within the minute."""
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_EVERY)
        return self.filter(stale, pk__in=list(ids)).update(last_used_at=now)


class ClientKey(models.Model):
    """One key of one user. Revoked keys stay as rows: attempts name them."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="client_keys"
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20, help_text="How it begins; all that is shown of it.")
    hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ClientKeyQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = (
            # the owner's page
            models.Index(fields=("user", "-created_at"), name="client_key_list"),
        )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def make(
        cls, user: User, name: str, expires_at: datetime | None = None
    ) -> tuple[ClientKey, str]:
        """A stored key and its secret, which nobody can be told again."""
        secret = new_secret()
        key = cls.objects.create(
            user_id=user.pk,
            name=name,
            prefix=secret[:SHOWN],
            hash=hashed(secret),
            expires_at=expires_at,
        )
        return key, secret

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
