"""Gateways on their page: what goes through them, and what they answer when they are asked."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from providers.clients import http
from providers.models import AuditEvent, Gateway, GatewayCheck, Provider, Route
from providers.policy.breaker import State
from providers.probes import gateways
from providers.probes.gateways import Endpoint
from tests import fakes
from tests.upstreams.fixtures import GatewayProcess
from tests.upstreams.litellm_proxy import Proxy

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
NEW = {"name": "Spare", "address": "http://litellm:4000/", "new_key": SECRET, "enabled": "on"}
INDEX = "/gateways/"
URL = "http://litellm:4000"
OURS = Endpoint(key="process", name="Ours", url="")


async def checked(endpoint: Endpoint) -> GatewayCheck:
    try:
        return await gateways.check_endpoint(endpoint)
    finally:
        await http.close()


type Aside = Callable[[bytes | None], str]


@pytest.fixture
def aside() -> Iterator[Aside]:
    """Starts servers that give one answer to everything, or none at all; returns their address."""
    with ExitStack() as stack:

        def start(body: bytes | None) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            if body is not None:
                threading.Thread(target=_answer, args=(server, body), daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}"

        yield start


def _answer(server: socket.socket, body: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def test_an_empty_page_explains_gateways(owner_client: Client, settings: Settings) -> None:
    """And how to add one."""
    settings.GATEWAY_TOKEN = ""
    html = owner_client.get(INDEX).content.decode()
    assert "No gateways yet" in html
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
    assert html.index("LITELLM_ENDPOINT") < html.index("Spare") < html.index("Gateway process")
    assert "1 provider can use this gateway" in html
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
    assert "1 route cooling down" in html
    through.update(state=State.OPEN)
    assert 'data-status="failing"' in owner_client.get(INDEX).content.decode()


def test_one_is_added_changed_and_removed(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """It is a route from then on, and none afterwards; each step is noted."""
    provider = make_provider()
    owner_client.post(reverse("gateways:new"), NEW)
    gateway = Gateway.objects.get()
    assert (gateway.url, gateway.api_key) == ("http://litellm:4000", SECRET)
    assert provider.routes.filter(endpoint=gateway.url).exists()
    page = reverse("gateways:edit", args=[gateway.pk])
    owner_client.post(page, NEW | {"name": "Other", "new_key": ""})
    gateway.refresh_from_db()
    assert (gateway.name, gateway.api_key) == ("Other", SECRET)
    remove = reverse("gateways:delete", args=[gateway.pk])
    assert "1 provider can use this gateway now" in owner_client.get(remove).content.decode()
    owner_client.post(remove)
    assert not Gateway.objects.exists()
    provider.ensure_routes()
    assert not provider.routes.filter(endpoint=gateway.url).exists()
    verbs = AuditEvent.objects.order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["created", "changed", "deleted"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"address": "ftp://litellm"}, "http"),
        ({"address": "http://litellm:4000"}, "A gateway with this address exists already."),
        ({"address": "http://instance:4000"}, "set as LITELLM_ENDPOINT"),
        ({"name": ""}, "required"),
        ({"new_key": "with a space"}, "no spaces"),
    ],
)
def test_a_wrong_address_is_an_error_of_its_field(
    owner_client: Client, settings: Settings, typed: dict[str, str], message: str
) -> None:
    """And nothing typed is lost, but the key."""
    settings.LITELLM_ENDPOINT = "http://instance:4000"
    Gateway.objects.create(name="First", url="http://litellm:4000")
    answer = owner_client.post(reverse("gateways:new"), NEW | {"name": "Mine"} | typed)
    html = answer.content.decode()
    assert answer.status_code == 422
    assert message in html
    assert SECRET not in html
    assert Gateway.objects.count() == 1


def test_a_stored_key_does_not_follow_to_another_server(owner_client: Client) -> None:
    """It has to be typed for that one."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000", api_key=SECRET)
    page = reverse("gateways:edit", args=[gateway.pk])
    typed = NEW | {"address": "http://elsewhere:4000", "new_key": ""}
    assert b"Enter its key" in owner_client.post(page, typed).content
    gateway.refresh_from_db()
    assert gateway.url == "http://litellm:4000"


def test_only_operators_change_and_ask(stranger_client: Client) -> None:
    """Everybody may look."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000")
    assert stranger_client.get(INDEX).status_code == 200
    for name, args in (("new", []), ("edit", [gateway.pk]), ("delete", [gateway.pk])):
        assert stranger_client.post(reverse(f"gateways:{name}", args=args)).status_code == 403
    check = reverse("gateways:check", args=[gateway.pk])
    assert stranger_client.post(check).status_code == 403


@pytest.mark.django_db(transaction=True)
async def test_a_proxy_reports_version_and_models(litellm_proxy: Proxy) -> None:
    """A real one."""
    status = await checked(
        Endpoint(key="1", name="Spare", url=litellm_proxy.url, api_key=litellm_proxy.key)
    )
    assert (status.state, status.problem) == ("up", "")
    assert status.serves == len(status.listed) > 0
    assert status.version[:1].isdigit()


@pytest.mark.django_db(transaction=True)
async def test_our_process_reports_what_litellm_offers(
    gateway_process: GatewayProcess, settings: Settings
) -> None:
    """With its version."""
    settings.GATEWAY_URL = gateway_process.url
    status = await checked(OURS)
    assert (status.state, status.problem) == ("up", "")
    assert status.version[:1].isdigit()
    assert "bedrock" in status.vendors


@pytest.mark.parametrize(
    ("answer", "state", "problem"),
    [
        ({"status": "loading", "problem": "LiteLLM is still loading."}, "starting", "still"),
        ({"status": "missing", "problem": "LiteLLM could not be imported."}, "down", "imported"),
    ],
)
@pytest.mark.django_db(transaction=True)
async def test_a_process_without_litellm_is_starting_or_down(
    aside: Aside, settings: Settings, answer: dict[str, str], state: str, problem: str
) -> None:
    """As it says itself."""
    settings.GATEWAY_URL = aside(json.dumps(answer).encode())
    status = await checked(OURS)
    assert status.state == state
    assert problem in status.problem


@pytest.mark.django_db(transaction=True)
async def test_a_process_that_hangs_or_is_away_has_a_problem(
    aside: Aside, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the patience."""
    monkeypatch.setattr(gateways, "_TIMEOUTS", replace(gateways._TIMEOUTS, first_token=0.2))
    settings.GATEWAY_URL = aside(None)
    status = await checked(OURS)
    assert status.state == "down"
    assert status.problem.startswith("The process does not answer: No answer began")
    settings.GATEWAY_URL = f"http://127.0.0.1:{fakes.refusing_port()}"
    assert "refused" in (await checked(OURS)).problem


@pytest.mark.django_db(transaction=True)
async def test_an_unreachable_gateway_has_a_problem(fake: fakes.Upstream) -> None:
    """And one that refuses its key."""
    away = await checked(
        Endpoint(key="1", name="x", url=f"http://127.0.0.1:{fakes.refusing_port()}")
    )
    assert (away.state, "could not be reached" in away.problem) == ("down", True)
    refused = await checked(Endpoint(key="1", name="x", url=fake.url, api_key="wrong"))
    assert "refused its own key" in refused.problem


@pytest.mark.django_db(transaction=True)
async def test_the_worker_asks_all_in_use_and_forgets_what_is_gone(
    fake: fakes.Upstream, settings: Settings
) -> None:
    """Each minute; the page shows the stored status to everybody, without a call."""
    settings.GATEWAY_TOKEN = ""
    await Gateway.objects.acreate(name="Spare", url=fake.url, api_key=fakes.KEY)
    await Gateway.objects.acreate(name="Off", url="http://127.0.0.1:9", enabled=False)
    await GatewayCheck.objects.acreate(
        endpoint="http://gone:1", checked_at=timezone.now(), ms=1, state="up"
    )
    try:
        await gateways.check_endpoints()
    finally:
        await http.close()
    status = await GatewayCheck.objects.aget()
    assert (status.endpoint, status.state, status.serves) == (fake.url, "up", len(fake.models))


@pytest.mark.django_db(transaction=True)
async def test_a_test_answers_alone_for_htmx_and_leads_back_without(
    fake: fakes.Upstream, owner: User
) -> None:
    """What it found is on the page from then on."""
    client = AsyncClient()
    await client.aforce_login(owner)
    gateway = await Gateway.objects.acreate(name="Spare", url=fake.url, api_key=fakes.KEY)
    address = reverse("gateways:check", args=[gateway.pk])
    try:
        alone = (await client.post(address, headers={"HX-Request": "true"})).content.decode()
        assert "Responded in" in alone
        assert f'hx-target="#status-{gateway.pk}"' in alone
        assert "<html" not in alone
        assert (await client.post(address)).headers["location"] == INDEX
    finally:
        await http.close()
    html = (await client.get(INDEX)).content.decode()
    assert "Responded in" in html
    assert "submit, load" not in html.partition(">Spare<")[2].partition("</section>")[0]


def test_checks_and_calls_give_one_health(
    owner_client: Client, make_provider: MakeProvider, settings: Settings
) -> None:
    """One that did not answer is failing, until a call through it does well; old words are none."""
    settings.GATEWAY_TOKEN = ""
    make_provider()
    Gateway.objects.create(name="Spare", url=URL)
    make_provider("Beta")
    check = GatewayCheck(endpoint=URL, checked_at=timezone.now(), ms=3, state="down", problem="Ow.")
    check.save()

    def status() -> str:
        html = owner_client.get(INDEX).content.decode()
        return html.partition('data-status="')[2].partition('"')[0]

    assert status() == "failing"
    Route.objects.filter(endpoint=URL).update(last_success_at=timezone.now())
    assert status() == "healthy"
    Route.objects.filter(endpoint=URL).update(last_success_at=None)
    GatewayCheck.objects.update(checked_at=timezone.now() - timedelta(minutes=6))
    assert status() == "unknown"
    assert b"submit, load" in owner_client.get(INDEX).content


def test_our_process_is_paused_by_its_flag(
    owner_client: Client, make_provider: MakeProvider, settings: Settings
) -> None:
    """And the page says where that is set."""
    settings.GATEWAY_TOKEN, settings.GATEWAY_SDK = "t" * 32, False
    html = owner_client.get(INDEX).content.decode()
    assert 'data-status="paused"' in html
    assert "#flag-gateway_sdk" in html
    assert "gateways/process/check/" not in html


def test_a_provider_s_own_gateway_is_shown_once_where_it_was_set(
    owner_client: Client, make_provider: MakeProvider, settings: Settings
) -> None:
    """Two providers through the same one: one gateway with two routes."""
    settings.GATEWAY_TOKEN = ""
    for name in ("Acme", "Beta"):
        make_provider(name, gateway_endpoint=URL, gateway_api_key=SECRET)
    html = owner_client.get(INDEX).content.decode()
    assert html.count(URL) == 1
    assert "Gateway of Acme" in html
    assert "2 providers can use this gateway" in html
    assert SECRET not in html


def test_a_new_key_is_tried_at_once(owner_client: Client, make_provider: MakeProvider) -> None:
    """Open routes of the old address are due; its status is deleted."""
    gateway = Gateway.objects.create(name="Spare", url=URL, api_key="old-key-000000")
    route = make_provider().routes.get(endpoint=URL)
    later = timezone.now() + timedelta(minutes=5)
    Route.objects.filter(pk=route.pk).update(state=State.OPEN, retry_at=later)
    GatewayCheck.objects.create(endpoint=URL, checked_at=later, ms=1, state="down")
    page = reverse("gateways:edit", args=[gateway.pk])
    owner_client.post(page, NEW | {"new_key": ""})
    route.refresh_from_db()
    assert route.retry_at == later
    owner_client.post(page, NEW)
    route.refresh_from_db()
    assert route.retry_at is not None
    assert route.retry_at < later
    assert not GatewayCheck.objects.exists()
