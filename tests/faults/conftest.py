"""The routes that a fault may come over, each with real parts on it, and a short patience."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
import pytest
from pytest_django.fixtures import Settings

from providers.models import Provider
from tests import fakes
from tests.faults.asking import RouteSetup
from tests.upstreams.fixtures import GatewayProcess
from tests.upstreams.litellm_proxy import Proxy

MakeProvider = Callable[..., Provider]


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    """Time-outs that a test can sit out where another route follows, or silence begins.

    The last route's is long: LiteLLM is slow on a busy machine. What stalls there shortens it.
    """
    settings.TIMEOUT_FIRST_TOKEN = 1.0
    settings.TIMEOUT_FIRST_TOKEN_LAST = 30.0
    settings.TIMEOUT_SILENCE = 5.0
    settings.ROUTING_RULES = replace(settings.ROUTING_RULES, repeat_within=0.02, pause=0.02)
    return settings


@pytest.fixture
def direct(fake: fakes.Upstream, impatient: Settings) -> RouteSetup:
    """The provider's own API, and no other route."""
    fields = {"base_url": fake.url, "api_key": fakes.KEY}
    return RouteSetup(fields=fields | _only("direct"), method="direct")


@pytest.fixture(scope="session")
def warm_process(gateway_process: GatewayProcess, _fake_upstream: fakes.Upstream) -> GatewayProcess:
    """LiteLLM's first call loads half of it: seconds that no test's patience is for."""
    upstream = {"litellm_model": "openai/sixty", "base_url": _fake_upstream.url}
    body = {"messages": [], "upstream": upstream | {"api_key": fakes.KEY, "headers": {}}}
    _warm_up(gateway_process.url, gateway_process.token, body)
    _fake_upstream.reset()
    return gateway_process


@pytest.fixture(scope="session")
def warm_proxy(litellm_proxy: Proxy, _fake_upstream: fakes.Upstream) -> Proxy:
    _warm_up(litellm_proxy.url, litellm_proxy.key, {"messages": [], "stream": True})
    _fake_upstream.reset()
    return litellm_proxy


def _warm_up(url: str, key: str, body: Mapping[str, object]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    asked = {"model": "sixty", **body}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=60)
    assert "w59" in answer.text


@pytest.fixture
def process(fake: fakes.Upstream, impatient: Settings, warm_process: GatewayProcess) -> RouteSetup:
    """The gateway process, and no other route."""
    impatient.GATEWAY_URL, impatient.GATEWAY_TOKEN = warm_process.url, warm_process.token
    # It keeps no connection of another test: what dies on a kept one is sent again.
    fake.stop()
    fake.start()
    fields = {"base_url": fake.url, "api_key": fakes.KEY}
    return RouteSetup(fields=fields | _only("gateway"), method="gateway")


@pytest.fixture
def proxy(fake: fakes.Upstream, impatient: Settings, warm_proxy: Proxy) -> RouteSetup:
    """A LiteLLM proxy, and no other route."""
    fields = {"gateway_endpoint": warm_proxy.url, "gateway_api_key": warm_proxy.key}
    return RouteSetup(fields=fields | _only("gateway"), method="gateway", endpoint=warm_proxy.url)


def _only(method: str) -> dict[str, object]:
    return {"routing_method": method, "fallback_enabled": False}
