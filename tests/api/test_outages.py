"""The door with its databases shut: it serves on from what it knows, and nothing is lost."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from providers.models import Attempt
from tests import fakes
from tests.api.conftest import Door
from tests.e2e import door as doors
from tests.e2e.site import Site, database_url
from tests.polling import wait_until

HELLO = {"model": "acme/echo", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def redis_door() -> doors.Door:
    return doors.Door(Path(settings.REDIS_URL.removeprefix("unix://").partition("?")[0]))


@pytest.fixture
def database_door() -> doors.Door:
    found = re.search(r"@(%2F[^/:]+)", database_url(), re.IGNORECASE)
    if found is None:
        pytest.skip("DATABASE_URL is no socket of `./dev test`")
    return doors.Door(Path(unquote(found[1])) / ".s.PGSQL.5432")


@pytest.fixture
def fragile(
    transactional_db: None, redis_door: doors.Door, database_door: doors.Door, tmp_path: Path
) -> Iterator[Door]:
    """A web process whose ways to both databases are shut so far."""
    name = database_url().partition("?")[0].rpartition("/")[2]
    site = Site(
        tmp_path,
        REDIS_URL=f"redis://127.0.0.1:{redis_door.port}/0",
        DATABASE_URL=f"postgresql://postgres@127.0.0.1:{database_door.port}/{name}",
    )
    site.start("web")
    site.wait_ready()
    yield Door(site, User.objects.create_superuser("alice"))
    site.stop()


def test_serves_without_its_databases(
    fragile: Door, redis_door: doors.Door, database_door: doors.Door, fake: fakes.Upstream
) -> None:
    """At once, whole and streamed; the attempts are written when the database is back."""
    with fragile.raw() as client:
        early = client.get("/models")
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "unavailable"
        assert early.headers["retry-after"] == "1"

        redis_door.open()
        database_door.open()
        wait_until(lambda: client.get("/models").status_code == 200)
        fragile.serve("echo", base_url=fake.url, gateway_endpoint=fake.url)
        # Its routes are read apart from its models: the first answer shows that they are known.
        assert client.post("/chat/completions", json=HELLO).status_code == 200
        wait_until(Attempt.objects.exists)

        redis_door.shut()
        database_door.shut()
        for number in range(10):
            body = HELLO | {"stream": bool(number % 2)}
            assert client.post("/chat/completions", json=body).status_code == 200
        assert Attempt.objects.count() == 1

        database_door.open()
        wait_until(lambda: Attempt.objects.count() == 11, seconds=40)
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"ok"}
