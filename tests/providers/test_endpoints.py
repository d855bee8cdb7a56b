"""Gateways on their page: what goes through them, and what they answer when they are asked."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import reverse
from pytest_django import Settings

from providers import endpoints, http
from providers.breaker import State
from providers.endpoints import Endpoint
from providers.models import AuditEvent, Gateway, Provider, Route
from tests import fakes
from tests.upstreams.fixtures import GatewayProcess
from tests.upstreams.litellm_proxy import Proxy

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
NEW = {"name": "Spare", "address": "http://litellm:4000/", "new_key": SECRET, "enabled": "on"}
INDEX = "/gateways/"


async def looked(endpoint: Endpoint) -> endpoints.Look:
    try:
        return await endpoints.look(endpoint)
    finally:
        await http.close()


def test_an_empty_page_says_what_a_gateway_is_for(owner_client: Client, settings: Settings) -> None:
    """And how to add one."""
    settings.GATEWAY_TOKEN = ""
    html = owner_client.get(INDEX).content.decode()
    assert "No gateway yet" in html
    assert reverse("gateways:new") in html


def test_each_sort_is_shown_as_what_it_is(
    owner_client: Client, make_provider: MakeProvider, settings: Settings
) -> None:
    """The instance's own from the environment, further ones, and our process; no key anywhere."""
    settings.GATEWAY_TOKEN, settings.LITELLM_ENDPOINT = "t" * 32, "http://instance:4000"
    settings.LITELLM_API_KEY = SECRET
    Gateway.objects.create(name="Spare", url="http://litellm:4000", api_key=SECRET)
    provider = make_provider("Acme")
    provider.ensure_routes()
    html = owner_client.get(INDEX).content.decode()
    assert html.index("LITELLM_ENDPOINT") < html.index("Spare") < html.index("Our own gateway")
    assert "1 provider can be reached through it" in html
    assert SECRET not in html


def test_a_gateway_is_as_its_routes_are(owner_client: Client, make_provider: MakeProvider) -> None:
    """One truth about health: nothing else is asked."""
    Gateway.objects.create(name="Spare", url="http://litellm:4000")
    for name in ("A", "B"):
        make_provider(name).ensure_routes()
    through = Route.objects.filter(endpoint="http://litellm:4000")
    assert 'data-status="unknown"' in owner_client.get(INDEX).content.decode()
    through.update(last_outcome="ok", last_outcome_at="2026-01-01T00:00:00Z")
    assert 'data-status="healthy"' in owner_client.get(INDEX).content.decode()
    through.filter(provider__name="A").update(state=State.OPEN)
    html = owner_client.get(INDEX).content.decode()
    assert 'data-status="degraded"' in html
    assert "1 route rests" in html
    through.update(state=State.OPEN)
    assert 'data-status="failing"' in owner_client.get(INDEX).content.decode()


def test_one_is_added_changed_and_removed(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """It is a road from then on, and none afterwards; each step is noted."""
    provider = make_provider()
    owner_client.post(reverse("gateways:new"), NEW)
    gateway = Gateway.objects.get()
    assert (gateway.url, gateway.api_key) == ("http://litellm:4000", SECRET)
    provider.ensure_routes()
    assert provider.routes.filter(endpoint=gateway.url).exists()
    page = reverse("gateways:edit", args=[gateway.pk])
    owner_client.post(page, NEW | {"name": "Other", "new_key": ""})
    gateway.refresh_from_db()
    assert (gateway.name, gateway.api_key) == ("Other", SECRET)
    remove = reverse("gateways:delete", args=[gateway.pk])
    assert "1 provider can be reached" in owner_client.get(remove).content.decode()
    owner_client.post(remove)
    assert not Gateway.objects.exists()
    provider.ensure_routes()
    assert not provider.routes.filter(endpoint=gateway.url).exists()
    verbs = AuditEvent.objects.order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["created", "changed", "deleted"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"address": "ftp://litellm"}, "http"),
        ({"address": "http://litellm:4000"}, "There is a gateway with this address."),
        ({"name": ""}, "required"),
        ({"new_key": "with a space"}, "no spaces"),
    ],
)
def test_a_wrong_one_is_told_at_its_field(
    owner_client: Client, typed: dict[str, str], said: str
) -> None:
    """And nothing typed is lost, but the key."""
    Gateway.objects.create(name="First", url="http://litellm:4000")
    answer = owner_client.post(reverse("gateways:new"), NEW | {"name": "Mine"} | typed)
    html = answer.content.decode()
    assert answer.status_code == 422
    assert said in html
    assert SECRET not in html
    assert Gateway.objects.count() == 1


def test_a_stored_key_does_not_follow_to_another_server(owner_client: Client) -> None:
    """It has to be typed for that one."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000", api_key=SECRET)
    page = reverse("gateways:edit", args=[gateway.pk])
    typed = NEW | {"address": "http://elsewhere:4000", "new_key": ""}
    assert b"type its key" in owner_client.post(page, typed).content
    gateway.refresh_from_db()
    assert gateway.url == "http://litellm:4000"


def test_only_operators_change_and_ask(stranger_client: Client) -> None:
    """Everybody may look."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000")
    assert stranger_client.get(INDEX).status_code == 200
    for name, args in (("new", []), ("edit", [gateway.pk]), ("delete", [gateway.pk])):
        assert stranger_client.post(reverse(f"gateways:{name}", args=args)).status_code == 403
    look = reverse("gateways:look", args=[gateway.pk])
    assert stranger_client.get(look).status_code == 403


async def test_a_proxy_tells_its_version_and_its_models(litellm_proxy: Proxy) -> None:
    """A real one."""
    seen = await looked(
        Endpoint(key="1", name="Spare", url=litellm_proxy.url, api_key=litellm_proxy.key)
    )
    assert seen.problem == ""
    assert seen.models
    assert seen.version[:1].isdigit()


async def test_our_process_tells_what_litellm_offers(
    gateway_process: GatewayProcess, settings: Settings
) -> None:
    """With its version."""
    settings.GATEWAY_URL = gateway_process.url
    seen = await looked(Endpoint(key="process", name="Ours", url=""))
    assert seen.problem == ""
    assert seen.version[:1].isdigit()
    assert "bedrock" in seen.vendors


async def test_a_gateway_that_is_away_says_so_in_words(fake: fakes.Upstream) -> None:
    """And one that refuses its key."""
    away = await looked(
        Endpoint(key="1", name="x", url=f"http://127.0.0.1:{fakes.refusing_port()}")
    )
    assert "could not be reached" in away.problem
    refused = await looked(Endpoint(key="1", name="x", url=fake.url, api_key="wrong"))
    assert "refused its own key" in refused.problem


@pytest.mark.django_db(transaction=True)
async def test_the_answer_comes_alone_for_htmx_and_as_a_page_without(
    fake: fakes.Upstream, owner: User
) -> None:
    """The list itself never waits for it."""
    client = AsyncClient()
    await client.aforce_login(owner)
    gateway = await Gateway.objects.acreate(name="Spare", url=fake.url, api_key=fakes.KEY)
    address = reverse("gateways:look", args=[gateway.pk])
    alone = (await client.get(address, headers={"HX-Request": "true"})).content.decode()
    assert "It answers in" in alone
    assert "<html" not in alone
    assert "<html" in (await client.get(address)).content.decode()
    await http.close()
