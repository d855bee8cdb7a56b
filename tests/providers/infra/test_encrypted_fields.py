"""Stored secrets: encrypted, rotated, and never destroyed by a wrong key."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from providers.forms import SEALED, ProviderForm
from providers.infra.encrypted_fields import key_id, mask
from providers.management.commands import rotate_keys
from providers.models import Gateway, Provider
from tests.providers.test_forms import values

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"


def stored(provider: Provider) -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT api_key, extra_headers FROM providers_provider WHERE id = %s", [provider.pk]
        )
        found: tuple[str, str] = cursor.fetchone()
    return found


@pytest.fixture
def provider(make_provider: MakeProvider) -> Provider:
    return make_provider(
        base_url="https://api.example.com/v1", api_key=SECRET, extra_headers={"X-Team": "blue"}
    )


def test_nothing_readable_is_stored(provider: Provider) -> None:
    """Neither the key nor a header."""
    assert SECRET not in str(stored(provider))
    assert "blue" not in str(stored(provider))
    assert Provider.objects.get(pk=provider.pk).api_key == SECRET


def test_an_older_key_still_opens(provider: Provider, settings: Settings) -> None:
    """The first encrypts, every one decrypts."""
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert Provider.objects.get(pk=provider.pk).api_key == SECRET


def test_what_was_sealed_before_keys_had_ids_still_opens(
    provider: Provider, settings: Settings
) -> None:
    """And is given one by the rotation."""
    bare = Fernet(settings.ENCRYPTION_KEYS[0]).encrypt(SECRET.encode()).decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET api_key = %s", [bare])
    assert Provider.objects.get(pk=provider.pk).api_key == SECRET
    call_command("rotate_keys", stdout=StringIO())
    assert stored(provider)[0].startswith(key_id(settings.ENCRYPTION_KEYS[0]))
    assert Provider.objects.get(pk=provider.pk).api_key == SECRET


def test_rotation_lets_go_of_the_old_key(provider: Provider, settings: Settings) -> None:
    """Every secret of every table; a second run has nothing to do."""
    Gateway.objects.create(name="Spare", url="http://litellm:4000", api_key=SECRET)
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    before = stored(provider)
    for options, said in (
        (["--dry-run"], "3 would be re-encrypted, 0 up to date."),
        ([], "3 re-encrypted, 0 up to date."),
        ([], "0 re-encrypted, 3 up to date."),
    ):
        out = StringIO()
        call_command("rotate_keys", *options, stdout=out)
        assert out.getvalue().strip() == said
    assert stored(provider) != before
    settings.ENCRYPTION_KEYS = [new]
    again = Provider.objects.get(pk=provider.pk)
    assert again.api_key == SECRET
    assert json.dumps(again.extra_headers) == '{"X-Team": "blue"}'
    assert Gateway.objects.get().api_key == SECRET


def test_a_key_saved_during_the_rotation_is_not_lost(
    provider: Provider, settings: Settings
) -> None:
    """What was read is written back only where it is still there; else what is there is turned."""
    read = list(rotate_keys.read_tokens(Provider, "api_key"))
    Provider.objects.filter(pk=provider.pk).update(api_key="sk-typed-just-now")
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    assert rotate_keys.rotate_value(Provider, "api_key", *read[0], dry_run=False) == "rotated"
    assert stored(provider)[0].startswith(key_id(new))
    assert Provider.objects.get(pk=provider.pk).api_key == "sk-typed-just-now"
    assert rotate_keys.rotate_value(Provider, "api_key", *read[0], dry_run=False) == "current"


def test_a_key_removed_during_the_rotation_stays_away(
    provider: Provider, settings: Settings
) -> None:
    """It is counted apart from those that were turned."""
    read = list(rotate_keys.read_tokens(Provider, "api_key"))
    Provider.objects.filter(pk=provider.pk).update(api_key="")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert rotate_keys.rotate_value(Provider, "api_key", *read[0], dry_run=False) == "removed"
    assert Provider.objects.get(pk=provider.pk).api_key == ""


def test_the_rotation_reads_a_slice_at_a_time(
    provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows there are, each comes once."""
    monkeypatch.setattr(rotate_keys, "BATCH_SIZE", 2)
    for n in range(4):
        Gateway.objects.create(name=f"Spare {n}", url=f"http://litellm:{n + 1}", api_key=SECRET)
    with CaptureQueriesContext(connection) as queries:
        read = [pk for pk, _ in rotate_keys.read_tokens(Gateway, "api_key")]
    assert read == list(Gateway.objects.order_by("pk").values_list("pk", flat=True))
    assert len(queries) == 3


def test_a_secret_that_no_key_decrypts_is_reported_and_stays(
    provider: Provider, settings: Settings
) -> None:
    """It may be opened again by a key that comes back."""
    before = stored(provider)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="2 cannot be decrypted"):
        call_command("rotate_keys", stdout=StringIO())
    assert stored(provider) == before


def test_a_save_under_a_wrong_key_destroys_nothing(
    provider: Provider, settings: Settings, owner: User
) -> None:
    """The page says what is the matter; with the right key back all is as it was."""
    before, right = stored(provider), settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    again = Provider.objects.get(pk=provider.pk)
    assert not again.api_key
    assert not again.extra_headers
    form = ProviderForm(values(name="Renamed"), instance=again)
    assert form.fields["api_key"].help_text == SEALED
    assert form.is_valid(), form.errors
    form.store(owner)
    assert stored(provider) == before
    settings.ENCRYPTION_KEYS = right
    again = Provider.objects.get(pk=provider.pk)
    assert (again.name, again.api_key) == ("Renamed", SECRET)


def test_a_mask_shows_the_end_of_a_long_secret_alone() -> None:
    """Four characters of a short one would be too many."""
    assert [mask(SECRET), mask("short"), mask("")] == ["…wxyz", "…", ""]
