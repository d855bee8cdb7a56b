"""The settings panel: everybody reads, operators change, and no key comes back."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from celery import Celery
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from providers.clients import http
from providers.connection_test.stages import Stage
from providers.domain.types import Method
from providers.infra import single_flight, single_flight_log
from providers.models import Attempt, LanguageModel, ModelSource, Provider
from providers.router.snapshot import connection
from providers.vendors import presets
from providers.views import access
from tests import fakes
from tests.polling import until
from tests.providers import test_forms
from tests.providers.flying import next_line, other

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
HTMX = {"HX-Request": "true"}


def values(**changed: object) -> dict[str, object]:
    """A good form whose address nobody answers at."""
    return test_forms.values(**({"base_url": "http://127.0.0.1:9/v1"} | changed))


@pytest.fixture
def provider(make_provider: MakeProvider) -> Provider:
    return make_provider(
        api_key=SECRET, gateway_api_key=SECRET, extra_headers={"X-Team": SECRET}, preset="openai"
    )


def urls(provider: Provider) -> list[str]:
    slug = provider.slug
    return [
        reverse("providers:index"),
        reverse("providers:detail", args=[slug]),
        reverse("providers:health", args=[slug]),
        reverse("providers:models", args=[slug]),
        reverse("providers:delete", args=[slug]),
    ]


def test_without_a_provider_the_next_step_is_shown(owner_client: Client) -> None:
    """The tiles of the known vendors."""
    html = owner_client.get(reverse("providers:index")).content.decode()
    assert "No providers yet" in html
    for preset in presets.PRESETS:
        assert f"?preset={preset.slug}" in html


def test_vendors_are_found_by_typing(owner_client: Client) -> None:
    """As a page, and for htmx as the tiles alone."""
    address = reverse("providers:new") + "?q=hugging"
    html = owner_client.get(address).content.decode()
    assert "?preset=huggingface" in html
    assert "?preset=openai" not in html
    part = owner_client.get(address, headers=HTMX).content.decode()
    assert "?preset=huggingface" in part
    assert "<html" not in part
    none = owner_client.get(reverse("providers:new") + "?q=<nonsense>").content.decode()
    assert "?preset=custom-anthropic" in none
    assert "<nonsense>" not in none


def test_a_reader_without_a_provider_is_reported_whom_to_ask(stranger_client: Client) -> None:
    """No button that would only say no."""
    html = stranger_client.get(reverse("providers:index")).content.decode()
    assert "Ask an operator of this instance" in html
    assert "?preset=" not in html


def test_cards_say_how_things_are(owner_client: Client, make_provider: MakeProvider) -> None:
    """Status in a word, the active route and why, when it was checked."""
    now = timezone.now()
    provider = make_provider(
        health_status="degraded", last_health_check=now - timedelta(seconds=12)
    )
    provider.routes.filter(method="direct").update(
        state="open",
        consecutive_failures=5,
        retry_at=now + timedelta(minutes=1),
        last_kind="network",
        opened_at=now,
    )
    provider.routes.filter(method="gateway").update(ttft_ms=610)
    html = owner_client.get(reverse("providers:index")).content.decode()
    assert 'data-status="degraded"' in html
    assert "Direct failed 5 times, last network error" in html
    assert "12 s ago" in html
    assert "610 ms" in html


def test_htmx_gets_the_cards_alone(owner_client: Client, provider: Provider) -> None:
    """What is polled is small."""
    html = owner_client.get(reverse("providers:index"), headers=HTMX).content.decode()
    assert "<html" not in html
    assert provider.name in html


@pytest.mark.parametrize("count", [1, 12])
def test_cards_take_the_same_queries_however_many(
    owner_client: Client,
    make_provider: MakeProvider,
    django_assert_num_queries: DjangoAssertNumQueries,
    count: int,
) -> None:
    """Session, user, their number, they, routes, models, the last 24 hours, spend."""
    for number in range(count):
        make_provider(f"P{number}")
    with django_assert_num_queries(10):
        owner_client.get(reverse("providers:index"), headers=HTMX)


def test_no_key_is_in_any_page(owner_client: Client, provider: Provider) -> None:
    """Nor in the admin; the last four characters are."""
    Attempt.objects.create(
        provider=provider, request_id=uuid4(), method="direct", purpose="test", outcome="auth"
    )
    admin = [
        reverse("admin:providers_provider_change", args=[provider.pk]),
        reverse("admin:providers_provider_changelist"),
        reverse("health:status"),
    ]
    for url in urls(provider) + admin:
        response = owner_client.get(url)
        assert response.status_code == 200, url
        assert SECRET not in response.content.decode(), url
    html = owner_client.get(reverse("providers:detail", args=[provider.slug])).content.decode()
    assert "…wxyz" in html


def test_operators_alone_change_anything(stranger_client: Client, provider: Provider) -> None:
    """A reader sees the list and the details, without the form."""
    slug, model = provider.slug, provider.language_models.get()
    for url in urls(provider)[:-1]:
        assert stranger_client.get(url).status_code == 200, url
    html = stranger_client.get(reverse("providers:detail", args=[slug])).content.decode()
    assert 'id="provider-form"' not in html
    assert "…wxyz" not in html
    gets = [reverse("providers:new"), reverse("providers:delete", args=[slug])]
    posts = [
        reverse("providers:new"),
        reverse("providers:fix-new"),
        *(
            reverse(f"providers:{name}", args=[slug])
            for name in (
                "detail",
                "fix",
                "apply-fix",
                "delete",
                "restore",
                "move",
                "pause",
                "resume",
                "duplicate",
                "refresh",
                "add-model",
                "toggle-models",
            )
        ),
        reverse("providers:toggle-model", args=[slug, model.pk]),
        reverse("providers:remove-model", args=[slug, model.pk]),
    ]
    assert {stranger_client.get(url).status_code for url in gets} == {403}
    assert {stranger_client.post(url, values()).status_code for url in posts} == {403}
    assert Provider.objects.count() == 1


def test_a_forged_post_is_refused(owner: User, provider: Provider) -> None:
    """Also by the asynchronous view."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    for name in ("test", "delete"):
        url = reverse(f"providers:{name}", args=[provider.slug])
        assert client.post(url).status_code == 403


def test_a_preset_fills_the_new_form(owner_client: Client) -> None:
    """The address stands there already."""
    html = owner_client.get(reverse("providers:new"), {"preset": "zai-coding"}).content.decode()
    assert "https://api.z.ai/api/coding/paas/v4" in html


def test_a_provider_is_added(owner_client: Client) -> None:
    """Without htmx: a redirect to its page. The page names what was corrected."""
    sent = values(api_key=SECRET, base_url="http://127.0.0.1:9/v1/chat/completions")
    response = owner_client.post(reverse("providers:new"), sent, follow=True)
    html = response.content.decode()
    assert response.redirect_chain[0][0] == "/providers/my-server/"
    assert "/chat/completions was removed from the end" in html
    assert SECRET not in html


def test_htmx_is_sent_to_the_new_page(owner_client: Client) -> None:
    """By its own header."""
    response = owner_client.post(reverse("providers:new"), values(), headers=HTMX)
    assert response.headers["HX-Redirect"] == "/providers/my-server/"


def test_a_bad_form_comes_back_with_everything_but_the_key(owner_client: Client) -> None:
    """422, the error beside its field, and a word about the key."""
    sent = values(base_url="nonsense", api_key=SECRET)
    response = owner_client.post(reverse("providers:new"), sent)
    html = response.content.decode()
    assert response.status_code == 422
    assert "My server" in html
    assert "Invalid endpoint - check URL format" in html
    assert "enter them again" in html
    assert SECRET not in html


def test_it_saves_while_redis_is_away(
    owner_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The background work waits; nothing is lost."""
    away = Celery(broker="redis://127.0.0.1:1", set_as_current=False)
    monkeypatch.setattr(access, "current_app", away)
    response = owner_client.post(reverse("providers:new"), values(), follow=True)
    assert "run when it is back" in response.content.decode()
    assert Provider.objects.count() == 1


def test_a_provider_is_changed(owner_client: Client, provider: Provider) -> None:
    """The blank key keeps the stored one."""
    url = reverse("providers:detail", args=[provider.slug])
    response = owner_client.post(url, values(name="Renamed", preset="openai"))
    provider.refresh_from_db()
    assert response.status_code == 302
    assert (provider.name, provider.api_key) == ("Renamed", SECRET)


def test_a_bad_change_keeps_the_page(owner_client: Client, provider: Provider) -> None:
    """With its models and health, and what was typed."""
    url = reverse("providers:detail", args=[provider.slug])
    response = owner_client.post(url, values(name=""))
    assert response.status_code == 422
    assert "Models" in response.content.decode()
    provider.refresh_from_db()
    assert provider.name == "Acme"


def test_what_is_not_there_is_a_404(owner_client: Client) -> None:
    """Also for the streamed test."""
    for name in ("detail", "health", "models", "delete"):
        assert owner_client.get(reverse(f"providers:{name}", args=["gone"])).status_code == 404
    assert owner_client.post(reverse("providers:test", args=["gone"])).status_code == 404


def test_recent_attempts_are_listed(owner_client: Client, provider: Provider) -> None:
    """With what went wrong."""
    Attempt.objects.create(
        provider=provider,
        request_id=uuid4(),
        method="direct",
        purpose="probe",
        outcome="network",
        error_message="The connection was refused.",
    )
    url = reverse("providers:health", args=[provider.slug])
    assert (
        "network: The connection was refused."
        in owner_client.get(url, headers=HTMX).content.decode()
    )


# Models


def big(provider: Provider, count: int = 3000) -> None:
    LanguageModel.objects.bulk_create(
        LanguageModel(
            provider=provider, model_id=f"vendor/m-{n}", name=f"Model {n}", tools=n % 2 == 0
        )
        for n in range(count)
    )


@pytest.mark.parametrize("count", [1, 3000])
def test_a_big_catalogue_takes_the_same_queries_and_one_page(
    owner_client: Client,
    provider: Provider,
    django_assert_num_queries: DjangoAssertNumQueries,
    count: int,
) -> None:
    """Search and pages are the server's work."""
    big(provider, count)
    url = reverse("providers:models", args=[provider.slug])
    with django_assert_num_queries(9):
        response = owner_client.get(url)
    assert len(response.content) < 150_000


def test_models_are_searched_by_words(owner_client: Client, provider: Provider) -> None:
    """In any order, in name and id."""
    big(provider, 60)
    url = reverse("providers:models", args=[provider.slug])
    html = owner_client.get(url, {"q": "m-59 vendor"}).content.decode()
    assert "Model 59" in html
    assert "Model 5<" not in html
    assert "No models match" in owner_client.get(url, {"q": "zzz"}).content.decode()


def test_strange_parameters_are_no_error(owner_client: Client, provider: Provider) -> None:
    """They come from an address bar."""
    url = reverse("providers:models", args=[provider.slug])
    for query in ({"page": "x"}, {"page": "99"}, {"show": "x"}, {"since": "x"}, {"q": "%_'"}):
        assert owner_client.get(url, query).status_code == 200


def test_missing_models_are_marked(owner_client: Client, provider: Provider) -> None:
    """And can be shown alone, and removed."""
    provider.language_models.update(missing_since=timezone.now())
    model = provider.language_models.get()
    url = reverse("providers:models", args=[provider.slug])
    assert "missing since" in owner_client.get(url, {"show": "missing"}).content.decode()
    owner_client.post(reverse("providers:remove-model", args=[provider.slug, model.pk]))
    assert not provider.language_models.exists()


def test_a_listed_model_is_not_removed(owner_client: Client, provider: Provider) -> None:
    """It would come back by itself."""
    model = provider.language_models.get()
    owner_client.post(reverse("providers:remove-model", args=[provider.slug, model.pk]))
    assert provider.language_models.exists()


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_model_is_switched(
    owner_client: Client, provider: Provider, headers: dict[str, str]
) -> None:
    """With htmx its row comes back, without it the page."""
    model = provider.language_models.get()
    url = reverse("providers:toggle-model", args=[provider.slug, model.pk])
    response = owner_client.post(url, {"enabled": "off"}, headers=headers)
    assert response.status_code == (200 if headers else 302)
    model.refresh_from_db()
    assert not model.enabled


def test_what_a_search_shows_is_switched_together(owner_client: Client, provider: Provider) -> None:
    """And nothing else."""
    big(provider, 3)
    url = reverse("providers:toggle-models", args=[provider.slug])
    owner_client.post(f"{url}?q=vendor", {"enabled": "off"}, headers=HTMX)
    assert provider.language_models.filter(enabled=False).count() == 3


def test_a_model_is_added_by_hand(owner_client: Client, provider: Provider) -> None:
    """It is seen at once, and a second one of its name is refused."""
    url = reverse("providers:add-model", args=[provider.slug])
    big(provider, 100)
    html = owner_client.post(url, {"model_id": "zz-own"}, headers=HTMX).content.decode()
    assert "zz-own" in html
    assert provider.language_models.get(model_id="zz-own").source == ModelSource.MANUAL
    assert owner_client.post(url, {"model_id": "zz-own"}, headers=HTMX).status_code == 422


def test_a_refresh_is_the_workers_work(owner_client: Client, provider: Provider) -> None:
    """The section asks again until the list is there."""
    url = reverse("providers:refresh", args=[provider.slug])
    html = owner_client.post(url, headers=HTMX).content.decode()
    assert "Fetching the model list" in html
    Provider.objects.update(models_refreshed_at=timezone.now() + timedelta(seconds=1))
    again = reverse("providers:models", args=[provider.slug])
    html = owner_client.get(again, {"since": timezone.now().isoformat()}).content.decode()
    assert "Fetching the model list" not in html


# Fixes


def test_a_fix_comes_into_the_form_unsaved(owner_client: Client, provider: Provider) -> None:
    """With htmx one field, without it the page; the typed key is in neither."""
    url = reverse("providers:fix", args=[provider.slug])
    sent = values(fix="base_url=http://127.0.0.1:9/api/coding/paas/v4", api_key="sk-typed-123456")
    for headers in ({}, HTMX):
        response = owner_client.post(url, sent, headers=headers)
        html = response.content.decode()
        assert response.status_code == 200
        assert 'value="http://127.0.0.1:9/api/coding/paas/v4"' in html
        assert "sk-typed" not in html
    provider.refresh_from_db()
    assert provider.base_url == "http://127.0.0.1:9/v1"


def test_a_fix_of_the_stored_provider_is_saved(owner_client: Client, provider: Provider) -> None:
    """The rest stays as it was, the key too."""
    url = reverse("providers:apply-fix", args=[provider.slug])
    response = owner_client.post(url, {"fix": "base_url=http://127.0.0.1:9/api/coding/paas/v4"})
    assert response.status_code == 302
    provider.refresh_from_db()
    assert provider.base_url == "http://127.0.0.1:9/api/coding/paas/v4"
    assert (provider.api_key, connection(provider).headers) == (SECRET, {"X-Team": SECRET})
    assert provider.enabled
    assert provider.fallback_enabled


@pytest.mark.parametrize("fix", ["", "api_key=x", "enabled=", "nonsense"])
def test_other_fields_have_no_fix(owner_client: Client, provider: Provider, fix: str) -> None:
    """A fix is an address, whatever a form says."""
    for name in ("fix", "apply-fix"):
        url = reverse(f"providers:{name}", args=[provider.slug])
        assert owner_client.post(url, {"fix": fix}).status_code == 400


def test_a_bad_fix_is_not_saved(owner_client: Client, provider: Provider) -> None:
    """It goes through the form like anything typed."""
    url = reverse("providers:apply-fix", args=[provider.slug])
    assert owner_client.post(url, {"fix": "base_url=nonsense"}).status_code == 422


def test_a_fix_at_another_server_leads_to_the_form(
    owner_client: Client, provider: Provider
) -> None:
    """From a card: a stored key goes to no server that it was not typed for."""
    url = reverse("providers:apply-fix", args=[provider.slug])
    response = owner_client.post(url, {"fix": "base_url=https://other.example/v1"}, headers=HTMX)
    assert response.headers["HX-Redirect"] == f"/providers/{provider.slug}/#connection"
    page = owner_client.get(f"/providers/{provider.slug}/").content.decode()
    assert "Fix not applied" in page
    assert "https://other.example/v1" in page
    provider.refresh_from_db()
    assert provider.base_url != "https://other.example/v1"


def test_a_card_says_where_no_price_is_known(owner_client: Client, provider: Provider) -> None:
    """No dollars are none where nobody knows what a call costs."""
    page = owner_client.get(reverse("providers:index")).content.decode()
    assert "no prices" in page
    provider.language_models.update(input_price=1, output_price=2)
    page = owner_client.get(reverse("providers:index")).content.decode()
    assert "no prices" not in page
    assert "$0" in page


# The streamed test


async def streamed(client: AsyncClient, url: str, sent: dict[str, object]) -> str:
    response: Any = await client.post(url, sent, headers=HTMX)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["X-Accel-Buffering"] == "no"
    try:
        return b"".join([chunk async for chunk in response.streaming_content]).decode()
    finally:
        await http.close()


async def signed_in(owner: User) -> AsyncClient:
    client = AsyncClient()
    await client.aforce_login(owner)
    return client


async def test_the_unsaved_form_is_tested(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """Step by step, over both routes, ending in a verdict and `done`."""
    sent = values(
        base_url=fake.url,
        api_key=fakes.KEY,
        gateway_endpoint=fake.url,
        gateway_api_key=fakes.KEY,
    )
    text = await streamed(await signed_in(owner), reverse("providers:test-new"), sent)
    assert "It works over both connections" in text
    assert text.endswith("event: done\ndata: \n\n")
    assert 'hx-target="#test-direct-chat"' in text
    assert 'hx-target="#test-gateway-chat"' in text
    assert fakes.KEY not in text


async def test_the_stored_key_is_used_where_none_was_typed(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """A test of a saved provider needs no key again."""
    stored = await Provider.objects.acreate(
        slug="acme", name="Acme", base_url=fake.url, api_key=fakes.KEY
    )
    url = reverse("providers:test", args=[stored.slug])
    text = await streamed(await signed_in(owner), url, values(base_url=fake.url))
    assert "It works directly" in text


async def test_a_zai_mix_up_is_explained_and_the_other_address_offered(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """The fix works: with it the same test is good."""
    fake.models = ["zai"]
    general = f"{fake.origin}/api/paas/v4"
    coding = f"{fake.origin}/api/coding/paas/v4"
    client, url = await signed_in(owner), reverse("providers:test-new")
    sent = values(preset="zai", base_url=general, api_key=fakes.KEY)
    text = await streamed(client, url, sent)
    assert "Wrong base URL for this key" in text
    assert "not a rate limit" in text
    assert f'value="base_url={coding}"' in text
    text = await streamed(client, url, sent | {"base_url": coding})
    assert "It works directly" in text


async def test_a_stored_provider_is_tested_with_one_click(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """Its result counts like any other traffic, and the fix is saved at once."""
    stored = await Provider.objects.acreate(
        slug="acme", name="Acme", base_url=fake.url, api_key=fakes.KEY
    )
    url = reverse("providers:test", args=[stored.slug])
    text = await streamed(await signed_in(owner), url, {})
    assert 'hx-target="#test-acme"' in text
    assert await stored.attempts.filter(purpose="test", outcome="ok").acount() == 1


async def test_a_test_asks_a_model_that_chats(
    make_provider: MakeProvider, transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """Not the first of the list, which may be there for pictures; the one that answered last."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, model_id="dall-e-2", routing_method="direct"
    )
    for model_id in ("echo", "sixty"):
        await provider.language_models.acreate(model_id=model_id, name=model_id)
    client = AsyncClient()
    await client.aforce_login(owner)

    async def asked() -> str:
        address = reverse("providers:test", args=[provider.slug])
        response = await client.post(address, headers=HTMX)
        [_ async for _ in response]  # type: ignore[attr-defined]
        return next(each.model for each in reversed(fake.requests) if each.model)

    assert await asked() == "echo"
    await Attempt.objects.all().adelete()
    await provider.attempts.acreate(
        model_id="sixty", outcome="ok", purpose="api", request_id=uuid4(), duration_ms=1
    )
    assert await asked() == "sixty"


async def test_a_test_whose_process_died_says_so(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """It was begun in another tab, on a web process that was killed."""
    stored = await Provider.objects.acreate(slug="acme", name="Acme", base_url=fake.url)
    reached = asdict(connection(stored))
    shared_run = single_flight.name("test", reached, "", stored.pk, "")
    step = json.dumps(asdict(Stage(method=Method.DIRECT, name="tcp", state="running")))
    client, url = await signed_in(owner), reverse("providers:test", args=[stored.slug])
    with other(shared_run, step, "...") as leader:
        await asyncio.to_thread(next_line, leader)
        watching = asyncio.create_task(streamed(client, url, {}))
        await until(single_flight_log.Log(shared_run).has_listeners)
        leader.kill()
        text = await watching
    assert "Not tested: The process that ran this test stopped. Test again." in text
    assert text.endswith("event: done\ndata: \n\n")
    assert fake.requests == []


async def test_a_bad_form_is_not_tested(transactional_db: None, owner: User) -> None:
    """It says what is wrong, and calls nobody."""
    sent = values(api_key="two words", base_url=fakes.UNKNOWN_HOST)
    text = await streamed(await signed_in(owner), reverse("providers:test-new"), sent)
    assert "Not tested: A key has no spaces" in text


async def test_a_bad_address_is_the_tests_first_finding(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """With the fix as a button, and nobody called on either route: the stored keys stay at home."""
    await Provider.objects.acreate(
        slug="acme",
        name="Acme",
        base_url=fake.url,
        api_key=fakes.KEY,
        gateway_endpoint="http://127.0.0.1:9",
        gateway_api_key=fakes.KEY,
    )
    sent = values(base_url=f"{fake.url}/v1", gateway_endpoint=fake.url)
    url = reverse("providers:test", args=["acme"])
    text = await streamed(await signed_in(owner), url, sent)
    assert "Invalid endpoint - check URL format" in text
    assert f'value="base_url={fake.url}"' in text
    assert fake.requests == []


async def test_what_was_sent_and_what_came_back_is_shown_without_keys(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """Also where the provider repeats the key in its answer, and for both routes."""
    key = "sk-wrong/0123456789"
    fake.script("401", models="401")
    sent = values(
        base_url=fake.url, api_key=key, gateway_endpoint=fake.url, gateway_api_key=f"{key}x"
    )
    text = await streamed(await signed_in(owner), reverse("providers:test-new"), sent)
    assert f"Direct: GET {fake.url}/models" in text
    assert f"Gateway: GET {fake.url}/models" in text
    assert "authorization: [hidden]" in text
    assert "HTTP 401" in text
    assert "Incorrect API key provided." in text
    assert "sk-wrong" not in text


async def test_a_wait_counts_down(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """The seconds are on the page; a script ticks them away."""
    fake.script("429")
    sent = values(base_url=fake.url, api_key=fakes.KEY)
    text = await streamed(await signed_in(owner), reverse("providers:test-new"), sent)
    assert "Rate limit exceeded - try again later" in text
    assert 'data-countdown="2">2 s</span>' in text


async def test_without_htmx_the_finished_page_comes(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """The same checklist, with the form as it was typed but for the key."""
    client = await signed_in(owner)
    sent = values(base_url=fake.url, api_key="sk-wrong-0123456789")
    try:
        response = await client.post(reverse("providers:test-new"), sent)
    finally:
        await http.close()
    html = response.content.decode()
    assert "<html" in html
    assert "Authentication failed - check API key" in html
    assert "My server" in html
    assert "sk-wrong" not in html


async def test_without_htmx_a_stored_test_shows_the_providers_page(
    transactional_db: None, owner: User, fake: fakes.Upstream
) -> None:
    """The card's button is a form like any other."""
    await Provider.objects.acreate(slug="acme", name="Acme", base_url=fake.url, api_key=fakes.KEY)
    client = await signed_in(owner)
    try:
        response = await client.post(reverse("providers:test", args=["acme"]))
    finally:
        await http.close()
    assert "It works directly" in response.content.decode()


async def test_operators_alone_test(transactional_db: None, stranger: User) -> None:
    """A test calls out with a stored key."""
    await Provider.objects.acreate(slug="acme", name="Acme", base_url="http://127.0.0.1:9/v1")
    client = await signed_in(stranger)
    for url in (reverse("providers:test-new"), reverse("providers:test", args=["acme"])):
        assert (await client.post(url, values())).status_code == 403


def test_the_page_says_what_each_method_would_do(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """From the routes as they are, with the fallback provider; polled with the health."""
    provider, other = make_provider(), make_provider("Spare")
    provider.alternatives.add(other)
    for html in (
        owner_client.get(reverse("providers:detail", args=[provider.slug])).content.decode(),
        owner_client.get(
            reverse("providers:health", args=[provider.slug]), headers=HTMX
        ).content.decode(),
    ):
        assert "Directly (preferred); if that fails, through" in html
        assert "then Spare answers as the fallback." in html
        assert html.count("(current)") == 1


def test_a_provider_leads_to_a_new_chat_with_its_own_model(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Never to the latest conversation, which may be another account's."""
    provider = make_provider()
    model = provider.language_models.get()
    page = owner_client.get(f"/providers/{provider.slug}/").content.decode()
    assert f'href="/chat/new/?model={model.pk}"' in page
    provider.language_models.update(enabled=False)
    assert "Chat now" not in owner_client.get(f"/providers/{provider.slug}/").content.decode()
