"""Many sign-ins at once, at a real server: the pages and their database connections stay free."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from tests.e2e.site import Site
from tests.opencode_web import test_throttle

PARALLEL = 12
PASSWORD = "a-long-pass-phrase"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A web process with two connections to its database."""
    site = Site(tmp_path, DATABASE_POOL="2")
    site.start("web")
    try:
        site.wait_ready(60)
        yield site
    finally:
        site.stop()
        test_throttle.forget()


@pytest.fixture
def alice() -> User:
    """With a hash as dear as Django makes them, not one of the tests' quick ones."""
    user = User(username="alice")
    rounds = 1_200_000
    user.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt-of-twenty-two-chars", rounds)
    user.save()
    return user


def test_wrong_passwords_in_parallel_leave_the_pages_alone(site: Site, alice: User) -> None:
    """Each held a connection while it was hashed, and every page then answered 500."""
    people = [client(site) for _ in range(PARALLEL)]
    reader = client(site)
    with ThreadPoolExecutor(PARALLEL) as threads:
        tries = [threads.submit(sign_in, each, f"name{n}") for n, each in enumerate(people)]
        seen = []
        while not all(each.done() for each in tries):
            seen.append(reader.get("/setup/").status_code)
        found = [each.result() for each in tries]
    assert set(seen) == {302}  # it reads the database, and leads to the sign-in
    assert set(found) == {422}
    assert sign_in(reader, "alice", PASSWORD) == 302
    assert reader.get("/providers/").status_code == 200


def client(site: Site) -> httpx.Client:
    made = httpx.Client(base_url=site.url, timeout=60, trust_env=False)
    assert made.get("/sign-in/").status_code == 200
    return made


def sign_in(person: httpx.Client, name: str, password: str = "wrong-wrong") -> int:
    headers = {"X-CSRFToken": person.cookies["csrftoken"]}
    fields = {"username": name, "password": password}
    return person.post("/sign-in/", data=fields, headers=headers).status_code
