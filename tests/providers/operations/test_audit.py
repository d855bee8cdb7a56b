"""Who changed what is noted once for each change, in words, and without a secret."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Model
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from api.keys.lifecycle import issue_key
from api.models import ClientKey
from providers.infra import feature_flags
from providers.models import AuditEvent, Gateway, Provider
from providers.operations import audit, lifecycle
from tests.providers.test_admin import EDITED
from tests.providers.test_forms import values

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"
NEW = "sk-typed-9876543210abcd"
COMMANDS = ("import command", "rotation")
pytestmark = pytest.mark.django_db


def events() -> list[tuple[str, str, str, str]]:
    rows = AuditEvent.objects.order_by("pk")
    return [(row.username, row.verb, row.kind, row.subject) for row in rows]


def test_a_secret_is_said_to_have_changed_and_no_more(make_provider: MakeProvider) -> None:
    """By its field's type, so that one that is added later is hidden too."""
    provider = make_provider(api_key=SECRET, extra_headers={"X-Team": SECRET}, name="Acme")
    before = audit.values(provider)
    provider.name, provider.api_key, provider.gateway_api_key = "Beta", SECRET + "2", SECRET
    changes = audit.diff_values(before, audit.values(provider))
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
    audit.note_changes(None, "changed", provider, before)
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


def test_what_is_empty_of_a_new_row_is_not_reported(make_provider: MakeProvider) -> None:
    """What somebody filled in stands out."""
    shown = audit.diff_values({}, audit.values(make_provider(api_key=SECRET)))
    assert shown["api_key"] == ["", "stored"]
    assert not {"extra_headers", "gateway_api_key", "alternatives", "removed_at"} & shown.keys()


def test_who_stands_in_is_followed(owner_client: Client, make_provider: MakeProvider) -> None:
    """Though it is no column of the provider."""
    provider, other = make_provider(), make_provider("Spare")
    typed = values(name=provider.name, base_url=provider.base_url, alternatives=[other.pk])
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


# Every way of changing a provider, a key or a flag


@dataclass
class At:
    """What a way of changing starts from: who does it, and to what."""

    client: Client
    provider: Provider
    other: Provider
    gateway: Gateway
    key: ClientKey
    folder: Path

    def post(self, page: str, /, *args: object, **sent: object) -> None:
        answer = self.client.post(reverse(page, args=args), sent)
        assert answer.status_code < 400, answer.content.decode()

    def form(self, **changed: object) -> None:
        typed = values(name=self.provider.name, base_url=self.provider.base_url)
        self.post("providers:detail", self.provider.slug, **{**typed, "api_key": "", **changed})

    def act(self, name: str, action: str, row: Model, **more: object) -> None:
        sent = {"action": action, "_selected_action": row.pk} | more
        self.post(f"admin:{name}_changelist", **sent)

    def file(self) -> str:
        """An export of another instance, as it were."""
        return json.dumps(
            {
                "format": "opencode-web",
                "version": 1,
                "providers": [
                    {
                        "slug": self.provider.slug,
                        "name": self.provider.name,
                        "kind": "openai",
                        "base_url": self.provider.base_url,
                        "api_key": NEW,
                        "alternatives": [self.other.slug],
                    }
                ],
            }
        )


def by_upload(at: At) -> None:
    at.post("settings:import", source=at.file())
    at.post("settings:import-preview")


def by_command(at: At) -> None:
    file = at.folder / "export.json"
    file.write_text(at.file())
    call_command("import_providers", file, stdout=StringIO())


def by_rotation(at: At) -> None:
    with override_settings(
        ENCRYPTION_KEYS=[Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    ):
        call_command("rotate_keys", stdout=StringIO())


def brought_back(at: At) -> None:
    lifecycle.remove(at.provider)
    at.post("providers:restore", at.provider.slug)


WAYS: dict[str, tuple[Callable[[At], None], list[tuple[str, str, str]]]] = {
    "new": (
        lambda at: at.post("providers:new", **values(name="Third", api_key=NEW)),
        [("created", "provider", "api_key")],
    ),
    "form": (lambda at: at.form(name="Renamed"), [("changed", "provider", "name")]),
    "routing": (
        lambda at: at.form(routing_method="gateway"),
        [("changed", "provider", "routing_method")],
    ),
    "key": (lambda at: at.form(api_key=NEW), [("changed", "provider", "api_key")]),
    "key removed": (
        lambda at: at.form(remove_key="on"),
        [("changed", "provider", "api_key")],
    ),
    "fix": (
        lambda at: at.post(
            "providers:apply-fix", at.provider.slug, fix=f"base_url={at.provider.base_url}/v2"
        ),
        [("changed", "provider", "base_url")],
    ),
    "order": (
        lambda at: at.post("providers:move", at.other.slug, to="up"),
        [("moved", "provider", "position")],
    ),
    "pause": (
        lambda at: at.post("providers:pause", at.provider.slug),
        [("paused", "provider", "enabled")],
    ),
    "copy": (
        lambda at: at.post("providers:duplicate", at.provider.slug),
        [("created", "provider", "copy of")],
    ),
    "remove": (
        lambda at: at.post("providers:delete", at.provider.slug),
        [("removed", "provider", "removed_at")],
    ),
    "undo": (brought_back, [("restored", "provider", "removed_at")]),
    "opting out": (
        lambda at: at.post("settings:opt-out", at.provider.slug),
        [("changed", "provider", "provider_type")],
    ),
    "import": (by_upload, [("imported", "provider", "alternatives")]),
    "import command": (by_command, [("imported", "provider", "api_key")]),
    "admin pause": (
        lambda at: at.act("providers_provider", "pause", at.provider),
        [("paused", "provider", "enabled")],
    ),
    "admin removal": (
        lambda at: at.act("providers_provider", "remove", at.provider),
        [("removed", "provider", "removed_at")],
    ),
    "admin edit": (
        lambda at: at.post("admin:providers_provider_change", at.provider.pk, **EDITED),
        [("changed", "provider", "name")],
    ),
    "breaker": (
        lambda at: at.act("providers_route", "reset_breaker", at.provider.routes.all()[0]),
        [("reset the breaker", "route", "")],
    ),
    "client key": (
        lambda at: at.post("api:create-key", name="laptop", days="0"),
        [("created", "client key", "")],
    ),
    "client key revoked": (
        lambda at: at.post("api:revoke-key", at.key.pk),
        [("revoked", "client key", "")],
    ),
    "client key revoked in the admin": (
        lambda at: at.act("api_clientkey", "revoke", at.key),
        [("revoked", "client key", "")],
    ),
    "gateway": (
        lambda at: at.post(
            "gateways:new", name="New", address="http://l:4001", new_key=NEW, enabled="on"
        ),
        [("created", "gateway", "api_key")],
    ),
    "gateway key": (
        lambda at: at.post(
            "gateways:edit",
            at.gateway.pk,
            name=at.gateway.name,
            address=at.gateway.url,
            new_key=NEW,
            enabled="on",
        ),
        [("changed", "gateway", "api_key")],
    ),
    "gateway removed": (
        lambda at: at.post("gateways:delete", at.gateway.pk),
        [("deleted", "gateway", "")],
    ),
    "gateway removed in the admin": (
        lambda at: at.act("providers_gateway", "delete_selected", at.gateway, post="yes"),
        [("deleted", "gateway", "")],
    ),
    "flag": (
        lambda at: at.post("settings:flag", "chat_probes"),
        [("changed", "flag", "enabled")],
    ),
    "rotation": (by_rotation, [("rotated", "key", "secrets")]),
}


@pytest.fixture
def unflagged() -> Iterator[None]:
    """This process forgets the flags that a test has set."""
    yield
    feature_flags.set_stored({})


@pytest.mark.usefixtures("unflagged")
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_changing_is_an_event(
    owner_client: Client, owner: User, make_provider: MakeProvider, tmp_path: Path, way: str
) -> None:
    """One, with who and when and what, and without any secret."""
    key, _ = issue_key(owner, "phone", None)
    at = At(
        client=owner_client,
        provider=make_provider(api_key=SECRET, base_url="https://a.example"),
        other=make_provider("Spare"),
        gateway=Gateway.objects.create(name="Stand-in", url="http://l:4000", api_key=SECRET),
        key=key,
        folder=tmp_path,
    )
    act, expected = WAYS[way]
    began = timezone.now()
    act(at)
    rows = list(AuditEvent.objects.order_by("pk"))
    assert [(row.verb, row.kind) for row in rows] == [each[:2] for each in expected]
    for row, (_, _, field) in zip(rows, expected, strict=True):
        assert row.at >= began
        assert row.username == ("command line" if way in COMMANDS else "alice")
        assert row.subject
        assert not field or field in row.changes
        assert all(any(words) for words in row.changes.values())
    shown = str(list(AuditEvent.objects.values()))
    assert SECRET not in shown
    assert NEW not in shown
