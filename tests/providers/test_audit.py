"""Who changed what is noted once for each change, in words, and without a secret."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from api.models import ClientKey
from providers import audit
from providers.models import AuditEvent, Gateway, Provider
from tests.providers.test_forms import values

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
pytestmark = pytest.mark.django_db


def events() -> list[tuple[str, str, str, str]]:
    rows = AuditEvent.objects.order_by("pk")
    return [(row.username, row.verb, row.kind, row.subject) for row in rows]


def test_a_secret_is_said_to_have_changed_and_no_more(make_provider: MakeProvider) -> None:
    """By its field's type, so that one that is added later is hidden too."""
    provider = make_provider(api_key=SECRET, extra_headers={"X-Team": SECRET}, name="Acme")
    before = audit.values(provider)
    provider.name, provider.api_key, provider.gateway_api_key = "Beta", SECRET + "2", SECRET
    changes = audit.changed(before, audit.values(provider))
    assert changes == {
        "name": ["Acme", "Beta"],
        "api_key": ["stored", "stored"],
        "gateway_api_key": ["", "stored"],
    }
    assert SECRET not in repr(before)


def test_what_the_program_writes_is_nobodys_change(make_provider: MakeProvider) -> None:
    """Health moves by itself."""
    provider = make_provider()
    before = audit.values(provider)
    provider.health_status = "failing"
    audit.noted(None, "changed", provider, before)
    assert events() == []


def test_a_provider_is_followed_from_its_form(owner_client: Client, owner: User) -> None:
    """Made, changed, and not changed by a save of the same."""
    typed = values(api_key=SECRET)
    owner_client.post(reverse("providers:new"), typed)
    provider = Provider.objects.get()
    page = reverse("providers:detail", args=[provider.slug])
    owner_client.post(page, {**typed, "api_key": ""})
    owner_client.post(page, {**typed, "api_key": "", "name": "Renamed"})
    assert events() == [
        ("alice", "created", "provider", typed["name"]),
        ("alice", "changed", "provider", "Renamed"),
    ]
    assert AuditEvent.objects.latest("pk").changes == {"name": [typed["name"], "Renamed"]}
    assert SECRET not in str(list(AuditEvent.objects.values()))


def test_who_stands_in_is_followed(owner_client: Client, make_provider: MakeProvider) -> None:
    """Though it is no column of the provider."""
    provider, spare = make_provider(), make_provider("Spare")
    typed = values(name=provider.name, base_url=provider.base_url, alternatives=[spare.pk])
    owner_client.post(reverse("providers:detail", args=[provider.slug]), typed)
    assert AuditEvent.objects.get().changes == {"alternatives": ["", "Spare"]}


def test_client_keys_are_followed(owner_client: Client) -> None:
    """From their making to their end; the secret itself is nowhere."""
    owner_client.post(reverse("api:create-key"), {"name": "laptop", "days": "0"})
    key = ClientKey.objects.get()
    owner_client.post(reverse("api:revoke-key", args=[key.pk]))
    assert [(verb, kind) for _, verb, kind, _ in events()] == [
        ("created", "client key"),
        ("revoked", "client key"),
    ]


def test_models_are_followed(owner_client: Client, make_provider: MakeProvider) -> None:
    """One by one, and many at once."""
    provider = make_provider()
    model = provider.language_models.get()
    owner_client.post(
        reverse("providers:toggle-model", args=[provider.slug, model.pk]), {"enabled": ""}
    )
    owner_client.post(reverse("providers:toggle-models", args=[provider.slug]), {"enabled": "on"})
    assert [(verb, kind) for _, verb, kind, _ in events()] == [
        ("changed", "language model"),
        ("enabled", "provider"),
    ]


def test_the_admin_is_followed_too(owner_client: Client, make_provider: MakeProvider) -> None:
    """Its forms, its actions, and its deletions."""
    provider = make_provider()
    listed = reverse("admin:providers_provider_changelist")
    owner_client.post(listed, {"action": "pause", "_selected_action": [provider.pk]})
    new = {"name": "Spare", "address": "http://litellm:4000", "new_key": SECRET, "enabled": "on"}
    owner_client.post(reverse("admin:providers_gateway_add"), new)
    gateway = Gateway.objects.get()
    owner_client.post(reverse("admin:providers_gateway_delete", args=[gateway.pk]), {"post": "yes"})
    assert [(verb, kind) for _, verb, kind, _ in events()] == [
        ("paused", "provider"),
        ("created", "gateway"),
        ("deleted", "gateway"),
    ]
    assert SECRET not in str(list(AuditEvent.objects.values()))
    page = owner_client.get(reverse("admin:providers_auditevent_changelist")).content.decode()
    assert "Spare" in page
    assert SECRET not in page
