"""A real language model answers over each route, in a real browser."""

import pytest
from playwright.sync_api import Page

from providers.models import LanguageModel
from tests.e2e.people import answer, ask, connect, reply, wait_status
from tests.e2e.site import Site
from tests.upstreams.litellm_proxy import Proxy
from tests.upstreams.model_server import ModelServer

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.model]
QUESTION = "Which city is the capital of France?"  # so put, the little model knows it


def chat(page: Page, model: str, method: str) -> None:
    LanguageModel.objects.update(parameters={"temperature": 0})
    ask(page, QUESTION, model)
    wait_status(page, "done", 90)
    assert "Paris" in answer(page)
    assert reply().method == method
    assert f"via {method}" in page.locator(".chip").inner_text()
    assert reply().output_tokens


def test_direct(site: Site, page: Page, model_server: ModelServer) -> None:
    """The model's own OpenAI-compatible server."""
    connect(model_server.url, models=(model_server.model,), api_key=model_server.key)
    chat(page, model_server.model, "direct")


@pytest.mark.proxy
def test_through_a_litellm_proxy(
    site: Site, page: Page, model_server: ModelServer, litellm_proxy: Proxy
) -> None:
    """A real LiteLLM proxy in front of it."""
    connect(
        model_server.url,
        litellm_proxy.url,
        models=(model_server.model,),
        api_key=model_server.key,
        gateway_api_key=litellm_proxy.key,
        routing_method="gateway",
        fallback_enabled=False,
    )
    chat(page, model_server.model, "gateway")


def test_through_our_own_gateway_process(site: Site, page: Page, model_server: ModelServer) -> None:
    """LiteLLM's SDK in a process of its own."""
    site.wait_gateway()
    connect(
        model_server.url,
        models=(model_server.model,),
        api_key=model_server.key,
        routing_method="gateway",
        fallback_enabled=False,
    )
    chat(page, model_server.model, "gateway")
