"""The connection test: stages of both methods as they happen, results recorded at the end."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from providers.connection_test import runner
from providers.connection_test.draft import Draft
from providers.connection_test.provider_test import ProviderTest, pick_chat_model
from providers.connection_test.stages import STAGES
from providers.domain.types import Method
from providers.infra import database
from providers.models import Attempt, Provider, Route
from providers.policy.breaker import State
from providers.router import snapshot
from tests import fakes
from tests.polling import until
from tests.providers.tested import checked, draft, ended, last

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


GOOD = dict.fromkeys(STAGES, "ok") | {"dns": "skipped", "tls": "skipped"}


async def test_both_methods_pass_all_stages(fake: fakes.Upstream) -> None:
    """Without name lookup for a number and without TLS for plain http, with a reason."""
    stages = await checked(draft(fake.url))
    for method in Method:
        assert ended(stages, method) == GOOD
    assert "no name to look up" in last(stages, "dns").detail
    assert "plain http" in last(stages, "tls").detail
    assert last(stages, "models").detail == f"{len(fake.models)} models"
    assert last(stages, "usage").detail == "7 in, 2 out"
    assert {request.path for request in fake.requests} == {"/v1/models", "/v1/chat/completions"}
    assert len(fake.requests) == 2 * len(Method)


async def test_stages_are_yielded_as_they_happen(fake: fakes.Upstream) -> None:
    """The list is there before the chat is answered."""
    shown: list[str] = []
    async for stage in runner.run(ProviderTest(draft=draft(fake.url, model_id="stall-headers"))):
        if stage.method == Method.DIRECT:
            shown.append(f"{stage.name} {stage.state}")
        if shown and shown[-1] == "chat running":
            break
    assert shown[-3:] == ["models running", "models ok", "chat running"]


async def test_localhost_is_looked_up(fake: fakes.Upstream) -> None:
    """Its addresses are named, and the one that took the connection."""
    stages = await checked(draft(f"http://localhost:{fake.port}/v1"))
    assert "127.0.0.1" in last(stages, "dns").detail
    assert last(stages, "tcp").detail == f"127.0.0.1, port {fake.port}"


async def test_equal_tests_at_once_share_one_run(fake: fakes.Upstream) -> None:
    """Both see every stage with its error and what came back; a test of something else is its
    own."""
    same, other = draft(fake.url, model_id="401"), draft(fake.url, key="sk-wrong")
    first, second, third = await asyncio.gather(checked(same), checked(same), checked(other))
    assert [str(stage) for stage in first] == [str(stage) for stage in second]
    assert last(first, "auth").exchange is not None
    assert ended(first)["auth"] == "failed"
    assert ended(third)["auth"] == "failed"
    chats = [request for request in fake.requests if request.model == "401"]
    assert len(chats) == len(Method)


async def test_a_wrong_key_fails_where_it_is_shown(fake: fakes.Upstream) -> None:
    """The host answered, so the connection works; list and chat are skipped."""
    stages = await checked(draft(fake.url, key="sk-wrong"))
    refused = {"auth": "failed"} | dict.fromkeys(
        ("models", "chat", "streaming", "usage"), "skipped"
    )
    for method in Method:
        assert ended(stages, method) == GOOD | refused
    failed = last(stages, "auth")
    assert failed.error is not None
    assert failed.error.status == 401
    assert last(stages, "chat").detail == "The key was refused."
    assert "sk-wrong" not in str(stages)


async def test_a_key_that_may_not_list_may_chat(fake: fakes.Upstream) -> None:
    """The chat has the last word about it."""
    fake.script("echo", models="401")
    stages = await checked(draft(fake.url))
    assert ended(stages) == GOOD | {"models": "failed"}


async def test_a_public_list_shows_nothing_about_the_key(fake: fakes.Upstream) -> None:
    """OpenRouter's is public: the key is not called good before a chat is answered."""
    stages = await checked(draft(fake.url, model_id="401"))
    states = [stage.state for stage in stages if stage.name == "auth"]
    assert "ok" not in states
    assert ended(stages)["models"] == "ok"
    assert ended(stages)["auth"] == "failed"


async def test_without_a_model_the_list_shows_the_key(fake: fakes.Upstream) -> None:
    """And the chat says why it was left out."""
    fake.script("echo", models="nothing-listed")
    stages = await checked(draft(fake.url, model_id=""))
    assert ended(stages)["auth"] == "ok"
    assert ended(stages)["models"] == "warn"
    assert last(stages, "chat").detail == "No model to chat with."
    stages = await checked(draft(fake.url, key="sk-wrong", model_id=""))
    assert ended(stages)["auth"] == "failed"


@pytest.mark.parametrize(
    ("url", "stage", "code"),
    [
        (f"http://127.0.0.1:{fakes.refusing_port()}/v1", "tcp", "connect_refused"),
        (fakes.UNKNOWN_HOST, "dns", "dns"),
        ("http://[::ffff:169.254.169.254]/v1", "address", "invalid_address"),
    ],
)
async def test_what_cannot_be_reached_skips_the_rest(url: str, stage: str, code: str) -> None:
    """There is nothing to ask it; each one that is left out says why."""
    stages = await checked(draft(url))
    for method in Method:
        failed = last(stages, stage, method)
        assert failed.state == "failed"
        assert failed.error is not None
        assert failed.error.code == code
        rest = STAGES[STAGES.index(stage) + 1 :]
        assert {ended(stages, method)[name] for name in rest} == {"skipped"}
        assert all(last(stages, name, method).detail for name in rest)


async def test_tls_is_a_stage_of_its_own() -> None:
    """A certificate that nobody vouches for is named, and the key never sent."""
    with fakes.Upstream(tls=True) as fake:
        stages = await checked(draft(fake.url))
        assert fake.requests == []
    assert ended(stages)["tcp"] == "ok"
    assert ended(stages)["tls"] == "failed"
    assert last(stages, "tls").detail == "The server's certificate is self-signed."


async def test_private_addresses_are_refused_by_settings(
    settings: Settings, fake: fakes.Upstream
) -> None:
    """Also behind a name; the instance's own gateway is reached all the same."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    settings.GATEWAY_URL = f"http://127.0.0.1:{fakes.refusing_port()}"
    stages = await checked(draft(f"http://localhost:{fake.port}/v1", gateway_endpoint=""))
    failed = last(stages, "tcp").error
    assert failed is not None
    assert failed.code == "address_refused"
    own = last(stages, "tcp", Method.GATEWAY).error
    assert own is not None
    assert own.code == "connect_refused"
    assert fake.requests == []


async def test_a_zai_key_on_the_general_address_shows_code_1113(fake: fakes.Upstream) -> None:
    """The chat shows it; the coding address answers."""
    general = fake.url.removesuffix("/v1") + "/api/paas/v4"
    failed = last(await checked(draft(general, model_id="zai")), "chat")
    assert failed.error is not None
    assert (failed.error.status, failed.error.code) == (429, "1113")
    coding = general.replace("/api/paas", "/api/coding/paas")
    assert ended(await checked(draft(coding, model_id="zai")))["chat"] == "ok"


async def test_a_plan_that_allows_one_call_gets_one_at_a_time(fake: fakes.Upstream) -> None:
    """Two routes lead to the same key, and more at once would be refused."""
    behind = f"{fake.origin}/gate/v1"
    form = draft(fake.url, preset="zai-coding", model_id="slow-5-20", gateway_endpoint=behind)
    await checked(form)
    chats = [request for request in fake.requests if request.model]
    assert len(chats) == len(Method)
    assert chats[1].started - chats[0].started > 0.07
    agents = {r.headers["User-Agent"] for r in fake.requests if r.path.startswith("/v1/")}
    assert agents == {"OpenCode-LiteLLM-Gateway/1.0"}


@pytest.mark.parametrize("model_id", ["no-limit", "wants-64"])
async def test_a_limit_that_a_model_does_not_take_is_left_out(
    fake: fakes.Upstream, model_id: str
) -> None:
    """OpenAI's reasoning models refuse `max_tokens`, others one that is too small for them."""
    stages = await checked(draft(fake.url, model_id=model_id))
    assert ended(stages)["chat"] == "ok"


async def test_an_answer_that_breaks_off_fails_as_streaming(fake: fakes.Upstream) -> None:
    """The chat had begun."""
    stages = await checked(draft(fake.url, model_id="truncated"))
    assert ended(stages)["chat"] == "ok"
    assert ended(stages)["streaming"] == "failed"


async def test_a_test_of_a_stored_provider_counts_for_its_routes(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """A success closes a breaker that was disabled until edited."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint=fake.url, gateway_api_key=fakes.KEY
    )
    await Route.objects.filter(provider=provider).aupdate(
        state=State.OPEN, last_kind="auth", opened_at="2026-01-01T00:00:00Z"
    )
    stored = await database.run(snapshot.load_candidate, provider.pk)
    await checked(Draft(connection=snapshot.connection(provider), model_id="echo", stored=stored))
    attempts = Attempt.objects.filter(purpose="test", outcome="ok")
    assert await attempts.acount() == 2
    assert await attempts.filter(ttft_ms__isnull=False, output_tokens=2).acount() == 2
    provider = await Provider.objects.aget(pk=provider.pk)
    assert provider.health_status == "healthy"


async def test_a_card_shows_a_test_of_a_minute_ago(
    owner: User, make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Though no probe has run, and the bars of the last day count nothing yet."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint=fake.url, gateway_api_key=fakes.KEY
    )
    client = AsyncClient()
    await client.aforce_login(owner)

    async def card() -> str:
        page = (await client.get(reverse("providers:index"))).content.decode()
        return page.partition(f'id="card-{provider.slug}"')[2].partition("</article>")[0]

    assert "Not used in the last 24 hours. Not checked yet." in await card()
    stored = await database.run(snapshot.load_candidate, provider.pk)
    await checked(Draft(connection=snapshot.connection(provider), model_id="echo", stored=stored))
    minute_ago = timezone.now() - timedelta(minutes=1)
    await Route.objects.filter(provider=provider).aupdate(last_outcome_at=minute_ago)
    shown = await card()
    assert "Last used 1 min ago." in shown
    assert "Not checked yet" not in shown
    assert 'data-status="healthy"' in shown
    assert "<strong>Direct</strong>" in shown


async def test_an_abandoned_test_leaves_nothing_behind(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Though one of its routes had ended."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url,
        api_key=fakes.KEY,
        gateway_endpoint=fake.fault("stall-headers"),
        gateway_api_key=fakes.KEY,
    )
    stored = await database.run(snapshot.load_candidate, provider.pk)
    drafted = Draft(connection=snapshot.connection(provider), model_id="echo", stored=stored)
    stages = runner.run(ProviderTest(draft=drafted))
    async for stage in stages:
        if stage.method == Method.DIRECT and stage.name == "usage":
            break
    await stages.aclose()
    await until(lambda: any(request.disconnected_at for request in fake.requests))
    assert await Attempt.objects.acount() == 0


async def test_a_test_of_both_methods_classifies_a_provider(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """A web page where an API should be is no API tomorrow either."""
    with fakes.Upstream() as page:
        page.script("html")
        provider = await sync_to_async(make_provider)(
            base_url=page.url,
            api_key=fakes.KEY,
            gateway_endpoint=fake.url,
            gateway_api_key=fakes.KEY,
        )
        stored = await database.run(snapshot.load_candidate, provider.pk)
        drafted = Draft(connection=snapshot.connection(provider), model_id="echo", stored=stored)
        await checked(drafted)
        provider = await Provider.objects.aget(pk=provider.pk)
        assert provider.provider_type == "gateway-required"
        page.script("echo")
        await checked(drafted)
    provider = await Provider.objects.aget(pk=provider.pk)
    assert provider.provider_type == "hybrid"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["text-embedding-3-small", "whisper-1", "gpt-4o-mini", "gpt-4o"], "gpt-4o-mini"),
        (["dall-e-3"], "dall-e-3"),
        ([], ""),
    ],
)
def test_a_test_chats_with_a_model_that_chats(ids: list[str], expected: str) -> None:
    """The first one of a catalogue is often an embedding."""
    assert pick_chat_model(ids) == expected
