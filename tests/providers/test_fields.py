"""Secrets at rest: encrypted, rotated, and never destroyed by a wrong key."""

from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from providers.fields import mask
from providers.forms import SEALED, ProviderForm
from providers.models import Provider
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
