"""Keeps an upload between its preview and its import: in Redis, encrypted, one per person.

It may hold keys, so it is neither in the page nor in the database, and it expires.
"""

import json

from cryptography.fernet import InvalidToken
from redis.exceptions import RedisError

from providers.infra.encrypted_fields import cipher
from providers.infra.redis_client import RedisUnavailable, patient_client

TTL_SECONDS = 1800


def _name(user_id: int) -> str:
    return f"import:{user_id}"


def save(user_id: int, document: object, auth: str) -> None:
    """Raises RedisUnavailable."""
    sealed = cipher().encrypt(json.dumps([document, auth], default=str).encode())
    try:
        patient_client().set(_name(user_id), sealed, ex=TTL_SECONDS)
    except RedisError as exc:
        raise RedisUnavailable from exc


def load(user_id: int) -> tuple[object, str] | None:
    """The upload, or None. Raises RedisUnavailable."""
    try:
        sealed = patient_client().get(_name(user_id))
    except RedisError as exc:
        raise RedisUnavailable from exc
    if not isinstance(sealed, bytes):
        return None
    try:
        document, auth = json.loads(cipher().decrypt(sealed))
    except InvalidToken:
        return None
    return document, auth


def forget(user_id: int) -> None:
    try:
        patient_client().delete(_name(user_id))
    except RedisError:
        return  # it expires
