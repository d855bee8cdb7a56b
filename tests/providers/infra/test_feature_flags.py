"""Flags: the environment before the panel before the default; each one really acts."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from opencode_web.env import Environment
from providers.forms import ProviderForm
from providers.infra import feature_flags
from providers.models import AuditEvent, FlagSetting, Provider, read_flags
from providers.probes import probe_plan
from providers.router import route_table, snapshot
from providers.vendors.presets import get
from tests.polling import until

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db
PAGE = "/settings/"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    feature_flags.set_stored({})
    yield
    feature_flags.set_stored({})


def switched(client: Client, name: str, on: str) -> str:
    return client.post(f"{PAGE}flags/{name}/", {"on": on}, follow=True).content.decode()


def test_the_environment_wins_over_the_panel_and_the_panel_over_the_default(
    settings: Settings,
) -> None:
    """And each says that it was it."""
    assert feature_flags.state("emergency_answers") == (False, "default")
    FlagSetting.objects.create(name="emergency_answers", enabled=True)
    read_flags()
    assert feature_flags.state("emergency_answers") == (True, "panel")
    settings.EMERGENCY_ANSWERS = False
    assert feature_flags.state("emergency_answers") == (False, "environment")


def test_every_flag_has_its_variable() -> None:
    """Which is not set by default."""
    for flag in feature_flags.FLAGS.values():
        assert Environment.model_fields[flag.name].default is None


def test_an_operator_switches_one_and_it_is_noted(owner_client: Client) -> None:
    """On the page, without any script."""
    assert "Turn off" in owner_client.get(PAGE).content.decode()
    assert "Chat probes is off" in switched(owner_client, "chat_probes", "off")
    assert feature_flags.state("chat_probes") == (False, "panel")
    assert "Set here." in owner_client.get(PAGE).content.decode()
    event = AuditEvent.objects.get()
    assert (event.verb, event.kind, event.changes) == (
        "changed",
        "flag",
        {"enabled": ["on", "off"]},
    )
    switched(owner_client, "chat_probes", "off")
    assert AuditEvent.objects.count() == 1


def test_a_pinned_flag_cannot_be_switched(owner_client: Client, settings: Settings) -> None:
    """The page names the variable."""
    settings.CHAT_PROBES = True
    assert (
        "Set by the environment variable <code>CHAT_PROBES</code>"
        in owner_client.get(PAGE).content.decode()
    )
    assert "CHAT_PROBES sets this flag" in switched(owner_client, "chat_probes", "off")
    assert not FlagSetting.objects.exists()


def test_only_operators_switch(stranger_client: Client, owner_client: Client) -> None:
    """Others may look. What is no flag is not found."""
    assert b"Only operators" in stranger_client.get(PAGE).content
    assert stranger_client.post(f"{PAGE}flags/chat_probes/", {"on": "off"}).status_code == 403
    assert owner_client.post(f"{PAGE}flags/nonsense/", {"on": "off"}).status_code == 404


def test_without_smart_routing_a_new_provider_begins_as_legacy(owner_client: Client) -> None:
    """The form says so, and may still be changed."""
    assert ProviderForm.for_preset(get("openai"))["provider_type"].value() != "legacy"
    switched(owner_client, "smart_routing", "off")
    assert ProviderForm.for_preset(get("openai"))["provider_type"].value() == "legacy"


def test_without_the_gateway_process_no_route_leads_through_it(
    make_provider: MakeProvider, owner_client: Client
) -> None:
    """From the next reading of the routes on, and back again; LiteLLM proxies stay."""
    provider = make_provider()

    def routes() -> set[tuple[str, str]]:
        snapshot.load()
        return {(r.method.value, r.endpoint) for r in snapshot.load_routes()[provider.pk]}

    assert routes() == {("direct", ""), ("gateway", "")}
    switched(owner_client, "gateway_sdk", "off")
    assert routes() == {("direct", "")}
    Provider.objects.update(gateway_endpoint="http://litellm:4000")
    assert routes() == {("direct", ""), ("gateway", "http://litellm:4000")}
    Provider.objects.update(gateway_endpoint=None)
    switched(owner_client, "gateway_sdk", "on")
    assert routes() == {("direct", ""), ("gateway", "")}


def test_without_chat_probes_no_check_chats(
    make_provider: MakeProvider, owner_client: Client
) -> None:
    """Whatever the provider's operator allows."""
    provider = make_provider(chat_probe=True)

    def chatting() -> bool:
        now = datetime.now(UTC)
        return bool(probe_plan._chat_candidates(snapshot.load_candidates([provider.pk]), now))

    assert chatting()
    switched(owner_client, "chat_probes", "off")
    assert not chatting()


@pytest.mark.django_db(transaction=True)
async def test_a_change_holds_in_a_process_that_is_at_work(make_provider: MakeProvider) -> None:
    """By what another process stores; no call asks the database for it."""
    provider = await sync_to_async(make_provider)()
    try:
        candidate = await route_table.current().candidate(provider.pk, "m")
        assert candidate is not None
        assert {route.method.value for route in candidate.routes} == {"direct", "gateway"}
        await FlagSetting.objects.acreate(name="gateway_sdk", enabled=False)
        await until(lambda: len(route_table.current().routes(provider.pk)) == 1)
        assert feature_flags.state("gateway_sdk") == (False, "panel")
    finally:
        await route_table.close()


def test_a_password_is_changed_where_one_is_signed_in(owner_client: Client, owner: User) -> None:
    """It stays so here, and nowhere else; noted without any of it."""
    elsewhere = Client()
    elsewhere.force_login(owner)
    page = reverse("settings:password")
    wrong = {"old_password": "no", "new_password1": "short", "new_password2": "shirt"}
    answer = owner_client.post(page, wrong)
    assert answer.status_code == 422
    assert answer.content.count(b'class="errorlist"') == 2
    right = {"old_password": "a-long-pass-phrase"}
    right |= dict.fromkeys(("new_password1", "new_password2"), "another-long-phrase")
    assert b"Your password is changed." in owner_client.post(page, right, follow=True).content
    assert owner_client.get(PAGE).status_code == 200
    assert elsewhere.get(PAGE).status_code == 302
    event = AuditEvent.objects.get(verb="changed")
    assert (event.kind, event.subject) == ("user", "alice")
    assert "phrase" not in str(event.changes)


def test_the_settings_are_in_the_rail(owner_client: Client) -> None:
    """And the page says how long things are kept."""
    html = owner_client.get(reverse("settings:index")).content.decode()
    assert 'aria-current="page"' in html
    assert "KEEP_ATTEMPTS" in html
