"""Two people edit one provider: the second gets both versions to choose from."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client

from providers.forms import ProviderForm
from providers.models import Provider

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db


@pytest.fixture
def other_client(db: None) -> Client:
    """Carol, who runs the instance too."""
    client = Client()
    client.force_login(User.objects.create_superuser("carol", password="a-long-pass-phrase"))
    return client


def opened(client: Client, slug: str = "acme") -> dict[str, object]:
    """The form as a browser would send it back unchanged."""
    page = client.get(f"/providers/{slug}/").content.decode()
    return typed(Provider.objects.get(slug=slug)) | {"version": token(page)}


def typed(provider: Provider) -> dict[str, object]:
    form = ProviderForm(instance=provider)
    values = {bound.name: bound.value() for bound in form}
    return {name: value for name, value in values.items() if value not in (None, False)}


def token(page: str) -> str:
    found = re.search(r'name="version" value="([^"]+)"', page)
    assert found
    return unescape(found[1])


def test_the_second_gets_both_versions_to_choose_from(
    owner_client: Client, other_client: Client, make_provider: MakeProvider
) -> None:
    """Nothing is saved before the choice, and nothing typed is lost."""
    make_provider(base_url="https://a.example/v1")
    mine, theirs = opened(owner_client), opened(other_client)
    other_client.post("/providers/acme/", theirs | {"name": "Theirs", "concurrency": "7"})
    answer = owner_client.post("/providers/acme/", mine | {"name": "Mine", "enabled": "on"})
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "was changed by carol" in page
    for each in ("Theirs", "Mine", "Concurrent requests", "keep_name", "keep_concurrency"):
        assert each in page
    assert 'value="Mine"' in page
    assert Provider.objects.get().name == "Theirs"

    again = mine | {"name": "Mine", "version": token(page)}
    chosen = again | {"keep_name": "yours", "keep_concurrency": "theirs"}
    assert owner_client.post("/providers/acme/", chosen).status_code == 302
    stored = Provider.objects.get()
    assert (stored.name, stored.concurrency) == ("Mine", 7)


def test_what_only_one_of_them_changed_is_no_question(
    owner_client: Client, other_client: Client, make_provider: MakeProvider
) -> None:
    """Equal changes of both are none either."""
    make_provider()
    mine, theirs = opened(owner_client), opened(other_client)
    other_client.post("/providers/acme/", theirs | {"name": "Same"})
    assert owner_client.post("/providers/acme/", mine | {"name": "Same"}).status_code == 302
    mine = opened(owner_client)
    assert owner_client.post("/providers/acme/", mine | {"concurrency": "3"}).status_code == 302
    assert Provider.objects.get().concurrency == 3


def test_a_key_that_was_replaced_meanwhile_is_asked_about_and_never_shown(
    owner_client: Client, other_client: Client, make_provider: MakeProvider
) -> None:
    """Neither theirs nor what was typed; a blank field keeps the new one without a question."""
    make_provider(api_key="first-0123456789")
    mine, theirs = opened(owner_client), opened(other_client)
    other_client.post("/providers/acme/", theirs | {"api_key": "theirs-0123456789"})
    blank = owner_client.post("/providers/acme/", mine | {"name": "Renamed"})
    assert blank.status_code == 302
    assert Provider.objects.get().api_key == "theirs-0123456789"
    mine |= {"name": "Renamed"}
    answer = owner_client.post("/providers/acme/", mine | {"api_key": "mine-0123456789"})
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "keep_api_key" in page
    assert "0123456789" not in page
    again = mine | {"version": token(page), "api_key": "mine-0123456789"}
    owner_client.post("/providers/acme/", again | {"keep_api_key": "theirs"})
    assert Provider.objects.get().api_key == "theirs-0123456789"


def test_every_choice_can_be_theirs(
    owner_client: Client, other_client: Client, make_provider: MakeProvider
) -> None:
    """Switches, lists of providers and parameters as well."""
    other = make_provider("Spare")
    make_provider()
    mine, theirs = opened(owner_client), opened(other_client)
    changed = theirs | {"alternatives": [other.pk], "parameters": '{"seed": 1}'}
    changed.pop("prefer_direct")
    other_client.post("/providers/acme/", changed)
    page = owner_client.post("/providers/acme/", mine | {"name": "Mine"}).content.decode()
    names = set(re.findall(r'name="(keep_\w+)"', page))
    assert names == {"keep_alternatives", "keep_parameters", "keep_prefer_direct"}
    again = mine | {"name": "Mine", "version": token(page)} | dict.fromkeys(names, "theirs")
    assert owner_client.post("/providers/acme/", again).status_code == 302
    stored = Provider.objects.get(slug="acme")
    assert (stored.name, stored.prefer_direct, stored.parameters) == ("Mine", False, {"seed": 1})
    assert list(stored.alternatives.all()) == [other]


def test_a_version_that_was_tampered_with_is_none(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """The form is saved as it was before there were versions."""
    make_provider()
    sent = opened(owner_client) | {"version": "made-up", "name": "Saved"}
    assert owner_client.post("/providers/acme/", sent).status_code == 302


def test_the_version_holds_no_secret(owner_client: Client, make_provider: MakeProvider) -> None:
    """Its content is signed and not encrypted."""
    make_provider(api_key="secret-0123456789", extra_headers={"X-Team": "secret-too"})
    found = signing.loads(str(opened(owner_client)["version"]), salt="providers.edit")
    assert "secret" not in str(found)
