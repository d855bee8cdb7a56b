"""A NUL in an address or in a field is no server error, on whichever page it comes."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver

from chat.models import Conversation
from providers.models import LanguageModel, Provider

pytestmark = pytest.mark.django_db
NUL = "a\0b"
APPS = ("api", "chat", "health", "opencode_web", "providers")
# They call a provider, on connections of their own, once nothing in the form is wrong; and one ends
# the session.
LEFT_OUT = ("/test/", "/check/", "/sign-out/")
READ = re.compile(r"""(?:POST|GET)(?:\.get|\.getlist|\.pop)?[(\[]["'](\w+)["']""")


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """Every address of the site but the admin's, whose fields are all in forms."""
    for each in resolver.url_patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            if each.app_name != "admin":
                yield from routes(each, route)
        else:
            yield "/" + route


def filled(route: str, values: dict[str, object]) -> str:
    """The address with a real row in each of its parts."""

    def value(match: re.Match[str]) -> str:
        kind, name = match[1] or "str", match[2]
        return str(values.get(name) or values[kind])

    return re.sub(r"<(?:(\w+):)?(\w+)>", value, route)


def form_fields() -> set[str]:
    """The fields of every form; a form checks its own for a NUL."""
    names: set[str] = set()
    found: list[type[forms.BaseForm]] = [forms.BaseForm]
    while found:
        form = found.pop()
        found += form.__subclasses__()
        names |= set(getattr(form, "base_fields", ()))
    return names


def read_names() -> list[str]:
    """The names of fields that a view reads by itself."""
    files = (path for app in APPS for path in (Path(settings.BASE_DIR) / app).rglob("*.py"))
    return sorted({name for path in files for name in READ.findall(path.read_text())})


@pytest.fixture
def site(owner_client: Client, owner: User, make_provider: Callable[..., Provider]) -> list[str]:
    """Every address, with the rows that its parts name."""
    provider = make_provider()
    model = LanguageModel.objects.filter(provider=provider).first()
    model = model or LanguageModel.objects.create(provider=provider, model_id="m", name="m")
    conversation = Conversation.objects.create(owner=owner, title="one")
    values: dict[str, object] = {"slug": provider.slug, "str": provider.slug, "int": model.pk}
    values |= {"conversation_id": conversation.pk, "uuid": "0" * 8 + "-0000-4000-8000-" + "0" * 12}
    return [filled(route, values) for route in routes(get_resolver())]


def status(send: Callable[..., Any], *args: object) -> int:
    """What a request is answered with; whatever it changed is undone."""
    with transaction.atomic():
        answer = send(*args)
        transaction.set_rollback(True)
    return int(answer.status_code)


def test_a_nul_in_an_address_is_no_server_error(owner_client: Client, site: list[str]) -> None:
    """In the path, and in each parameter that a view reads, by its name and by its value."""
    names = read_names()
    for address in (each for each in site if not each.endswith(LEFT_OUT)):
        query = "&".join(f"{name}=a%00b" for name in names)
        alone = [f"{address}?{name}=%00" for name in names]
        for spelled in (f"{address}?{query}", f"{address}?%00=q", f"{address}%00/", *alone):
            assert 200 <= status(owner_client.get, spelled) < 500, spelled
        assert 200 <= status(owner_client.post, f"{address}?{query}", {}) < 500, address


def test_a_nul_in_a_field_is_no_server_error(owner_client: Client, site: list[str]) -> None:
    """All fields at once, and each that no form checks beside others that are well."""
    names = read_names()
    every = sorted(form_fields() | set(names))
    assert len(names) > 10
    assert len(every) > 60
    well = dict.fromkeys(every, "1") | {"kind": "openai", "base_url": "https://a.example/v1"}
    for address in (each for each in site if not each.endswith(LEFT_OUT)):
        for fields in (dict.fromkeys(every, NUL), *({**well, name: NUL} for name in names)):
            answered = status(owner_client.post, address, fields)
            assert 200 <= answered < 500, (address, [n for n, v in fields.items() if v == NUL])


def test_what_was_typed_is_still_there(owner_client: Client, site: list[str]) -> None:
    """A form says it beside its field."""
    typed = {"preset": "custom", "kind": "openai", "base_url": "https://a.example", "name": NUL}
    answer = owner_client.post("/providers/new/", typed)
    assert answer.status_code == 422
    assert "Null characters are not allowed." in answer.content.decode()
    assert "https://a.example" in answer.content.decode()
