"""Client keys, which programs send to `/v1`, and the responses that callers had stored.

A key is shown once, and only its hash is stored.

The hash is a plain SHA-256. Slow, salted hashes (argon2, PBKDF2) protect passwords, which can be
guessed. A key is 256 random bits, which cannot, and every request hashes one: a slow hash would
only cost time, and a salt would rule out the look-up by hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from api.budgets import Action, BudgetState, KeyBudget, Period
from providers.infra.encrypted_fields import EncryptedTextField

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MARK = "ocw-"  # identifies our keys to people and to scanners for leaked secrets
BITS = 256
SHOWN = len(MARK) + 6  # characters of a key that are stored and shown; 220 bits stay secret
USE_EVERY = timedelta(seconds=5)  # the precision of "last used": a write of a busy key each time


def new_secret() -> str:
    """A new random key."""
    return MARK + secrets.token_urlsafe(BITS // 8)


def hash_secret(secret: str) -> str:
    """The hash that a key is stored and looked up by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ClientKeyQuerySet(models.QuerySet["ClientKey"]):
    def of(self, user: User) -> ClientKeyQuerySet:
        return self.filter(user_id=user.pk)

    def manageable(self, user: User) -> ClientKeyQuerySet:
        """The keys that a person may change: operators all of them, others their own."""
        return self.all() if user.is_staff else self.of(user)

    def usable(self, now: datetime) -> ClientKeyQuerySet:
        """Neither revoked nor expired, and of an active user."""
        current = Q(expires_at=None) | Q(expires_at__gt=now)
        return self.filter(current, revoked_at=None, user__is_active=True)

    def revoke(self, now: datetime) -> int:
        """Revoke these keys for good; return how many were active."""
        return self.filter(revoked_at=None).update(revoked_at=now)

    def mark_used(self, ids: Iterable[int], now: datetime) -> int:
        """Store when keys were last used, unless another process just did."""
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_EVERY)
        return self.filter(stale, pk__in=list(ids)).update(last_used_at=now)


class ClientKey(models.Model):
    """One key of one user. Revoked keys stay as rows because attempts refer to them."""

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
    # After a rotation: the former secret, which works until then.
    previous_hash = models.CharField(max_length=64, blank=True, default="")
    previous_until = models.DateTimeField(null=True, blank=True)
    allowed_models = models.JSONField(default=list, blank=True, help_text="Patterns; none: all.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    calls_at_once = models.PositiveIntegerField(null=True, blank=True)
    budget = models.DecimalField(
        "Budget (USD)",
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="What its requests may cost in each period. Leave empty for no limit.",
    )
    budget_period = models.CharField(
        "Budget renews every",
        max_length=5,
        choices=[(each.value, each.value.capitalize()) for each in Period],
        default=Period.MONTH.value,
        help_text="At midnight UTC; a week starts on Monday.",
    )
    budget_action = models.CharField(
        "When the budget is spent",
        max_length=6,
        choices=[
            (Action.REFUSE.value, "Refuse requests until it renews"),
            (Action.WARN.value, "Show a warning on the Connect page"),
        ],
        default=Action.REFUSE.value,
    )
    is_locked = models.BooleanField(
        "Only operators may change the limits",
        default=False,
        help_text="The owner still sees them, and may rename, rotate or revoke the key.",
    )
    tags = models.JSONField(default=list, blank=True)
    notes = models.TextField(max_length=2000, blank=True, default="")

    objects = ClientKeyQuerySet.as_manager()

    budget_state: BudgetState | None = None  # set by the pages that show it

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
        cls, user: User, name: str, expires_at: datetime | None = None, *, is_locked: bool = False
    ) -> tuple[ClientKey, str]:
        """Store a new key; return it with its secret, which is not stored."""
        secret = new_secret()
        key = cls.objects.create(
            user_id=user.pk,
            name=name,
            prefix=secret[:SHOWN],
            hash=hash_secret(secret),
            expires_at=expires_at,
            is_locked=is_locked,
        )
        return key, secret

    def rotate(self, now: datetime, overlap: timedelta) -> str:
        """Store a new secret and return it. The present one works until the overlap is over; one
        that was rotated away before ends at once."""
        secret = new_secret()
        self.previous_hash, self.previous_until = self.hash, now + overlap
        self.hash, self.prefix = hash_secret(secret), secret[:SHOWN]
        self.save(update_fields=("hash", "prefix", "previous_hash", "previous_until"))
        return secret

    @property
    def budget_terms(self) -> KeyBudget | None:
        """The budget with its period and action; None where there is none."""
        if self.budget is None:
            return None
        period, action = Period(self.budget_period), Action(self.budget_action)
        return KeyBudget(limit=self.budget, period=period, action=action)

    @property
    def is_overlapping(self) -> bool:
        """Whether the secret before the rotation still works."""
        return self.previous_until is not None and self.previous_until > timezone.now()

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class StoredResponse(models.Model):
    """An answer of `/v1/responses` with its whole input, which a later request may continue.

    `content` is `{"input": items, "response": the answer}`; `item_ids` are those of its output.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="stored_responses"
    )
    response_id = models.CharField(max_length=255)
    item_ids = ArrayField(models.CharField(max_length=255))
    content = EncryptedTextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("user", "response_id"), name="stored_response_unique"),
        )
        indexes = (
            # requests that name an item of an earlier answer
            GinIndex(fields=("item_ids",), name="stored_response_items"),
            # deletion by age
            models.Index(fields=("created_at",), name="stored_response_age"),
        )

    def __str__(self) -> str:
        return self.response_id


class DeviceSignIn(models.Model):
    """A program that waits for a person to confirm its code. See `api.connect.device_sign_in`."""

    device_hash = models.CharField(max_length=64, unique=True)
    user_code = models.CharField(max_length=8, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=64, help_text="Where the program asked from.")
    denied = models.BooleanField(default=False)
    # Set by the person who confirms it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True)
    key_name = models.CharField(max_length=100, blank=True)
    key_expires_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            # deletion by age
            models.Index(fields=("created_at",), name="device_sign_in_age"),
        )

    def __str__(self) -> str:
        return self.user_code

    @property
    def code(self) -> str:
        """The code as people read it: `WDJB-MJHT`."""
        return f"{self.user_code[:4]}-{self.user_code[4:]}"
