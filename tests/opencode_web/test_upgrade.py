"""A home made by the first release, with data in it, is brought up to date and goes on working."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from tests import fakes
from tests.e2e.site import Site
from tests.opencode_web import old_home, test_throttle
from tests.programs import PYTHON

ROOT = Path(__file__).resolve().parents[2]
DATABASE = f"upgraded_{os.getpid()}"
PAGES = ("/chat/", "/providers/", "/providers/acme/", "/models/", "/activity/", "/status/")
OTHER_PAGES = ("/connect/", "/settings/", "/gateways/", "/admin/", "/admin/providers/auditevent/")


@pytest.fixture
def database_url() -> Iterator[str]:
    """A new database beside that of the tests."""
    server = settings.ENV.database_url.get_secret_value()
    name = sql.Identifier(DATABASE)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield urlsplit(server)._replace(path=f"/{DATABASE}").geturl()
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def run(database_url: str, *arguments: str) -> str:
    done = subprocess.run(
        [PYTHON, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_home_of_the_first_release_keeps_its_data(
    database_url: str, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """Its accounts, keys, conversations and history; the stored key opens, and calls go out."""
    run(database_url, "-m", "tests.opencode_web.old_home", fake.url)
    run(database_url, "manage.py", "migrate", "--noinput", "-v0")
    assert "can be decrypted" in run(database_url, "manage.py", "check_keys")
    run(database_url, "manage.py", "migrate", "--check")
    site = Site(tmp_path, DATABASE_URL=database_url)
    site.start("web")
    try:
        site.wait_ready()
        check_pages(site)
        check_call(site, fake)
    finally:
        site.stop()
        test_throttle.forget()


def check_pages(site: Site) -> None:
    with httpx.Client(base_url=site.url, timeout=60, trust_env=False) as person:
        person.get("/sign-in/")
        headers = {"X-CSRFToken": person.cookies["csrftoken"]}
        typed = {"username": "alice", "password": old_home.PASSWORD}
        assert person.post("/sign-in/", data=typed, headers=headers).status_code == 302
        pages = {path: person.get(path, follow_redirects=True) for path in (*PAGES, *OTHER_PAGES)}
        assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
        assert "Capitals" in pages["/chat/"].text
        assert "Acme" in pages["/providers/"].text
        assert "laptop" in pages["/connect/"].text
        conversation = person.get("/chat/1/").text
        assert old_home.QUESTION in conversation
        assert old_home.ANSWER in conversation


def check_call(site: Site, fake: fakes.Upstream) -> None:
    """The breaker that was open is due for a trial: the call is that trial."""
    headers = {"Authorization": f"Bearer {old_home.CLIENT_KEY}"}
    body = {"model": "acme/m", "messages": [{"role": "user", "content": "Hi"}]}
    url = f"{site.url}/v1/chat/completions"
    answer = httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    sent = fake.requests[-1]
    assert sent.authorized
    assert {name.lower(): value for name, value in sent.headers.items()}["x-team"] == "blue"
