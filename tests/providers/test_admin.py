"""The admin shows everything but keys, and changes only what it should."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, Message, Role
from health.models import Incident
from providers.models import Attempt, AuditEvent, Gateway, Provider, Route
from providers.router import snapshot

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
EDITED = {
    "name": "Renamed",
    "provider_type": "hybrid",
    "routing_method": "auto",
    "health_check_interval": "60",
    "chat_probe_cap": "0.05",
    "reasoning_tags": "default",
    "prefer_direct": "on",
    "fallback_enabled": "on",
    "enabled": "on",
}


@pytest.fixture
def provider(make_provider: MakeProvider) -> Provider:
    provider = make_provider(
        api_key=SECRET, gateway_api_key=SECRET, extra_headers={"X-Team": SECRET}
    )
    Attempt.objects.create(
        provider=provider, request_id=uuid4(), method="direct", purpose="chat", outcome="ok"
    )
    return provider


def test_every_list_and_row_opens_without_a_key(owner_client: Client, provider: Provider) -> None:
    """Masked where it helps, absent elsewhere."""
    rows = {
        "provider": provider,
        "route": provider.routes.first(),
        "languagemodel": provider.language_models.first(),
        "attempt": provider.attempts.first(),
    }
    for name, row in rows.items():
        assert row is not None
        for url in (
            reverse(f"admin:providers_{name}_changelist"),
            reverse(f"admin:providers_{name}_change", args=[row.pk]),
        ):
            response = owner_client.get(url)
            assert response.status_code == 200, url
            assert SECRET not in response.content.decode(), url
    url = reverse("admin:providers_provider_change", args=[provider.pk])
    assert "…wxyz" in owner_client.get(url).content.decode()


def test_the_history_of_a_row_holds_no_key(owner_client: Client, provider: Provider) -> None:
    """Saving in the admin neither shows nor loses it."""
    url = reverse("admin:providers_provider_change", args=[provider.pk])
    assert owner_client.post(url, EDITED).status_code == 302
    provider.refresh_from_db()
    assert (provider.name, provider.api_key) == ("Renamed", SECRET)
    history = reverse("admin:providers_provider_history", args=[provider.pk])
    assert SECRET not in owner_client.get(history).content.decode()


def test_a_fact_that_is_written_there_stays(owner_client: Client, provider: Provider) -> None:
    """Its source says who wrote it; what is left as it is keeps its own."""
    model = provider.language_models.get()
    model.context, model.sources = 5, {"context": "provider", "name": "provider"}
    model.save()
    address = reverse("admin:providers_languagemodel_change", args=[model.pk])
    form = owner_client.get(address).context["adminform"].form
    values = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    values = {name: value for name, value in values.items() if value is not False}
    response = owner_client.post(address, values | {"context": "64000"})
    assert response.status_code == 302, response.content.decode()[:2000]
    model.refresh_from_db()
    assert model.context == 64000
    assert model.sources == {"context": "hand", "name": "provider"}


@pytest.mark.parametrize(
    ("typed", "stored"), [("", {}), ('{"top_p": 1}', {"top_p": 1}), ("[1]", None)]
)
def test_a_providers_parameters_are_an_object_there_too(
    owner_client: Client, provider: Provider, typed: str, stored: dict[str, object] | None
) -> None:
    """An emptied field is none of them; what is no object is said at the field."""
    address = reverse("admin:providers_provider_change", args=[provider.pk])
    form = owner_client.get(address).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    values = {name: value for name, value in values.items() if value not in (None, False)}
    response = owner_client.post(address, values | {"parameters": typed})
    if stored is None:
        assert response.status_code == 200
        assert "parameters" in response.context["adminform"].form.errors
    else:
        assert response.status_code == 302
        provider.refresh_from_db()
        assert provider.parameters == stored


def test_models_are_taken_in_and_out_of_use(owner_client: Client, provider: Provider) -> None:
    """By the list's actions."""
    row = provider.language_models.get()
    url = reverse("admin:providers_languagemodel_changelist")
    for action, enabled in (("disable", False), ("enable", True)):
        owner_client.post(url, {"action": action, "_selected_action": [row.pk]})
        row.refresh_from_db()
        assert row.enabled == enabled


def act(client: Client, provider: Provider, action: str) -> str:
    """Chooses an action in the list of providers; the page that follows."""
    url = reverse("admin:providers_provider_changelist")
    sent = {"action": action, "_selected_action": [provider.pk]}
    return client.post(url, sent, follow=True).content.decode()


def test_a_provider_is_paused_and_resumed_as_on_its_page(
    owner_client: Client, provider: Provider
) -> None:
    """What is resumed is checked at once, by the list's action or by an edit."""
    later = timezone.now() + timedelta(hours=1)
    assert f"Paused: {provider.name}." in act(owner_client, provider, "pause")
    Provider.objects.update(next_check_at=later)
    assert f"Resumed: {provider.name}." in act(owner_client, provider, "resume")
    provider.refresh_from_db()
    assert provider.enabled
    assert provider.next_check_at < later
    Provider.objects.update(next_check_at=later, enabled=False)
    url = reverse("admin:providers_provider_change", args=[provider.pk])
    assert owner_client.post(url, EDITED).status_code == 302
    provider.refresh_from_db()
    assert provider.enabled
    assert provider.next_check_at < later
    said = [event.verb for event in AuditEvent.objects.order_by("pk")]
    assert said == ["paused", "resumed", "changed"]


def test_a_provider_that_is_removed_here_can_be_brought_back(
    owner_client: Client, provider: Provider
) -> None:
    """It is kept as by its own page; deleting it for good is not offered."""
    listed = owner_client.get(reverse("admin:providers_provider_changelist")).content.decode()
    assert "delete_selected" not in listed
    assert "restored" in act(owner_client, provider, "remove")
    assert not Provider.objects.exists()
    assert AuditEvent.objects.get().verb == "removed"
    owner_client.post(reverse("providers:restore", args=[provider.slug]))
    assert Provider.objects.get().language_models.exists()


@pytest.mark.parametrize(("action", "task"), [("test", "look_over"), ("refresh_models", "refresh")])
def test_providers_are_checked_by_the_worker(
    owner_client: Client, provider: Provider, action: str, task: str
) -> None:
    """The page only hands the work over."""
    with current_app.connection_for_read() as broker:
        queue = broker.SimpleQueue("celery")
        queue.clear()
        assert "1 of 1 sent to the worker" in act(owner_client, provider, action)
        assert queue.get(timeout=2).headers["task"] == f"providers.tasks.{task}"
        queue.clear()
        queue.close()


def test_an_edit_of_who_stands_in_is_noted(
    owner_client: Client, provider: Provider, make_provider: MakeProvider
) -> None:
    """Though the admin stores it after the row."""
    other = make_provider("Spare")
    url = reverse("admin:providers_provider_change", args=[provider.pk])
    sent = EDITED | {"name": provider.name, "alternatives": [other.pk]}
    assert owner_client.post(url, sent).status_code == 302
    assert AuditEvent.objects.get().changes == {"alternatives": ["", "Spare"]}


@pytest.mark.parametrize("name", ["route", "attempt"])
def test_what_the_program_writes_is_read_only(
    owner_client: Client, provider: Provider, name: str
) -> None:
    """Nobody corrects a record by hand."""
    row = provider.routes.first() if name == "route" else provider.attempts.first()
    assert row is not None
    for page in ("change", "delete"):
        url = reverse(f"admin:providers_{name}_{page}", args=[row.pk])
        assert owner_client.post(url, {"post": "yes"}).status_code == 403
    assert owner_client.get(reverse(f"admin:providers_{name}_add")).status_code == 403


def test_what_people_wrote_is_not_in_the_admin(owner_client: Client, stranger: User) -> None:
    """Their conversations are counted, not opened."""
    conversation = Conversation.objects.create(owner=stranger, title="A private title")
    message = Message.objects.create(
        conversation=conversation, role=Role.USER, text="A private question"
    )
    for name, row in (("conversation", conversation), ("message", message)):
        html = owner_client.get(reverse(f"admin:chat_{name}_changelist")).content.decode()
        assert "private" not in html
        for page in ("change", "delete", "history"):
            url = reverse(f"admin:chat_{name}_{page}", args=[row.pk])
            response = owner_client.get(url)
            assert response.status_code in (302, 403), url


# Further gateways


def gateway_form(client: Client, gateway: Gateway | None = None, **changed: str) -> str:
    """Sends the form; the page that comes back, empty where it was saved."""
    url = reverse("admin:providers_gateway_add")
    if gateway:
        url = reverse("admin:providers_gateway_change", args=[gateway.pk])
    sent = {"name": "Spare", "address": "http://litellm:4000", "new_key": "", "enabled": "on"}
    response = client.post(url, sent | changed)
    return "" if response.status_code == 302 else response.content.decode()


def test_a_further_gateway_becomes_a_route_of_every_provider(
    owner_client: Client, provider: Provider
) -> None:
    """With its key, which is shown by its last characters alone."""
    assert gateway_form(owner_client, address="http://litellm:4000/", new_key=SECRET) == ""
    gateway = Gateway.objects.get()
    assert (gateway.url, gateway.api_key) == ("http://litellm:4000", SECRET)
    candidate = snapshot.load_candidate(provider.pk)
    assert candidate is not None
    route = next(route for route in candidate.routes if route.endpoint == gateway.url)
    assert candidate.target(route).api_key == SECRET
    assert Route.objects.filter(provider=provider, endpoint=gateway.url).exists()
    for name, args in (("changelist", []), ("change", [gateway.pk]), ("history", [gateway.pk])):
        url = reverse(f"admin:providers_gateway_{name}", args=args)
        page = owner_client.get(url).content.decode()
        assert SECRET not in page
        assert ("…wxyz" in page) == (name != "history")


def test_a_gateways_key_stays_and_goes_to_no_other_server(owner_client: Client, db: None) -> None:
    """Left empty it is kept; for another server it must be typed."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000", api_key=SECRET)
    assert gateway_form(owner_client, gateway, address="http://litellm:4000/v1") == ""
    gateway.refresh_from_db()
    assert (gateway.url, gateway.api_key) == ("http://litellm:4000/v1", SECRET)
    page = gateway_form(owner_client, gateway, address="http://elsewhere:4000")
    assert "Enter its key" in page
    assert SECRET not in page
    gateway.refresh_from_db()
    assert gateway.url == "http://litellm:4000/v1"


def test_a_gateways_address_is_checked(owner_client: Client, db: None) -> None:
    """As a provider's is, and each only once."""
    assert "Invalid endpoint" in gateway_form(owner_client, address="litellm")
    assert gateway_form(owner_client) == ""
    assert "A gateway with this address exists already" in gateway_form(owner_client, name="Again")


def test_a_gateway_that_is_removed_is_no_route_any_more(
    owner_client: Client, provider: Provider
) -> None:
    """Also where several are removed at once."""
    gateway = Gateway.objects.create(name="Spare", url="http://litellm:4000")
    sent = {"action": "delete_selected", "_selected_action": gateway.pk, "post": "yes"}
    owner_client.post(reverse("admin:providers_gateway_changelist"), sent)
    candidate = snapshot.load_candidate(provider.pk)
    assert candidate is not None
    assert all(route.endpoint != "http://litellm:4000" for route in candidate.routes)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "m-1"}, 1),
        ({"q": "boom"}, 1),
        ({"q": "m"}, 0),
        ({"outcome": "network"}, 1),
        ({"method": "gateway"}, 0),
        ({}, 2),
    ],
)
def test_attempts_are_found_by_what_an_index_can_find(
    owner_client: Client, provider: Provider, query: dict[str, str], found: int
) -> None:
    """By a request's id, a model's or an error's code in full, and by filters."""
    attempt = Attempt.objects.create(
        provider=provider,
        request_id=uuid4(),
        method="direct",
        model_id="m-1",
        purpose="api",
        outcome="network",
        error_code="boom",
    )
    address = reverse("admin:providers_attempt_changelist")
    assert owner_client.get(address, query).context["cl"].result_count == found
    alone = owner_client.get(address, {"q": str(attempt.request_id)})
    assert alone.context["cl"].result_count == 1


def test_a_breaker_is_reset_by_hand(owner_client: Client, provider: Provider) -> None:
    """As if nothing had happened, whoever holds an older view of it."""
    route = provider.routes.first()
    assert route is not None
    Route.objects.filter(pk=route.pk).update(state="open", consecutive_failures=5)
    listed = reverse("admin:providers_route_changelist")
    owner_client.post(listed, {"action": "reset_breaker", "_selected_action": [route.pk]})
    again = Route.objects.get(pk=route.pk)
    assert (again.state, again.consecutive_failures) == ("closed", 0)
    assert again.epoch == route.epoch + 1


def test_a_person_who_has_chatted_can_be_deleted(owner_client: Client, stranger: User) -> None:
    """With what they wrote, none of which is shown to who deletes them."""
    conversation = Conversation.objects.create(owner=stranger, title="Private")
    Message.objects.create(conversation=conversation, role=Role.USER, text="Private as well")
    page = reverse("admin:auth_user_delete", args=[stranger.pk])
    asked = owner_client.get(page).content.decode()
    assert "Private" not in asked
    assert f"conversation {conversation.pk}" in asked
    assert owner_client.post(page, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=stranger.pk).exists()
    assert not Conversation.objects.filter(pk=conversation.pk).exists()


def test_incidents_are_nobodys_to_delete(owner_client: Client, provider: Provider) -> None:
    """They follow from what happened; they are found by their provider."""
    incident = Incident.objects.create(provider=provider, status="failing", worst="failing")
    page = reverse("admin:health_incident_delete", args=[incident.pk])
    assert owner_client.post(page, {"post": "yes"}).status_code == 403
    address = reverse("admin:health_incident_changelist")
    found = owner_client.get(address, {"q": provider.name}).context["cl"].result_count
    assert (found, owner_client.get(address, {"q": "none"}).context["cl"].result_count) == (1, 0)
