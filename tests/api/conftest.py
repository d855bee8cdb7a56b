"""The door as it runs in production: a granian web process on the test database; a key to it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from api.keys.lifecycle import issue_key
from api.models import ClientKey
from providers.infra import replicas
from providers.models import LanguageModel, Provider
from tests import fakes
from tests.e2e.site import Site, wait_for_writes
from tests.polling import wait_until

KEEP_ALIVE = 0.4  # seconds, in place of the ten of production
_numbers = count(1)


class Door:
    """A running web process; `secret` opens it on behalf of `user`.

    `upstream_key` is of this test alone: a process that serves many tests remembers the cooldown of
    a key, and would refuse the calls of the next test.
    """

    def __init__(self, site: Site, user: User) -> None:
        self.site = site
        self.upstream_key = f"{fakes.KEY}-{next(_numbers)}"
        self.user = user
        self.url = f"{site.url}/v1"
        self.key, self.secret = issue_key(user, "tests")

    def client(self, secret: str = "") -> openai.OpenAI:
        """OpenAI's own package, which does not try again behind our back."""
        return openai.OpenAI(
            base_url=self.url, api_key=secret or self.secret, max_retries=0, timeout=20
        )

    def raw(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def log(self) -> str:
        """What the web process has written."""
        return Path(self.site.logs / "web.log").read_text()

    def serve(self, *model_ids: str, **fields: object) -> Provider:
        """A provider with these models, from the moment when the door knows it."""
        values: dict[str, Any] = {"name": "Acme", "slug": "acme", "api_key": self.upstream_key}
        values |= {"gateway_api_key": self.upstream_key} | fields
        provider = Provider.objects.create(**values)
        provider.ensure_routes()
        for model_id in model_ids:
            LanguageModel.objects.create(provider=provider, model_id=model_id, name=model_id)
        wait_until(lambda: f"{provider.slug}/{model_ids[-1]}" in self.models())
        return provider

    def models(self) -> list[str]:
        with self.raw() as client:
            answer = client.get("/models")
        return [row["id"] for row in answer.json().get("data", [])]

    def is_empty(self) -> bool:
        """Whether the key opens the door, and nothing is behind it."""
        with self.raw() as client:
            answer = client.get("/models")
        return answer.status_code == 200 and not answer.json()["data"]


@pytest.fixture(scope="package")
def running_web(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with django_db_blocker.unblock():
        site = Site(
            tmp_path_factory.mktemp("door"),
            API_KEEP_ALIVE=str(KEEP_ALIVE),
            ROUTING_RULES='{"repeat_within": 0.01}',
            REDIS_PATIENCE="2",  # a busy machine is no Redis that is away
            GATEWAY_TOKEN="",
        )
    site.start("web")
    site.wait_ready()
    yield site
    site.stop()


@pytest.fixture
def door(running_web: Site, transactional_db: None) -> Iterator[Door]:
    """The running web process on empty tables, and a key of Alice's."""
    made = Door(running_web, User.objects.create_superuser("alice"))
    # It may still know the provider of the test before, which has the same name.
    replicas.publish("providers")
    wait_until(lambda: made.is_empty())
    yield made
    if Provider.objects.exists():
        wait_for_writes()


@pytest.fixture
def acme(door: Door, fake: fakes.Upstream) -> Provider:
    """A provider whose both routes lead to the fake."""
    return door.serve("echo", base_url=fake.url, gateway_endpoint=fake.url)


@pytest.fixture
def key(owner: User) -> ClientKey:
    return ClientKey.make(owner, "laptop")[0]
