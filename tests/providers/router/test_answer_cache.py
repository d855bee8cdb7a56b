"""The emergency answer: the same caller's, to the same question, for a day, and only if wanted."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from cryptography.fernet import Fernet
from django.conf import settings as real_settings
from django.utils import timezone
from pytest_django import Settings

from providers.domain.types import ChatMessage, ChatRequest
from providers.router import answer_cache
from providers.router.answer_cache import Earlier

ME = answer_cache.caller(7, None)
MESSAGE = ChatMessage(role="user", content="What is the capital of France?")
ASKED = ChatRequest(messages=(MESSAGE,), options={"temperature": 0, "stream": True})


@pytest.fixture(autouse=True)
def switched_on(settings: Settings) -> None:
    settings.EMERGENCY_ANSWERS = True
    with redis.Redis.from_url(real_settings.REDIS_URL) as client:
        for key in client.scan_iter("earlier:*"):
            client.delete(key)


async def kept(text: str = "Paris.", finish_reason: str = "stop", caller: str = ME) -> None:
    await answer_cache.keep(caller, 1, "m", ASKED, text, finish_reason)


async def found(caller: str = ME, request: ChatRequest = ASKED, model: str = "m") -> str | None:
    answer = await answer_cache.find(caller, 1, model, request)
    return answer.text if answer else None


async def test_it_works() -> None:
    """With its words and its time."""
    await kept()
    answer = await answer_cache.find(ME, 1, "m", ASKED)
    assert answer is not None
    assert (answer.text, answer.finish_reason) == ("Paris.", "stop")
    assert answer.age(timezone.now()) < timedelta(seconds=5)


async def test_nothing_is_kept_or_found_where_it_is_off(settings: Settings) -> None:
    """Which is the default."""
    assert real_settings.ENV.emergency_answers is None
    settings.EMERGENCY_ANSWERS = False
    await kept()
    settings.EMERGENCY_ANSWERS = True
    assert await found() is None
    await kept()
    settings.EMERGENCY_ANSWERS = False
    assert await found() is None


async def test_it_never_crosses_callers() -> None:
    """Nor from a person to one of their keys; who is nobody has none."""
    await kept()
    for other in (
        answer_cache.caller(8, None),
        answer_cache.caller(7, 7),
        answer_cache.caller(None, None),
    ):
        assert await found(caller=other) is None
    await kept(caller="")
    assert await found(caller="") is None


async def test_only_the_identical_question_finds_it() -> None:
    """Another model, word or temperature is another question; how it is sent is not."""
    await kept()
    assert await found(model="n") is None
    assert await found(request=replace(ASKED, messages=(MESSAGE, MESSAGE))) is None
    assert await found(request=replace(ASKED, options={"temperature": 1})) is None
    differently_sent = {"temperature": 0, "stream": False, "user": "x"}
    assert await found(request=replace(ASKED, options=differently_sent)) == "Paris."


@pytest.mark.parametrize(
    ("text", "finish_reason"),
    [
        ("Par", "length"),
        ("", "stop"),
        ("", "tool_calls"),
        ("x" * (answer_cache.LARGEST + 1), "stop"),
    ],
)
async def test_only_a_whole_answer_in_words_is_kept(text: str, finish_reason: str) -> None:
    """A cut one is none; a tool is not to be called again; memory is bounded."""
    await kept(text, finish_reason)
    assert await found() is None


async def test_what_is_stored_says_nothing_and_ends_by_itself(settings: Settings) -> None:
    """Neither question, nor answer, nor caller; without the key it is not there."""
    await kept()
    with redis.Redis.from_url(real_settings.REDIS_URL, decode_responses=True) as client:
        (name,) = list(client.scan_iter("earlier:*"))
        assert 0 < int(str(client.ttl(name))) <= answer_cache.KEPT
        stored = f"{name} {client.get(name)}"
    for secret in ("Paris", "France", "user:7"):
        assert secret not in stored
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert await found() is None


async def test_without_redis_there_is_none_at_once(settings: Settings) -> None:
    """And keeping one is no error."""
    settings.REDIS_URL = "redis://10.255.255.1:6379"
    began = time.monotonic()
    await kept()
    assert await found() is None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("age", "words"), [(20, "1 min"), (900, "15 min"), (3 * 3600, "3 h"), (86400, "24 h")]
)
def test_it_says_how_old_it_is(age: int, words: str) -> None:
    """Every reader must be told."""
    now = timezone.now()
    answer = Earlier(text="x", finish_reason="stop", said_at=now - timedelta(seconds=age))
    assert answer.sentence(now) == f"every route failed; this is the answer of {words} ago"
