"""Cache answers for a day, to serve one where every route fails (stale-if-error, RFC 5861).

Only where the operator has switched it on, and never across callers: a cached answer is served to
the caller who got it, for the identical request. Redis stores it encrypted. Without Redis there is
no cached answer; no function here raises, or delays a request.
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

CACHE_SECONDS = 24 * 3600  # an older answer is more likely wrong than useful
MAX_CHARACTERS = 64 * 1024  # of an answer
# Options that change neither the question nor the answer.
_IGNORED_OPTIONS = frozenset(
    {
        *("stream", "stream_options", "store", "metadata", "user", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "service_tier"),
    }
)


@frozen
class CachedAnswer:
    """An answer that its caller got earlier."""

    text: str
    finish_reason: str
    answered_at: datetime

    def age(self, now: datetime) -> timedelta:
        return now - self.answered_at

    def reason(self, now: datetime) -> str:
        """Why this answer is served, and its age; shown to every reader of it."""
        return f"every route failed; this is a cached answer from {_in_words(self.age(now))} ago"


def caller(user_id: int | None, client_key: int | None) -> str:
    """Identify whose answers these are; empty for an unknown caller, who has none."""
    if client_key is not None:
        return f"key:{client_key}"
    return "" if user_id is None else f"user:{user_id}"


async def store(
    caller: str,
    provider_id: int,
    model_id: str,
    request: ChatRequest,
    text: str,
    finish_reason: str,
) -> None:
    """Cache a complete answer in text; one that was cut, or calls tools, must not be repeated."""
    cacheable = finish_reason == "stop" and 0 < len(text) <= MAX_CHARACTERS
    if not cacheable or not caller or not feature_flags.is_enabled("emergency_answers"):
        return
    answer = {
        "text": text,
        "finish_reason": finish_reason,
        "answered_at": timezone.now().isoformat(),
    }
    encrypted = cipher().encrypt(json.dumps(answer).encode())
    name = _key_name(caller, provider_id, model_id, request)
    try:
        await redis_client.execute_fast(
            lambda client: client.set(name, encrypted, ex=CACHE_SECONDS)
        )
    except RedisUnavailable:
        log.info("answer_not_cached")


async def find(
    caller: str, provider_id: int, model_id: str, request: ChatRequest
) -> CachedAnswer | None:
    """The cached answer of this caller to the identical request."""
    if not feature_flags.is_enabled("emergency_answers") or not caller:
        return None
    name = _key_name(caller, provider_id, model_id, request)
    try:
        encrypted = await redis_client.execute_fast(lambda client: client.get(name))
        fields: dict[str, Any] = json.loads(cipher().decrypt(encrypted)) if encrypted else {}
    except (RedisUnavailable, InvalidToken):  # the second: its encryption key is gone
        return None
    if not fields:
        return None
    return CachedAnswer(
        text=fields["text"],
        finish_reason=fields["finish_reason"],
        answered_at=datetime.fromisoformat(fields["answered_at"]),
    )


def _key_name(caller: str, provider_id: int, model_id: str, request: ChatRequest) -> str:
    """The key in Redis: equal for identical requests of one caller, and revealing none of them."""
    parts = [caller, provider_id, model_id, _question(request)]
    text = json.dumps(parts, sort_keys=True, default=str)
    digest = salted_hmac("providers.earlier", text, algorithm="sha256").hexdigest()
    return f"cached-answer:{digest}"


def _question(request: ChatRequest) -> list[object]:
    options = {
        name: value for name, value in request.options.items() if name not in _IGNORED_OPTIONS
    }
    # What a translation leaves out makes a difference too.
    native = request.native.fields if request.native else None
    return [[asdict(message) for message in request.messages], options, native]


def _in_words(age: timedelta) -> str:
    minutes = max(1, round(age.total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
