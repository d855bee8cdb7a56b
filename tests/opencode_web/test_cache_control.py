"""No page is stored by a browser or a proxy: every address is visited."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from providers.models import Provider

MakeProvider = Callable[..., Provider]
STREAMS = ("test/",)  # a test's stages, streamed for as long as they take
pytestmark = pytest.mark.django_db


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    """Every address of the site, as its patterns write it."""
    for each in patterns:
        path = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, path)
        else:
            yield path


SAMPLES = {
    "<slug:slug>": "acme",
    "<slug:name>": "smart_routing",
    "<uuid:request_id>": str(uuid4()),
    "<path:object_id>": "1",
    "<path:content_type_id>": "1",
    "<path:object_id>/": "1/",
}


def addresses() -> list[str]:
    found = set()
    for route in routes(get_resolver().url_patterns):
        path = route
        for pattern, sample in SAMPLES.items():
            path = path.replace(pattern, sample)
        while "<" in path:  # a number, however it is called
            path = f"{path[: path.index('<')]}1{path[path.index('>') + 1 :]}"
        if "(" not in path and not path.endswith(STREAMS):
            found.add(f"/{path}".replace("^", "").replace("$", ""))
    return sorted(found)


@pytest.mark.parametrize("path", addresses())
def test_every_page_is_kept_nowhere(
    path: str, owner_client: Client, make_provider: MakeProvider
) -> None:
    """For who is signed in and who is not, found or not, whatever the method."""
    make_provider("Acme")
    for client in (Client(raise_request_exception=False), owner_client):
        for answer in (client.get(path), client.post(path)):
            assert "no-store" in answer["Cache-Control"], (path, answer.status_code)


def test_the_walk_is_not_empty() -> None:
    assert len(addresses()) > 60


async def test_it_is_so_in_the_async_handler_too() -> None:
    """Which is the one that serves."""
    from django.test import AsyncClient

    assert "no-store" in (await AsyncClient().get("/sign-in/"))["Cache-Control"]
