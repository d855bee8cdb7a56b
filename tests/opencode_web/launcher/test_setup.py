"""The one-time link: it makes the owner, once."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

PASSWORD = "correct-horse-battery"


def printed_link() -> str:
    out = io.StringIO()
    call_command("signin_link", stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_the_link_creates_the_owner_and_signs_them_in() -> None:
    """The owner is staff: the admin is theirs."""
    client = Client()
    link = printed_link()
    assert client.get(link).status_code == 200
    fields = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(link, fields).status_code == 302
    assert User.objects.get().is_superuser
    assert client.get("/providers/").status_code == 200


@pytest.mark.django_db
def test_the_link_is_dead_once_there_is_an_owner() -> None:
    """For a second person, and for the command that prints it."""
    link = printed_link()
    User.objects.create_superuser("alice", password=PASSWORD)
    fields = {"username": "mallory", "password1": PASSWORD, "password2": PASSWORD}
    assert Client().post(link, fields).status_code == 302
    assert User.objects.count() == 1
    assert printed_link() == ""


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "owner", "owner:forged"])
def test_without_a_good_link_nobody_becomes_owner(token: str) -> None:
    """A page says how to get one."""
    fields = {"username": "mallory", "password1": PASSWORD, "password2": PASSWORD}
    response = Client().post(f"/setup/?token={token}", fields)
    assert response.status_code == 403
    assert not User.objects.exists()


@pytest.mark.django_db
def test_bad_input_keeps_what_was_typed() -> None:
    """The name stays, the passwords are asked again."""
    fields = {"username": "alice", "password1": PASSWORD, "password2": "other"}
    response = Client().post(printed_link(), fields)
    assert response.status_code == 422
    assert 'value="alice"' in response.content.decode()
    assert PASSWORD not in response.content.decode()


@pytest.mark.django_db
def test_every_page_asks_for_sign_in() -> None:
    """A partial sends the whole page there."""
    client = Client()
    for path in ("/chat/", "/providers/", "/status/", "/admin/"):
        response = client.get(path)
        assert response.status_code == 302, path
        assert "/sign-in/" in response["Location"] or "/admin/login/" in response["Location"]
    partial = client.get("/status/", headers={"HX-Request": "true"})
    assert partial["HX-Redirect"].startswith("/sign-in/")
