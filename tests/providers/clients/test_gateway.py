"""Through a real LiteLLM proxy: whose failure is whose; and a real model over every route."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from providers.clients import direct, gateway
from providers.domain.errors import CallError, ErrorKind, GatewayError
from providers.domain.types import (
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
from tests.polling import until
from tests.upstreams.fixtures import NOWHERE, GatewayProcess
from tests.upstreams.litellm_proxy import Proxy
from tests.upstreams.model_server import ModelServer

PATIENT = Timeouts(connect=2, first_token=30, silence=30, total=60)


def asked(text: str = "hello wide world", **options: object) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), options=options)


def through(url: str, key: str, model: str) -> Target:
    return Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=url,
        api_key=key,
        model=model,
        timeouts=PATIENT,
    )


async def collected(stream: AsyncGenerator[list[ClientEvent]]) -> list[ClientEvent]:
    async with aclosing(stream) as reads:
        return [event async for events in reads for event in events]


async def failure(target: Target) -> CallError:
    with pytest.raises(CallError) as caught:
        await collected(gateway.stream(target, asked()))
    return caught.value


def text(events: list[ClientEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.proxy
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_an_answer_comes_through_the_proxy(litellm_proxy: Proxy, suffix: str) -> None:
    """Whether its address was entered with /v1 or without; with usage and finish reason."""
    target = through(litellm_proxy.url.removesuffix("/v1") + suffix, litellm_proxy.key, "markdown")
    events = await collected(gateway.stream(target, asked()))
    assert text(events) == fakes.MARKDOWN
    assert [e.reason for e in events if isinstance(e, Finish)] == ["stop"]
    assert any(isinstance(e, UsageReport) and e.usage.output_tokens for e in events)


@pytest.mark.proxy
@pytest.mark.parametrize(
    ("model", "kind", "status", "words"),
    [
        ("401", ErrorKind.AUTH, 401, "Incorrect API key provided."),
        ("402", ErrorKind.QUOTA, 402, "Insufficient credits."),
        ("429", ErrorKind.RATE_LIMIT, 429, "Rate limit reached"),
        ("400", ErrorKind.REQUEST, 400, "max_tokens is too large."),
        ("500", ErrorKind.PROVIDER, 500, "The server had an error."),
        ("503", ErrorKind.OVERLOADED, 503, "The engine is overloaded"),
        ("error-in-200", ErrorKind.PROVIDER, 500, "The model broke down"),
        ("error-mid", ErrorKind.PROVIDER, 500, "The model broke down"),
        ("html", ErrorKind.PROVIDER, None, "The answer was empty."),
        ("reset", ErrorKind.NETWORK, 500, "The gateway could not reach the provider."),
        (NOWHERE, ErrorKind.NETWORK, 500, "The gateway could not reach the provider."),
    ],
)
async def test_the_providers_failures_stay_the_providers(
    litellm_proxy: Proxy, model: str, kind: ErrorKind, status: int | None, words: str
) -> None:
    """With the status it gave and in its own words, without LiteLLM's around them."""
    error = await failure(through(litellm_proxy.url, litellm_proxy.key, model))
    assert (error.kind, error.status) == (kind, status)
    assert error.message.startswith(words)
    assert "litellm" not in error.message.lower()


@pytest.mark.proxy
async def test_retry_after_comes_through_the_proxy(litellm_proxy: Proxy) -> None:
    """LiteLLM renames the header."""
    error = await failure(through(litellm_proxy.url, litellm_proxy.key, "429"))
    assert error.retry_after == 2


@pytest.mark.proxy
@pytest.mark.parametrize(
    ("key", "model", "status"),
    [("wrong", "echo", 400), ("", "echo", 500), (None, "no-such-model", 404)],
)
async def test_the_proxys_own_refusals_are_its_own(
    litellm_proxy: Proxy, key: str | None, model: str, status: int
) -> None:
    """Its key, and the models that it does not serve: the direct route may know better."""
    error = await failure(
        through(litellm_proxy.url, litellm_proxy.key if key is None else key, model)
    )
    assert isinstance(error, GatewayError)
    assert error.status == status


@pytest.mark.proxy
async def test_the_proxy_lists_what_it_serves(litellm_proxy: Proxy) -> None:
    """With its own key alone."""
    found = await gateway.list_models(through(litellm_proxy.url, litellm_proxy.key, ""))
    assert {"echo", NOWHERE} <= {model.model_id for model in found}
    with pytest.raises(GatewayError):
        await gateway.list_models(through(litellm_proxy.url, "wrong", ""))


@pytest.mark.proxy
async def test_leaving_closes_the_connection_behind_the_proxy(
    litellm_proxy: Proxy, fake: fakes.Upstream
) -> None:
    """In the middle of the answer."""
    target = through(litellm_proxy.url, litellm_proxy.key, "slow-500-20")
    async with aclosing(gateway.stream(target, asked())) as events:
        await anext(events)
    await until(lambda: fake.requests[0].disconnected_at)


async def test_an_endpoint_that_is_away_is_the_gateways_failure() -> None:
    """Only the gateway's route suffers from it."""
    error = await failure(through(f"http://127.0.0.1:{fakes.refusing_port()}", "k", "echo"))
    assert isinstance(error, GatewayError)
    assert (error.code, error.status) == ("connect_refused", None)


@pytest.mark.parametrize("behaviour", ["401", "500", "503", "html"])
async def test_what_no_provider_said_is_the_gateways_failure(
    fake: fakes.Upstream, behaviour: str
) -> None:
    """A proxy marks what it passes on; the fake, here in its place, does not."""
    error = await failure(through(fake.url, fakes.KEY, behaviour))
    assert isinstance(error, GatewayError)


async def route(
    method: str, server: ModelServer, proxy: Proxy, process: GatewayProcess
) -> list[ClientEvent]:
    """One question to the real model."""
    question = asked("Which city is the capital of France?", max_tokens=24)
    plain = through(server.url, server.key, server.model)
    if method == "direct":
        return await collected(direct.stream(replace(plain, method=Method.DIRECT), question))
    if method == "proxy":
        target = through(proxy.url, proxy.key, server.model)
        return await collected(gateway.stream(target, question))
    upstream = Upstream(
        litellm_model=f"openai/{server.model}", base_url=server.url, api_key=server.key
    )
    own = replace(plain, base_url=process.url, api_key=process.token, upstream=upstream)
    return await collected(gateway.stream(own, question))


@pytest.mark.model
@pytest.mark.proxy
@pytest.mark.parametrize("method", ["direct", "proxy", "process"])
async def test_a_real_model_answers_over_every_route(
    model_server: ModelServer, litellm_proxy: Proxy, gateway_process: GatewayProcess, method: str
) -> None:
    """Direct, through a real LiteLLM proxy, through the gateway process."""
    events = await route(method, model_server, litellm_proxy, gateway_process)
    assert "Paris" in text(events)
    assert [e.reason for e in events if isinstance(e, Finish)] == ["stop"]
    usage = [e.usage for e in events if isinstance(e, UsageReport)]
    assert usage
    assert usage[-1].input_tokens > 5
    assert usage[-1].output_tokens > 2


@pytest.mark.model
async def test_a_real_servers_refusals_are_understood(model_server: ModelServer) -> None:
    """A wrong key, and a prompt longer than its context."""
    target = replace(
        through(model_server.url, model_server.key, model_server.model), method=Method.DIRECT
    )
    with pytest.raises(CallError) as caught:
        await collected(direct.stream(replace(target, api_key="wrong"), asked()))
    assert (caught.value.kind, caught.value.status) == (ErrorKind.AUTH, 401)
    with pytest.raises(CallError) as caught:
        await collected(direct.stream(target, asked("word " * 9000)))
    assert (caught.value.kind, caught.value.status) == (ErrorKind.REQUEST, 400)
    assert [m.model_id for m in await direct.list_models(target)] == [model_server.model]
