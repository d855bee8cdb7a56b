"""Limits at the door, over real Redis: refusals, headers, and one limit for two web processes."""

import asyncio
import random

import anthropic
import openai
import pytest

from api.errors import ApiError
from api.keys import shared_bucket
from api.keys.enforcement import Admission, KeyLimiter, KeyLimits
from api.keys.limits import Rate, TokenBucket
from api.models import ClientKey
from providers.infra import replicas
from providers.models import Provider
from tests.api.conftest import Door
from tests.api.keys.conftest import HELLO, post
from tests.e2e.site import Site
from tests.polling import until, wait_until


def limit(door: Door, **limits: int) -> None:
    """Limit the key, until the process knows."""
    ClientKey.objects.filter(pk=door.key.pk).update(**limits)
    replicas.publish("keys")
    name = f"x-ratelimit-limit-{next(iter(limits)).partition('_')[0]}"
    wait_until(lambda: name in post(door.site.url, door.secret, model="none").headers)


async def test_redis_takes_as_the_pure_bucket_does() -> None:
    """The script and the value decide alike; each take is a moment apart from the last."""
    rate = Rate(per_minute=0.001)  # which refills nothing meanwhile
    name, pure = f"test-{random.getrandbits(64)}", TokenBucket(rate, rate.per_minute, 0.0)
    for spent, wanted in [(0, 1), (-2, 3), (5.5, 0), (-3.25, 9), (1, 1)]:
        grant = await shared_bucket.take(name, rate, spent, wanted)
        expected = pure.take(0.0, spent, wanted)
        assert grant.tokens == expected.tokens
        assert grant.level == pytest.approx(expected.level, abs=0.001)
        assert grant.processes >= 1


async def test_a_burst_gets_the_limit_and_no_more() -> None:
    """At once in one process: those who wait for the lease are served by it."""
    limiter = KeyLimiter(random.getrandbits(48), KeyLimits(requests=30), lambda: 0)
    requests = (Admission(limiter).count_request() for _ in range(60))
    results = await asyncio.gather(*requests, return_exceptions=True)
    refused = [each for each in results if isinstance(each, ApiError)]
    assert 30 <= len(results) - len(refused) <= 31
    assert {each.status for each in refused} == {429}


async def test_tokens_are_corrected_by_what_was_used() -> None:
    """A small input with a large answer is paid for by the requests after it."""
    used = 0
    limiter = KeyLimiter(random.getrandbits(48), KeyLimits(tokens=1000), lambda: used)
    admission = Admission(limiter)
    await admission.reserve_tokens(10)
    used = 3000
    admission.release()
    await until(lambda: limiter.tokens and limiter.tokens.lease.left >= 0)
    with pytest.raises(ApiError) as refused:
        await Admission(limiter).reserve_tokens(10)
    assert int(refused.value.headers["retry-after"]) > 60


async def test_an_estimate_that_was_not_used_is_returned() -> None:
    """A request that failed costs no tokens."""
    limiter = KeyLimiter(random.getrandbits(48), KeyLimits(tokens=1000), lambda: 0)
    for _ in range(20):
        admission = Admission(limiter)
        await admission.reserve_tokens(900)
        admission.release()


def test_a_refusal_has_its_wait_and_its_headers(door: Door, acme: Provider) -> None:
    """As OpenAI's package reads them; what is left is counted down on success."""
    limit(door, requests_per_minute=3)
    client = door.client()
    remaining: list[int] = []

    def call_until_refused() -> None:
        while True:
            answer = client.chat.completions.with_raw_response.create(**HELLO)  # type: ignore[call-overload]
            remaining.append(int(answer.headers["x-ratelimit-remaining-requests"]))

    with pytest.raises(openai.RateLimitError) as refused:
        call_until_refused()
    assert len(remaining) <= 3
    assert remaining == sorted(remaining, reverse=True)
    headers = refused.value.response.headers
    assert 0 < int(headers["retry-after"]) <= 20
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.value.code == "rate_limit_exceeded"


def test_a_file_takes_no_tokens_of_the_limit(door: Door, acme: Provider) -> None:
    """Its bytes are no text: a second of sound would hold up all other requests of the key."""
    limit(door, tokens_per_minute=1000)
    with door.raw() as client:
        files = {"file": ("a.wav", b"x" * 100_000, "audio/wav")}
        answer = client.post("/audio/transcriptions", files=files, data={"model": "acme/echo"})
    assert answer.status_code == 200
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 900


def test_anthropics_clients_get_their_names(door: Door, acme: Provider) -> None:
    """The same limit at every door; counting tokens is free."""
    limit(door, requests_per_minute=2)
    client = anthropic.Anthropic(base_url=door.site.url, api_key=door.secret, max_retries=0)
    message = {"model": "acme/echo", "messages": [{"role": "user", "content": "Hi"}]}

    def call_until_refused() -> None:
        while True:
            client.messages.create(max_tokens=9, **message)  # type: ignore[call-overload]

    with pytest.raises(anthropic.RateLimitError) as refused:
        call_until_refused()
    assert refused.value.response.headers["anthropic-ratelimit-requests-limit"] == "2"
    assert refused.value.type == "rate_limit_error"
    assert client.messages.count_tokens(**message).input_tokens > 0  # type: ignore[arg-type]


def test_a_limit_holds_over_two_processes(door: Door, acme: Provider, other_web: Site) -> None:
    """Each may be one request ahead of the shared bucket."""
    sites = [door.site, other_web]
    wait_until(lambda: post(other_web.url, door.secret).status_code == 200)
    limit(door, requests_per_minute=10)
    wait_until(lambda: "x-ratelimit-limit-requests" in post(other_web.url, door.secret).headers)
    statuses = [post(sites[n % 2].url, door.secret).status_code for n in range(30)]
    assert statuses.count(200) <= 10 + len(sites)
    assert statuses[-2:] == [429, 429]


def test_a_key_without_limits_has_no_such_headers(door: Door, acme: Provider) -> None:
    """It is not counted at all."""
    answer = post(door.site.url, door.secret)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "ratelimit" in name]
