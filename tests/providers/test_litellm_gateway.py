"""Our own gateway process, started as it runs, in front of the fake upstream."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

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
from tests.upstreams.fixtures import GatewayProcess

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
    with pytest.raises(CallError):
        await events(asking(target, model, "anthropic"))
