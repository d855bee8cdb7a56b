"""The test of one model: a few calls, announced before, show what it answers and accepts."""

from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import reverse

from providers.clients import http
from providers.connection_test import runner
from providers.connection_test.draft import Draft
from providers.connection_test.model_test import ModelTest
from providers.connection_test.stages import MODEL_STAGES, Stage
from providers.domain.types import Kind, Method
from providers.infra import database
from providers.models import Attempt, Provider
from providers.router import snapshot
from tests import fakes
from tests.providers.tested import ended, last

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


async def tried(
    make: MakeProvider, fake: fakes.Upstream, model: str, **fields: object
) -> list[Stage]:
    """All stages of a model test."""
    given = {"base_url": fake.url, "api_key": fakes.KEY} | fields
    provider = await sync_to_async(make)(model_id=model, **given)
    stored = await database.run(snapshot.load_candidate, provider.pk, model)
    assert stored is not None
    draft = Draft(connection=stored.connection, model_id=model, stored=stored)
    try:
        return [stage async for stage in runner.run(ModelTest(draft=draft, method=Method.DIRECT))]
    finally:
        await http.close()


async def test_a_model_that_takes_everything(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Five calls, each of a few tokens, all written down, one of them as evidence."""
    stages = await tried(make_provider, fake, "echo")
    expected = dict.fromkeys(MODEL_STAGES, "ok") | {"limits": "skipped"}
    assert ended(stages) == expected
    assert len(fake.requests) == 5
    assert {request.body["max_tokens"] for request in fake.requests} == {16}
    assert await Attempt.objects.filter(purpose="test", outcome="ok").acount() == 5
    provider = await Provider.objects.aget()
    assert provider.health_status == "healthy"


async def test_a_parameter_that_is_refused_is_named(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Rate limits are read from the answer's headers; a refusal is no failure of the provider."""
    stages = await tried(make_provider, fake, "plain")
    refused = {"tools": "warn", "reasoning_effort": "warn"}
    assert ended(stages) == dict.fromkeys(MODEL_STAGES, "ok") | refused
    assert "'tools' is not supported" in last(stages, "tools").detail
    assert "x-ratelimit-remaining-requests: 59" in last(stages, "limits").detail
    assert len(fake.requests) == 5
    assert not await Attempt.objects.exclude(outcome="ok").aexists()


async def test_a_limit_that_is_refused_is_left_out_from_then_on(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """It is asked for once."""
    stages = await tried(make_provider, fake, "no-limit")
    assert ended(stages)["max_tokens"] == "warn"
    assert ended(stages)["temperature"] == "ok"
    assert ["max_tokens" in request.body for request in fake.requests] == [True] + [False] * 5


@pytest.mark.parametrize(
    ("model", "why"), [("500", "No answer received."), ("truncated", "The answer broke off.")]
)
async def test_a_model_that_does_not_answer_is_called_once(
    make_provider: MakeProvider, fake: fakes.Upstream, model: str, why: str
) -> None:
    """Its parameters cannot be tested."""
    stages = await tried(make_provider, fake, model)
    assert "failed" in ended(stages).values()
    assert last(stages, "tools").detail == why
    assert len(fake.requests) == 1
    assert await Attempt.objects.filter(purpose="test", outcome="provider").acount() == 1


async def test_a_rate_limit_ends_the_test(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """It shows nothing about the parameter."""
    fake.script("echo", "echo", "429")
    stages = await tried(make_provider, fake, "echo")
    assert ended(stages)["temperature"] == "ok"
    assert {ended(stages)[name] for name in ("tools", "response_format")} == {"skipped"}
    assert "Could not be tested: Rate limit" in last(stages, "response_format").detail
    assert len(fake.requests) == 3


async def test_terms_that_forbid_synthetic_chats_leave_one(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The one that a person asked for."""
    stages = await tried(make_provider, fake, "echo", preset="zai-coding")
    assert len(fake.requests) == 1
    assert "terms" in last(stages, "tools").detail


async def test_anthropics_format_is_tested_with_its_own_fields(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Two fields it does not know, so no call is made for them."""
    stages = await tried(make_provider, fake, "echo", kind=Kind.ANTHROPIC)
    assert ended(stages)["tools"] == "ok"
    assert ended(stages)["response_format"] == "skipped"
    assert len(fake.requests) == 3


def address(provider: Provider) -> str:
    model = provider.language_models.get()
    return reverse("providers:test-model", args=[provider.slug, model.pk])


def test_the_page_announces_calls_and_cost(
    owner_client: Client, make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Opening the page makes no call."""
    provider = make_provider(base_url=fake.url)
    provider.language_models.update(input_price=3, output_price=15)
    html = owner_client.get(address(provider)).content.decode()
    assert "The test sends 5 short requests" in html
    assert "at most about $0.0027" in html
    assert 'value="direct" checked' in html
    provider.language_models.update(input_price=None)
    assert "the cost is unknown" in owner_client.get(address(provider)).content.decode()
    Provider.objects.update(preset="zai-coding")
    assert "sends one short request" in owner_client.get(address(provider)).content.decode()
    Provider.objects.update(enabled=False)
    assert "cannot be tested" in owner_client.get(address(provider)).content.decode()
    assert fake.requests == []


async def test_it_is_streamed_or_comes_as_a_page(
    owner: User, make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Over the route that was picked."""
    client = AsyncClient()
    await client.aforce_login(owner)
    provider = await sync_to_async(make_provider)(
        base_url="http://127.0.0.1:9/v1",
        gateway_endpoint=fake.url,
        gateway_api_key=fakes.KEY,
        model_id="plain",
    )
    url = await sync_to_async(address)(provider)
    try:
        answer = await client.post(url, {"method": "gateway"}, headers={"HX-Request": "true"})
        text = b"".join([chunk async for chunk in answer.streaming_content]).decode()  # type: ignore[attr-defined]
        page = (await client.post(url, {"method": "gateway"})).content.decode()
    finally:
        await http.close()
    for shown in (text, page):
        assert "The model answers" in shown
        assert "x-ratelimit-limit-tokens: 150000" in shown
        assert "Not accepted: Unsupported parameter" in shown
        assert fakes.KEY not in shown
    assert text.endswith("event: done\ndata: \n\n")
    assert 'value="gateway" checked' in page


def test_operators_alone_test_a_model(
    stranger_client: Client, owner_client: Client, make_provider: MakeProvider
) -> None:
    """And one of another provider is not there."""
    url = address(make_provider())
    other = make_provider("Other")
    assert stranger_client.get(url).status_code == 403
    assert stranger_client.post(url).status_code == 403
    assert owner_client.get(url.replace("acme", other.slug)).status_code == 404
