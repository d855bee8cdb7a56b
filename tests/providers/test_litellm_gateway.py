"""Our own gateway process, started as it runs, in front of the fake upstream."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from providers import gateway, http
from providers.errors import CallError, ErrorKind, GatewayError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Kind,
    Method,
    Target,
    TextDelta,
    Timeouts,
    Upstream,
    UsageReport,
)
from tests import fakes
from tests.upstreams.fixtures import GatewayProcess, free_port

ASKED = ChatRequest(messages=(ChatMessage(role="user", content="hello world"),))


@pytest.fixture
def target(gateway_process: GatewayProcess, fake: fakes.Upstream, settings: Settings) -> Target:
    settings.GATEWAY_URL = gateway_process.url
    settings.GATEWAY_TOKEN = gateway_process.token
    return Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=gateway_process.url,
        api_key=gateway_process.token,
        model="echo",
        timeouts=Timeouts(connect=5, first_token=20, silence=20, total=60),
        upstream=Upstream(litellm_model="openai/echo", base_url=fake.url, api_key=fakes.KEY),
    )


def asking(target: Target, model: str, prefix: str = "openai", **upstream: Any) -> Target:
    assert target.upstream is not None
    changed = replace(target.upstream, litellm_model=f"{prefix}/{model}", **upstream)
    return replace(target, model=model, upstream=changed)


async def events(target: Target) -> list[ClientEvent]:
    try:
        async with aclosing(gateway.stream(target, ASKED)) as stream:
            return [event async for event in stream]
    finally:
        await http.close()


def text(found: list[ClientEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, TextDelta))


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_an_answer_comes_through_litellm(target: Target, prefix: str) -> None:
    """Text, finish reason and usage, from either wire format."""
    found = await events(asking(target, "echo", prefix))
    assert text(found) == "hello world"
    assert Finish(reason="stop") in found
    assert any(isinstance(event, UsageReport) for event in found)


async def test_a_long_answer_arrives_exactly(target: Target) -> None:
    """Markdown in pieces that cut words, whole at the end."""
    assert text(await events(asking(target, "markdown"))) == fakes.MARKDOWN


@pytest.mark.parametrize(
    ("model", "kind", "status", "code"),
    [
        ("400", ErrorKind.REQUEST, 400, "invalid_value"),
        ("401", ErrorKind.AUTH, 401, None),
        ("402", ErrorKind.QUOTA, 402, None),
        ("429", ErrorKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
        ("500", ErrorKind.PROVIDER, 500, None),
        ("503", ErrorKind.OVERLOADED, 503, None),
        ("error-in-200", ErrorKind.PROVIDER, None, None),
        ("garbage", ErrorKind.PROVIDER, None, None),
        ("html", ErrorKind.PROVIDER, None, None),
        ("empty", ErrorKind.PROVIDER, None, "empty"),
        ("truncated", ErrorKind.PROVIDER, None, "truncated"),
        ("cut-mid", ErrorKind.NETWORK, None, "cut"),
        ("error-mid", ErrorKind.PROVIDER, None, None),
        ("reset", ErrorKind.NETWORK, None, "reset"),
    ],
)
async def test_the_providers_failures_keep_their_kind(
    target: Target, model: str, kind: ErrorKind, status: int | None, code: str | None
) -> None:
    """A cut stream is no `stop`, and a refused key is the provider's, not the gateway's."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, model))
    error = caught.value
    assert (type(error) is GatewayError, error.kind) == (False, kind)
    assert status is None or error.status == status
    assert code is None or error.code == code


async def test_a_zai_code_comes_through(target: Target, fake: fakes.Upstream) -> None:
    """It alone tells a wrong address from a rate limit."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "zai", base_url=f"{fake.origin}/api/paas/v4"))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.QUOTA, "1113")


async def test_retry_after_comes_through(target: Target) -> None:
    """In seconds."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "429"))
    assert caught.value.retry_after == 2


async def test_an_unreachable_provider_is_no_failure_of_the_gateway(target: Target) -> None:
    """LiteLLM calls it a 500; the chain of causes knows better."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    with pytest.raises(CallError) as caught:
        await events(asking(target, "echo", base_url=nowhere))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.NETWORK, "connect_refused")


async def test_a_dead_gateway_is_the_gateways_failure(target: Target) -> None:
    """So that only its route suffers."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}"
    with pytest.raises(GatewayError):
        await events(replace(target, base_url=nowhere))


async def test_only_this_instance_may_use_the_gateway(target: Target) -> None:
    """The token is made at each start."""
    with pytest.raises(GatewayError):
        await events(replace(target, api_key="guessed"))
    with pytest.raises(GatewayError):
        await events(replace(target, api_key=""))


async def test_the_reader_leaving_closes_the_upstreams_connection(
    target: Target, fake: fakes.Upstream
) -> None:
    """Within a second, through two processes."""
    async with aclosing(gateway.stream(asking(target, "slow-1000-20"), ASKED)) as stream:
        async for _ in stream:
            break
    async with asyncio.timeout(1):
        await fakes.until(lambda: fake.requests[-1].disconnected_at)
    await http.close()


async def test_the_catalogue_comes_over_the_same_road(target: Target, fake: fakes.Upstream) -> None:
    """LiteLLM has no call for it."""
    found = await gateway.list_models(target)
    await http.close()
    assert [model.model_id for model in found] == fake.models


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_the_address_guard_holds_behind_litellm_too(target: Target, prefix: str) -> None:
    """A cloud's metadata is not read over this road either."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "echo", prefix, base_url="http://169.254.169.254/v1"))
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize("model", ["truncated", "truncated-at-once", "cut-mid", "error-mid"])
async def test_an_anthropic_stream_that_breaks_is_no_good_end(target: Target, model: str) -> None:
    """LiteLLM would end it with `stop`."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, model, "anthropic"))
    wanted = ErrorKind.NETWORK if model == "cut-mid" else ErrorKind.PROVIDER
    assert caught.value.kind == wanted


# Runs in a process of its own: litellm is never imported into this one.
WALK = """
import inspect, json, os, sys
import django, httpx
django.setup()
from providers import litellm_gateway
litellm = litellm_gateway._imported()
statuses = {"PermissionDeniedError": 403, "UnprocessableEntityError": 422}
asked = httpx.Request("POST", "http://x")
given = {"status_code": 500, "request": asked, "current_cost": 1.0,
         "max_budget": 1.0, "failures": [], "original_exception": None}
found = {}
for name, kind in vars(litellm.exceptions).items():
    if not (inspect.isclass(kind) and issubclass(kind, Exception)):
        continue
    given["response"] = httpx.Response(statuses.get(name, 500), request=asked)
    plain = "__init__" not in "".join(str(vars(c).keys()) for c in kind.__mro__[:-3])
    wanted = () if plain else inspect.signature(kind).parameters.values()
    made = kind(**{
        p.name: given.get(p.name, "x") for p in wanted
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    })
    found[name] = str(litellm_gateway.call_error(made).kind)
print(json.dumps(found))
"""
KINDS = {
    "AuthenticationError": ErrorKind.AUTH,
    "PermissionDeniedError": ErrorKind.AUTH,
    "RateLimitError": ErrorKind.RATE_LIMIT,
    "BadRequestError": ErrorKind.REQUEST,
    "NotFoundError": ErrorKind.REQUEST,
    "ContextWindowExceededError": ErrorKind.REQUEST,
    "ContentPolicyViolationError": ErrorKind.REQUEST,
    "UnsupportedParamsError": ErrorKind.REQUEST,
    "UnprocessableEntityError": ErrorKind.REQUEST,
    "Timeout": ErrorKind.TIMEOUT,
    "InternalServerError": ErrorKind.PROVIDER,
    "BadGatewayError": ErrorKind.PROVIDER,
    "APIError": ErrorKind.PROVIDER,
    "APIConnectionError": ErrorKind.PROVIDER,
    "APIResponseValidationError": ErrorKind.PROVIDER,
    "ServiceUnavailableError": ErrorKind.OVERLOADED,
    "PaymentRequiredError": ErrorKind.QUOTA,
    "OpenAIError": ErrorKind.GATEWAY,
}


def test_every_exception_class_of_litellm_is_sorted() -> None:
    """What says no status is LiteLLM's own failure, and then the gateway's."""
    walked = subprocess.run(
        [sys.executable, "-c", WALK], capture_output=True, text=True, timeout=60, check=False
    )
    assert walked.returncode == 0, walked.stderr[-2000:]
    found = json.loads(walked.stdout.splitlines()[-1])
    assert {name: found.get(name) for name in KINDS} == KINDS
    assert len(found) > len(KINDS)
    assert set(found.values()) <= set(ErrorKind)


def test_the_process_is_up_at_once_and_ends_at_once() -> None:
    """Before LiteLLM is there it says so; an open answer does not hold it back."""
    url = f"http://127.0.0.1:{free_port()}"
    token = "a-token-of-this-test"
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "gateway"],
        env={**os.environ, "GATEWAY_URL": url, "GATEWAY_TOKEN": token},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    states = []
    with fakes.Upstream() as upstream, httpx.Client(trust_env=False, timeout=5) as client:
        while "ready" not in states and time.monotonic() - began < 60:
            try:
                states.append(client.get(f"{url}/healthz").json()["status"])
            except httpx.TransportError:
                time.sleep(0.05)
        assert states[0] == "loading"
        behind = {"litellm_model": "openai/stall-mid", "base_url": upstream.url}
        body = {"messages": [{"role": "user", "content": "x"}]}
        body |= {"upstream": behind | {"api_key": fakes.KEY}}  # type: ignore[dict-item]
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{url}/v1/chat/completions"
        with client.stream("POST", path, json=body, headers=headers) as answer:
            next(answer.iter_lines())
            stopping = time.monotonic()
            process.terminate()
            process.wait(10)
            assert time.monotonic() - stopping < 4
        upstream.wait(lambda: upstream.requests[0].disconnected_at, 2)


def test_without_a_token_the_process_does_not_start() -> None:
    """One sentence names the variable and shows an example."""
    refused = subprocess.run(
        [sys.executable, "manage.py", "gateway"],
        env={**os.environ, "GATEWAY_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert refused.returncode != 0
    assert "GATEWAY_TOKEN is not set" in refused.stderr
    assert "Traceback" not in refused.stderr
