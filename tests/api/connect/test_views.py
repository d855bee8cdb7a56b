"""The Connect page: keys of one's own, shown once, and what to copy."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from api.budgets import Action, KeyBudget, Period
from api.models import ClientKey, hash_secret
from providers.models import AuditEvent, KeySpend, Provider

PAGE = "/connect/"


def save(client: Client, key: ClientKey, **fields: str) -> None:
    """Save the settings of a key as the page does."""
    address = reverse("api:edit-key", args=[key.pk])
    kept = {name: getattr(key, name) for name in ("name", "budget_period", "budget_action")}
    assert client.post(address, kept | fields).status_code == 302
    key.refresh_from_db()


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


@pytest.mark.parametrize("name", ["edit-key", "rotate-key", "revoke-key"])
def test_another_persons_key_is_404(owner: User, stranger_client: Client, name: str) -> None:
    """Neither listed nor to be changed, rotated or revoked."""
    key, secret = ClientKey.make(owner, "alices-desk")
    assert "alices-desk" not in stranger_client.get(PAGE).content.decode()
    address = reverse(f"api:{name}", args=[key.pk])
    assert stranger_client.get(address).status_code == 404
    assert stranger_client.post(address, {"name": "mine", "hours": "0"}).status_code == 404
    key.refresh_from_db()
    assert (key.name, key.revoked_at, key.hash) == ("alices-desk", None, hash_secret(secret))


def test_an_operator_manages_all_keys(owner_client: Client, stranger: User) -> None:
    """Each with its owner; what is changed is in the audit log."""
    key, _ = ClientKey.make(stranger, "charlies-desk")
    page = owner_client.get(PAGE).content.decode()
    assert "charlies-desk" in page
    assert "charlie</span>" in page
    save(owner_client, key, allowed_models="acme/*\nfast", is_locked="on", tags="ci, team-a")
    assert key.allowed_models == ["acme/*", "fast"]
    assert key.tags == ["ci", "team-a"]
    event = AuditEvent.objects.get(kind="client key")
    assert event.changes["allowed_models"] == ["", "['acme/*', 'fast']"]


def test_an_operator_creates_a_key_for_somebody(owner_client: Client, stranger: User) -> None:
    """Its limits are the operator's from the start."""
    create(owner_client, owner="charlie")
    key = ClientKey.objects.get()
    assert (key.user, key.is_locked) == (stranger, True)
    refused = owner_client.post(
        reverse("api:create-key"), {"name": "x", "days": "0", "owner": "nobody"}
    )
    assert refused.status_code == 422
    assert "no active account" in refused.content.decode()


def test_nobody_else_chooses_an_owner(owner: User, stranger_client: Client) -> None:
    """The field is an operator's alone."""
    create(stranger_client, owner="alice")
    assert not ClientKey.objects.of(owner).exists()


def test_locked_limits_are_not_the_owners(stranger: User, stranger_client: Client) -> None:
    """The owner may rename the key, and lifts no limit, whatever is sent."""
    key, _ = ClientKey.make(stranger, "desk", is_locked=True)
    ClientKey.objects.update(allowed_models=["acme/*"])
    save(stranger_client, key, name="renamed", allowed_models="", is_locked="")
    assert (key.name, key.allowed_models, key.is_locked) == ("renamed", ["acme/*"], True)


def test_owners_limit_their_own_keys(stranger: User, stranger_client: Client) -> None:
    """Nothing is locked that no operator has locked."""
    key, _ = ClientKey.make(stranger, "desk")
    limits = {"allowed_models": "acme/*", "calls_at_once": "3", "expires_at": "2030-01-02T03:04"}
    save(stranger_client, key, **limits, notes="n")
    assert key.calls_at_once == 3
    assert key.allowed_models == ["acme/*"]
    assert key.expires_at == datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    assert key.notes == "n"


def test_a_setting_that_is_wrong_is_named_and_not_lost(owner: User, owner_client: Client) -> None:
    """Beside its field, with all that was typed."""
    key, _ = ClientKey.make(owner, "desk")
    data = {"name": "new name", "allowed_models": "x" * 201, "expires_at": "soon"}
    response = owner_client.post(reverse("api:edit-key", args=[key.pk]), data)
    assert response.status_code == 422
    html = response.content.decode()
    assert "new name" in html
    assert "Each may have at most 200 characters." in html
    assert "soon" in html


def test_a_budget_is_saved_and_recorded(owner: User, owner_client: Client) -> None:
    """With its period and its action; the audit log has each."""
    key, _ = ClientKey.make(owner, "desk")
    save(owner_client, key, budget="2.50", budget_period="week", budget_action="warn")
    assert key.budget_terms == KeyBudget(
        limit=Decimal("2.5"), period=Period.WEEK, action=Action.WARN
    )
    changes = AuditEvent.objects.get(verb="changed").changes
    assert {"budget", "budget_period", "budget_action"} <= changes.keys()


@pytest.mark.parametrize("budget", ["-1", "cheap", "0.00001"])
def test_a_wrong_budget_is_named_and_not_lost(
    owner: User, owner_client: Client, budget: str
) -> None:
    """Beside its field."""
    key, _ = ClientKey.make(owner, "desk")
    data = {"name": "desk", "budget": budget, "budget_period": "day", "budget_action": "warn"}
    response = owner_client.post(reverse("api:edit-key", args=[key.pk]), data)
    assert response.status_code == 422
    assert response.context["form"].errors.keys() == {"budget"}
    assert f'value="{budget}"' in response.content.decode()


def test_a_locked_budget_is_not_the_owners(stranger: User, stranger_client: Client) -> None:
    """As the other limits."""
    key, _ = ClientKey.make(stranger, "desk", is_locked=True)
    ClientKey.objects.update(budget=1)
    save(stranger_client, key, budget="1000", budget_action="warn")
    assert (key.budget, key.budget_action) == (Decimal(1), "refuse")


def test_the_pages_show_what_is_spent_and_left(owner: User, owner_client: Client) -> None:
    """In the list, and above the settings; also when it renews."""
    key, _ = ClientKey.make(owner, "desk")
    ClientKey.objects.update(budget="2", budget_period="day")
    today = timezone.now().date()
    KeySpend.objects.create(client_key=key.pk, day=today, cost="0.5")
    KeySpend.objects.create(client_key=key.pk, day=today - timedelta(days=1), cost="9")
    for address in (PAGE, reverse("api:edit-key", args=[key.pk])):
        html = owner_client.get(address).content.decode()
        assert "$0.50 of $2.00 spent today, $1.50 left." in html
        assert "00:00 UTC" in html
        assert "Budget spent" not in html
    KeySpend.objects.filter(day=today).update(cost="2")
    assert "Budget spent: requests are refused" in owner_client.get(PAGE).content.decode()


@pytest.mark.parametrize(("hours", "works"), [("24", True), ("0", False)])
def test_rotation_shows_a_new_secret_once(
    owner: User, owner_client: Client, hours: str, works: bool
) -> None:
    """The old one works for as long as was chosen."""
    key, old = ClientKey.make(owner, "laptop")
    address = reverse("api:rotate-key", args=[key.pk])
    assert "Rotate laptop" in owner_client.get(address).content.decode()
    response = owner_client.post(address, {"hours": hours})
    assert "no-store" in response.headers["Cache-Control"]
    (secret,) = re.findall(r"ocw-[\w-]{43}", response.content.decode())
    key.refresh_from_db()
    assert key.hash == hash_secret(secret)
    assert key.previous_hash == hash_secret(old)
    assert key.is_overlapping is works
    assert AuditEvent.objects.get(kind="client key").verb == "rotated"


def test_the_list_is_fetched_alone(owner: User, owner_client: Client) -> None:
    """What the page polls: the last use is seconds old."""
    key, _ = ClientKey.make(owner, "laptop")
    ClientKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=3))
    html = owner_client.get(reverse("api:key-list")).content.decode()
    assert re.search(r"Last used [345] s ago", html)
    assert "<html" not in html
    assert f"/connect/keys/{key.pk}/" in html


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
    """Session, user, keys, their spend, models; and no more for the tenth key."""
    make_provider("Acme")
    make_provider("Beta")
    for number in range(10):
        ClientKey.make(owner, f"key {number}")
    ClientKey.objects.update(budget=1)
    with django_assert_max_num_queries(7):
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
