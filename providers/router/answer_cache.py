"""The emergency answer: what the same caller was told when the same was asked, for a day.

Level 4, when every route has failed, and only where the operator switched it on. Kept in Redis,
encrypted; never across callers. Neither function ever fails or holds a request up.
"""

import json
import logging
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from django.utils import timezone
from django.utils.crypto import salted_hmac

from providers.domain.frozen import frozen
from providers.domain.types import ChatRequest
from providers.infra import feature_flags, redis_client
from providers.infra.encrypted_fields import cipher
from providers.infra.redis_client import RedisUnavailable

log = logging.getLogger(__name__)

KEPT = 24 * 3600  # seconds; an older answer is more likely wrong than useful
LARGEST = 64 * 1024  # characters of an answer
# What says nothing of the question, or of the answer wanted.
_ASIDE = frozenset(
    {
        *("stream", "stream_options", "store", "metadata", "user", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "service_tier"),
    }
)


@frozen
class Earlier:
    """An answer of another time."""

    text: str
    finish_reason: str
    said_at: datetime

    def age(self, now: datetime) -> timedelta:
        return now - self.said_at

    def sentence(self, now: datetime) -> str:
        """What every reader of it must be told."""
        return f"every route failed; this is the answer of {_spoken(self.age(now))} ago"


def caller(user_id: int | None, client_key: int | None) -> str:
    """Whose answers these are; empty where nobody is named, and then nothing is kept."""
    if client_key is not None:
        return f"key:{client_key}"
    return "" if user_id is None else f"user:{user_id}"


async def keep(
    caller: str,
    provider_id: int,
    model_id: str,
    request: ChatRequest,
    text: str,
    finish_reason: str,
) -> None:
    """Keeps a whole answer in words; a cut one, and one that calls tools, must not be repeated."""
    wanted = feature_flags.on("emergency_answers") and caller and finish_reason == "stop"
    if not wanted or not 0 < len(text) <= LARGEST:
        return
    said = {"text": text, "finish_reason": finish_reason, "said_at": timezone.now().isoformat()}
    sealed = cipher().encrypt(json.dumps(said).encode())
    name = _name(caller, provider_id, model_id, request)
    try:
        await redis_client.execute_fast(lambda client: client.set(name, sealed, ex=KEPT))
    except RedisUnavailable:
        log.info("emergency_answer_not_kept")


async def find(
    caller: str, provider_id: int, model_id: str, request: ChatRequest
) -> Earlier | None:
    """The answer that this caller had to the identical request."""
    if not feature_flags.on("emergency_answers") or not caller:
        return None
    name = _name(caller, provider_id, model_id, request)
    try:
        sealed = await redis_client.execute_fast(lambda client: client.get(name))
        said: dict[str, Any] = json.loads(cipher().decrypt(sealed)) if sealed else {}
    except (RedisUnavailable, InvalidToken):  # the second: sealed with a key that is no longer ours
        return None
    if not said:
        return None
    return Earlier(**said | {"said_at": datetime.fromisoformat(said["said_at"])})


def _name(caller: str, provider_id: int, model_id: str, request: ChatRequest) -> str:
    """Equal for identical requests of one caller; it tells nobody what was asked."""
    asked = [caller, provider_id, model_id, _asked(request)]
    text = json.dumps(asked, sort_keys=True, default=str)
    return f"earlier:{salted_hmac('providers.earlier', text, algorithm='sha256').hexdigest()}"


def _asked(request: ChatRequest) -> list[object]:
    options = {name: value for name, value in request.options.items() if name not in _ASIDE}
    return [[asdict(message) for message in request.messages], options]


def _spoken(age: timedelta) -> str:
    minutes = max(1, round(age.total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
