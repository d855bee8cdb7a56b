"""Encrypted model fields: what is stored is a key's id and a Fernet token, what is read is plain.

The first of ENCRYPTION_KEYS encrypts, every one decrypts what it has sealed.
A value that no key opens reads as empty, so that one lost key does not take the site down; it is
written back as it was, so that the key, once it is back, opens it again.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from providers.domain.sealed import Sealed, SealedHeaders

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


def cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])


def key_id(key: str) -> str:
    """The id of a key, which reveals nothing of it; it precedes what the key encrypted."""
    return hashlib.sha256(b"opencode-web key id:" + key.encode()).hexdigest()[:8]


def _encrypt(text: str) -> str:
    if not text:
        return ""
    key = settings.ENCRYPTION_KEYS[0]
    return f"{key_id(key)}:{Fernet(key).encrypt(text.encode()).decode()}"


def _decrypt(stored: str) -> str:
    """Raises InvalidToken. What was stored before keys had ids is tried with each of them."""
    named, _, token = stored.rpartition(":")
    keys = [key for key in settings.ENCRYPTION_KEYS if not named or key_id(key) == named]
    if not keys:
        raise InvalidToken
    return MultiFernet([Fernet(key) for key in keys]).decrypt(token.encode()).decode()


def can_decrypt(stored: str) -> bool:
    """Whether one of ENCRYPTION_KEYS decrypts a stored value; decided by its key's id where it
    has one, so that many are checked quickly."""
    named, _, token = stored.rpartition(":")
    if named:
        return any(key_id(key) == named for key in settings.ENCRYPTION_KEYS)
    try:
        cipher().decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def reencrypt(stored: str) -> str | None:
    """Encrypt a stored value with the first of ENCRYPTION_KEYS; None where it is already.

    Raises cryptography.fernet.InvalidToken where no key opens it.
    """
    if stored.startswith(f"{key_id(settings.ENCRYPTION_KEYS[0])}:"):
        return None
    return _encrypt(_decrypt(stored))


def mask(secret: str) -> str:
    """The last four characters, as a page may show them; shorter secrets show nothing."""
    return f"…{secret[-4:]}" if len(secret) >= 12 else "…" if secret else ""


class EncryptedTextField(_TextField):
    """Text, stored encrypted; empty stays empty. Never shown in a form or the admin."""

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Sealed):
            return value.token
        return _encrypt(super().get_prep_value(value))

    def from_db_value(self, value: str | None, *_: object) -> str:
        if not value:
            return ""
        try:
            return _decrypt(value)
        except InvalidToken:
            return Sealed(value)


class EncryptedJSONField(EncryptedTextField):
    """A JSON object, stored encrypted."""

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, SealedHeaders):
            return value.token
        # Not by way of the text field: that would hand the JSON to `to_python` and get a dict back.
        return _encrypt(json.dumps(value, cls=DjangoJSONEncoder) if value else "")

    def from_db_value(self, value: str | None, *args: object) -> Any:
        text = super().from_db_value(value, *args)
        if isinstance(text, Sealed):
            return SealedHeaders(text.token)
        return json.loads(text) if text else {}

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) and value else value or {}
