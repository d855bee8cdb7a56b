"""Sign in a program without typing a key: it shows a code, and a signed-in person confirms it.

The device authorization grant, RFC 8628, whose access token is a new client key. The key is made
when the program fetches it, so its secret is never stored. A code works once, for ten minutes.

    waiting --confirm--> confirmed --redeem--> (the row is deleted, the key exists)
       └-----deny------> denied
"""

import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from api.keys.lifecycle import issue_key
from api.models import DeviceSignIn, hash_secret
from providers.operations import audit

LIFETIME = timedelta(minutes=10)
POLL_SECONDS = 3
MAX_PER_ADDRESS = 20  # codes of one address within their lifetime
# Consonants alone spell no words, and none looks like another (RFC 8628, section 6.1). Eight of
# twenty are 34 bits: not found by guessing within the lifetime.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
CODE_LENGTH = 8


class SignInRefused(Exception):
    """No key for this request. `code`: the error of RFC 8628, section 3.5."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def start(address: str, now: datetime | None = None) -> tuple[DeviceSignIn, str]:
    """Store a new sign-in; return it with its device code. Raises SignInRefused."""
    now = now or timezone.now()
    DeviceSignIn.objects.filter(created_at__lte=now - LIFETIME).delete()
    if DeviceSignIn.objects.filter(address=address).count() >= MAX_PER_ADDRESS:
        raise SignInRefused("slow_down", "Too many codes were requested. Try again in 10 minutes.")
    device_code = secrets.token_urlsafe(32)
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    row = DeviceSignIn.objects.create(
        device_hash=hash_secret(device_code),
        user_code=code,
        created_at=now,
        address=address,
    )
    return row, device_code


def find_waiting(typed_code: str, now: datetime | None = None) -> DeviceSignIn | None:
    """The sign-in that waits under this code, typed in any case, with or without separators."""
    code = "".join(letter for letter in typed_code.upper() if letter in ALPHABET)
    since = (now or timezone.now()) - LIFETIME
    waiting = DeviceSignIn.objects.filter(user=None, denied=False, created_at__gt=since)
    return waiting.filter(user_code=code).first()


def confirm(
    sign_in: DeviceSignIn, user: User, key_name: str, key_expires_at: datetime | None
) -> bool:
    """Let the program fetch a key of this user; False where somebody decided before."""
    waiting = DeviceSignIn.objects.filter(pk=sign_in.pk, user=None, denied=False)
    changed = waiting.update(user=user, key_name=key_name, key_expires_at=key_expires_at)
    return bool(changed)


def deny(sign_in: DeviceSignIn) -> None:
    """Refuse the program."""
    DeviceSignIn.objects.filter(pk=sign_in.pk, user=None).update(denied=True)


@transaction.atomic
def redeem(device_code: str, now: datetime | None = None) -> str:
    """The secret of a new key, once. Raises SignInRefused as long as there is none."""
    now = now or timezone.now()
    rows = DeviceSignIn.objects.select_for_update(of=("self",)).select_related("user")
    row = rows.filter(device_hash=hash_secret(device_code)).first()
    if row is None or row.created_at + LIFETIME <= now:
        raise SignInRefused("expired_token", "The code has expired. Start again.")
    if row.denied or (row.user and not row.user.is_active):
        raise SignInRefused("access_denied", "The sign-in was denied.")
    if row.user is None:
        raise SignInRefused("authorization_pending", "Nobody has confirmed the code yet.")
    key, secret = issue_key(row.user, row.key_name, row.key_expires_at)
    audit.note(row.user, "created", key)
    row.delete()
    return secret
