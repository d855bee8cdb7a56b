"""Calls at once of a key: in one process, over real Redis, and at the door."""

import random
import threading

import openai
import pytest

from api.errors import ApiError
from api.keys import shared_calls
from api.keys.calls import KeyCalls
from api.models import ClientKey
from providers.infra import replicas
from providers.infra.redis_client import RedisUnavailable
from tests import fakes
from tests.api.conftest import Door
from tests.api.keys.conftest import post
from tests.e2e.site import Site
from tests.polling import until, wait_until

SLOW = {"model": "acme/slow-50-100", "messages": [{"role": "user", "content": "Hello"}]}


def new_id() -> int:
    return random.getrandbits(48)


async def test_a_call_that_ends_makes_room() -> None:
    """As many as the limit, then one for each that ends."""
    calls = KeyCalls(new_id())
    calls.start(2)
    calls.start(2)
    with pytest.raises(ApiError) as refused:
        calls.start(2)
    assert (refused.value.status, refused.value.code) == (429, "too_many_calls")
    assert refused.value.headers == {"retry-after": "1"}
    calls.end()
    calls.start(2)
    assert calls.running == 2


async def test_processes_count_the_calls_of_the_others() -> None:
    """But not their own twice, nor what has ended."""
    key = new_id()
    assert await shared_calls.share(key, 2, "one") == 0
    assert await shared_calls.share(key, 1, "two") == 2
    assert await shared_calls.share(key, 3, "one") == 1
    assert await shared_calls.share(key, 0, "two") == 3
    assert await shared_calls.share(key, 3, "one") == 0


async def test_calls_elsewhere_count_until_they_end() -> None:
    """A refused request reads the numbers again, so the next one finds the room."""
    key = new_id()
    await shared_calls.share(key, 1, "another")
    calls = KeyCalls(key)
    calls.start(2)
    await until(lambda: calls.others == 1)
    with pytest.raises(ApiError):
        calls.start(2)
    await shared_calls.share(key, 0, "another")
    with pytest.raises(ApiError):
        calls.start(2)
    await until(lambda: calls.others == 0)
    calls.start(2)


async def test_without_redis_a_process_counts_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knew of others is forgotten."""

    async def fail(key_id: int, calls: int) -> int:
        raise RedisUnavailable

    monkeypatch.setattr(shared_calls, "share", fail)
    calls = KeyCalls(new_id())
    calls.others = 1
    with pytest.raises(ApiError):
        calls.start(1)
    await until(lambda: calls.others == 0)
    calls.start(1)


def test_a_limit_holds_at_every_process(door: Door, fake: fakes.Upstream, other_web: Site) -> None:
    """While a call is under way the next is 429; when its client leaves, there is room again."""
    door.serve("slow-50-100", "echo", base_url=fake.url, gateway_endpoint=fake.url)
    wait_until(lambda: post(other_web.url, door.secret).status_code == 200)
    ClientKey.objects.filter(pk=door.key.pk).update(calls_at_once=1)
    replicas.publish("keys")
    client, stop = door.client(), threading.Event()

    def keep_calling() -> None:
        while not stop.is_set():
            try:
                list(client.chat.completions.create(**SLOW, stream=True))  # type: ignore[call-overload]
            except openai.RateLimitError:
                stop.wait(0.05)

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        for url in (door.site.url, other_web.url):
            wait_until(lambda url=url: post(url, door.secret).status_code == 429)  # type: ignore[misc]
        refused = post(door.site.url, door.secret)
        assert refused.json()["error"]["code"] == "too_many_calls"
        assert refused.headers["retry-after"] == "1"
    finally:
        stop.set()
        caller.join()
    for url in (door.site.url, other_web.url):
        wait_until(lambda url=url: post(url, door.secret).status_code == 200)  # type: ignore[misc]
