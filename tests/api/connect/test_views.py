"""The Connect page: keys of one's own, shown once, and what to copy."""

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from api.models import ClientKey, hash_secret
from providers.models import Provider

PAGE = "/connect/"


def create(client: Client, **fields: str) -> str:
    response = client.post(reverse("api:create-key"), {"name": "laptop", "days": "0"} | fields)
    assert response.status_code == 200
    return response.content.decode()


def test_a_new_key_is_shown_once(owner_client: Client) -> None:
    """In the answer to the form, which nothing stores, and nowhere after."""
    response = owner_client.post(reverse("api:create-key"), {"name": "laptop", "days": "0"})
    secret = re.findall(r"ocw-[\w-]{43}", response.content.decode())[0]
    assert ClientKey.objects.get().hash == hash_secret(secret)
    assert "no-store" in response.headers["Cache-Control"]
    page = owner_client.get(PAGE).content.decode()
    assert secret not in page
    assert secret[:10] in page


def test_a_key_needs_a_name(owner_client: Client) -> None:
    """The field says what is missing."""
    response = owner_client.post(reverse("api:create-key"), {"name": " ", "days": "0"})
    assert response.status_code == 422
    assert "Enter a name." in response.content.decode()
    assert not ClientKey.objects.exists()


def test_a_key_may_expire(owner_client: Client) -> None:
    """After as many days as were chosen."""
    create(owner_client, days="30")
    key = ClientKey.objects.get()
    assert key.expires_at is not None
    assert 29 <= (key.expires_at - key.created_at).days <= 30


def test_a_used_key_links_to_its_requests(owner_client: Client) -> None:
    """The log of its requests alone."""
    create(owner_client)
    key = ClientKey.objects.get()
    log = f'href="{reverse("activity:index")}?key={key.pk}"'
    assert log not in owner_client.get(PAGE).content.decode()
    ClientKey.objects.update(last_used_at=timezone.now())
    assert log in owner_client.get(PAGE).content.decode()


def test_revoking_asks_first(owner_client: Client) -> None:
    """Then the key is gone from the list."""
    create(owner_client)
    key = ClientKey.objects.get()
    address = reverse("api:revoke-key", args=[key.pk])
    assert "Revoke laptop?" in owner_client.get(address).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is None
    response = owner_client.post(address, follow=True)
    assert "Revoked laptop" in response.content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert owner_client.post(address).status_code == 404


def test_another_users_key_is_404(owner_client: Client, stranger: User) -> None:
    """Neither on the page nor to be revoked, not even by an operator."""
    key, _ = ClientKey.make(stranger, "charlies-desk")
    assert "charlies-desk" not in owner_client.get(PAGE).content.decode()
    address = reverse("api:revoke-key", args=[key.pk])
    assert owner_client.get(address).status_code == 404
    assert owner_client.post(address).status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


def test_everybody_may_have_keys(stranger_client: Client) -> None:
    """Talking to models is what an account is for."""
    create(stranger_client)
    assert stranger_client.get(PAGE).status_code == 200


def test_requires_sign_in(client: Client, db: None) -> None:
    """The page wants a session."""
    assert client.get(PAGE).status_code == 302


def test_the_page_names_the_address_and_the_models(
    owner_client: Client, make_provider: Callable[..., Provider]
) -> None:
    """Those in use, ready to be copied."""
    make_provider("Acme", "tiny").language_models.create(
        model_id="unused", name="unused", enabled=False
    )
    html = owner_client.get(PAGE).content.decode()
    assert "http://testserver/v1" in html
    assert "acme/tiny" in html
    assert "acme/unused" not in html


def test_the_page_asks_the_same_however_many_keys(
    owner: User,
    owner_client: Client,
    make_provider: Callable[..., Provider],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    """Session, user, keys, models; and no more for the tenth key."""
    make_provider("Acme")
    make_provider("Beta")
    for number in range(10):
        ClientKey.make(owner, f"key {number}")
    with django_assert_max_num_queries(6):
        owner_client.get(PAGE)


def test_the_admin_finds_keys_and_shows_none(owner: User, owner_client: Client) -> None:
    """By name, owner or how it begins; the hash stays away too."""
    key, secret = ClientKey.make(owner, "laptop")
    ClientKey.make(owner, "desk")
    html = owner_client.get("/admin/api/clientkey/", {"q": key.prefix}).content.decode()
    detail = owner_client.get(f"/admin/api/clientkey/{key.pk}/change/").content.decode()
    assert "laptop" in html
    assert "desk" not in html
    for page in (html, detail):
        assert secret not in page
        assert key.hash not in page


def test_the_admin_revokes(owner: User, owner_client: Client, stranger: User) -> None:
    """Anybody's, several at once."""
    chosen = [ClientKey.make(user, "k")[0].pk for user in (owner, stranger)]
    data = {"action": "revoke", "_selected_action": chosen}
    owner_client.post("/admin/api/clientkey/", data)
    assert not ClientKey.objects.filter(revoked_at=None).exists()
