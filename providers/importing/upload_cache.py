"""An upload between its preview and the yes: in Redis, encrypted, for half an hour, one per person.

It may hold keys, so it is neither in the page nor in the database; whoever waits longer uploads
again.
"""

import json

import redis
from cryptography.fernet import InvalidToken
from django.conf import settings
from redis.exceptions import RedisError

from providers.infra.encrypted_fields import cipher

KEPT = 1800  # seconds
_PATIENCE = 2.0  # seconds; a person waits, and nothing else does


class Away(Exception):
    """Redis is not there to keep it."""


def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
    )


def _name(user_id: int) -> str:
    return f"import:{user_id}"


def keep(user_id: int, document: object, auth: str) -> None:
    """Raises Away."""
    sealed = cipher().encrypt(json.dumps([document, auth], default=str).encode())
    try:
        with _client() as client:
            client.set(_name(user_id), sealed, ex=KEPT)
    except RedisError as exc:
        raise Away from exc


def kept(user_id: int) -> tuple[object, str] | None:
    """What waits, or None. Raises Away."""
    try:
        with _client() as client:
            sealed = client.get(_name(user_id))
    except RedisError as exc:
        raise Away from exc
    if not isinstance(sealed, bytes):
        return None
    try:
        document, auth = json.loads(cipher().decrypt(sealed))
    except InvalidToken:
        return None
    return document, auth


def forget(user_id: int) -> None:
    try:
        with _client() as client:
            client.delete(_name(user_id))
    except RedisError:
        return  # it ends by itself
