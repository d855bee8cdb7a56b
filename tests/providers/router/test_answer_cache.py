"""Cached answers: for the same caller and the same request, for a day, only where enabled."""

import socket
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from cryptography.fernet import Fernet
from django.conf import settings as real_settings
from django.utils import timezone
from pytest_django import Settings

from providers.domain.native_body import BodyFormat, NativeBody
from providers.domain.types import ChatMessage, ChatRequest
from providers.router import answer_cache
from providers.router.answer_cache import CachedAnswer

ME = answer_cache.caller(7, None)
MESSAGE = ChatMessage(role="user", content="What is the capital of France?")
ASKED = ChatRequest(messages=(MESSAGE,), options={"temperature": 0, "stream": True})


@pytest.fixture(autouse=True)
def switched_on(settings: Settings) -> None:
    settings.EMERGENCY_ANSWERS = True
    with redis.Redis.from_url(real_settings.REDIS_URL) as client:
        for key in client.scan_iter("cached-answer:*"):
            client.delete(key)


async def store(text: str = "Paris.", finish_reason: str = "stop", caller: str = ME) -> None:
    await answer_cache.store(caller, 1, "m", ASKED, text, finish_reason)


async def find(caller: str = ME, request: ChatRequest = ASKED, model: str = "m") -> str | None:
    answer = await answer_cache.find(caller, 1, model, request)
    return answer.text if answer else None


async def test_finds_the_stored_answer() -> None:
    """With its text and its time."""
    await store()
    answer = await answer_cache.find(ME, 1, "m", ASKED)
    assert answer is not None
    assert (answer.text, answer.finish_reason) == ("Paris.", "stop")
    assert answer.age(timezone.now()) < timedelta(seconds=5)


async def test_stores_and_finds_nothing_where_disabled(settings: Settings) -> None:
    """Which is the default."""
    assert real_settings.ENV.emergency_answers is None
    settings.EMERGENCY_ANSWERS = False
    await store()
    settings.EMERGENCY_ANSWERS = True
    assert await find() is None
    await store()
    settings.EMERGENCY_ANSWERS = False
    assert await find() is None


async def test_never_serves_another_caller() -> None:
    """Nor from a person to one of their keys; who is nobody has none."""
    await store()
    for other in (
        answer_cache.caller(8, None),
        answer_cache.caller(7, 7),
        answer_cache.caller(None, None),
    ):
        assert await find(caller=other) is None
    await store(caller="")
    assert await find(caller="") is None


async def test_requests_that_differ_only_in_what_is_not_translated_differ() -> None:
    """Such as blocks that only Anthropic's own API understands."""
    first, second = (
        replace(ASKED, native=NativeBody(format=BodyFormat.MESSAGES, fields={"container": name}))
        for name in ("a", "b")
    )
    await answer_cache.store(ME, 1, "m", first, "Paris.", "stop")
    assert await find(request=second) is None
    assert await find(request=first) == "Paris."


async def test_finds_only_for_the_identical_request() -> None:
    """Another model, word or temperature is another question; how it is sent is not."""
    await store()
    assert await find(model="n") is None
    assert await find(request=replace(ASKED, messages=(MESSAGE, MESSAGE))) is None
    assert await find(request=replace(ASKED, options={"temperature": 1})) is None
    differently_sent = {"temperature": 0, "stream": False, "user": "x"}
    assert await find(request=replace(ASKED, options=differently_sent)) == "Paris."


@pytest.mark.parametrize(
    ("text", "finish_reason"),
    [
        ("Par", "length"),
        ("", "stop"),
        ("", "tool_calls"),
        ("x" * (answer_cache.MAX_CHARACTERS + 1), "stop"),
    ],
)
async def test_stores_only_complete_answers_in_text(text: str, finish_reason: str) -> None:
    """A cut one is none; a tool is not to be called again; memory is bounded."""
    await store(text, finish_reason)
    assert await find() is None


async def test_stores_encrypted_and_with_an_expiry(settings: Settings) -> None:
    """Neither question, nor answer, nor caller; without the key it is not there."""
    await store()
    with redis.Redis.from_url(real_settings.REDIS_URL, decode_responses=True) as client:
        (name,) = list(client.scan_iter("cached-answer:*"))
        assert 0 < int(str(client.ttl(name))) <= answer_cache.CACHE_SECONDS
        stored = f"{name} {client.get(name)}"
    for secret in ("Paris", "France", "user:7"):
        assert secret not in stored
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert await find() is None


async def test_finds_none_where_redis_does_not_answer(settings: Settings) -> None:
    """And storing one is no error."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        await store()
        assert await find() is None


@pytest.mark.parametrize(
    ("age", "words"), [(20, "1 min"), (900, "15 min"), (3 * 3600, "3 h"), (86400, "24 h")]
)
def test_states_its_age(age: int, words: str) -> None:
    """Every reader sees it."""
    now = timezone.now()
    answer = CachedAnswer(text="x", finish_reason="stop", answered_at=now - timedelta(seconds=age))
    assert answer.reason(now) == f"every route failed; this is a cached answer from {words} ago"
