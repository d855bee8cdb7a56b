"""Equal requests that come at once, at one web process and at four: the provider is called once."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator

import httpx
import pytest
import redis
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from api.keys.lifecycle import issue_key
from providers.infra import replicas
from providers.models import ModelSource, Provider
from tests import fakes
from tests.e2e.site import Site, wait_for_writes
from tests.faults.processes import Valkey
from tests.polling import wait_until

pytestmark = pytest.mark.stack

BURST, ROUNDS = 50, 20
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A Redis that these processes alone use."""
    made = Valkey()
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def sites(
    valkey: Valkey,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Site]]:
    """Four web processes as they run in production, with its time limits."""
    made: list[Site] = []
    for number in range(4):
        folder = tmp_path_factory.mktemp(f"web{number}")
        with django_db_blocker.unblock():
            made.append(Site(folder, REDIS_URL=valkey.url, GATEWAY_TOKEN=""))
        made[-1].start("web")
    for site in made:
        site.wait_ready(60)
    yield made
    for site in made:
        site.stop()


class Client:
    """Sends bursts of equal requests to Acme, whose only route is the fake."""

    def __init__(self, sites: list[Site], valkey: Valkey, fake: fakes.Upstream) -> None:
        self.fake = fake
        self.sites = sites
        user = User.objects.create_superuser("alice")
        _, secret = issue_key(user, "tests")
        self._headers = {"Authorization": f"Bearer {secret}"}
        slug = f"acme-{next(NUMBERS)}"
        provider = Provider.objects.create(
            name="Acme",
            slug=slug,
            base_url=fake.url,
            api_key=fakes.KEY,
            routing_method="direct",
            fallback_enabled=False,
        )
        provider.ensure_routes()
        provider.language_models.create(model_id="sixty", name="sixty", source=ModelSource.MANUAL)
        self._model = f"{slug}/sixty"
        with redis.Redis.from_url(valkey.url) as client:
            for topic in ("keys", "providers"):
                client.publish(replicas.CHANNEL, topic)
        wait_until(lambda: all(self._is_known(site) for site in sites), 60)

    def _is_known(self, site: Site) -> bool:
        answer = httpx.get(f"{site.url}/v1/models", headers=self._headers, timeout=10)
        return self._model in answer.text

    def burst(self, sites: list[Site]) -> tuple[int, list[httpx.Response]]:
        """Equal requests with one new key, spread over the sites: upstream calls, answers."""
        self.fake.requests.clear()
        answers = asyncio.run(self._burst(sites, str(uuid.uuid4())))
        calls = [r for r in self.fake.requests if r.path.endswith("/chat/completions")]
        return len(calls), answers

    async def _burst(self, sites: list[Site], key: str) -> list[httpx.Response]:
        body = {"model": self._model, "messages": [{"role": "user", "content": "hello"}]}
        headers = self._headers | {"Idempotency-Key": key}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            headers=headers, timeout=60, trust_env=False, limits=limits
        ) as client:
            chosen = itertools.islice(itertools.cycle(sites), BURST)
            return await asyncio.gather(
                *(client.post(f"{site.url}/v1/chat/completions", json=body) for site in chosen)
            )


@pytest.fixture
def client(
    sites: list[Site], valkey: Valkey, fake: fakes.Upstream, transactional_db: None
) -> Iterator[Client]:
    yield Client(sites, valkey, fake)
    wait_for_writes()


@pytest.mark.parametrize("processes", [1, 4])
def test_fifty_equal_requests_at_once_are_one_upstream_call(client: Client, processes: int) -> None:
    """Twenty times in a row, and every caller has the whole answer."""
    for _ in range(ROUNDS):
        calls, answers = client.burst(client.sites[:processes])
        assert {answer.status_code for answer in answers} == {200}
        assert calls == 1
        assert len({answer.text for answer in answers}) == 1
        assert not [a for a in answers if "x-idempotency-key" in a.headers]


def test_without_redis_each_process_calls_once_and_says_so(client: Client, valkey: Valkey) -> None:
    """The key is honoured within a process, and the answer's header says that it is no further."""
    valkey.kill()
    try:
        calls, answers = client.burst(client.sites)
        assert {answer.status_code for answer in answers} == {200}
        assert calls == len(client.sites)
        assert {a.headers["x-idempotency-key"] for a in answers} == {"not-honoured"}
    finally:
        valkey.start()
