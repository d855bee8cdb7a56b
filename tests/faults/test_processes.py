"""Two web processes, a worker and beat: one truth, and answers while parts of them are away."""

import asyncio
import itertools
import time
from collections.abc import Iterator

import httpx
import pytest
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from api.keys.lifecycle import issue_key
from providers.models import Attempt, Breaker, ModelSource, Provider, Purpose
from tests import fakes
from tests.e2e.site import Site, wait_for_writes
from tests.faults import processes
from tests.faults.processes import Pair
from tests.polling import until, wait_until

pytestmark = pytest.mark.stack

# Seconds, long enough for all that a test does within them on a busy machine.
REST, LEASE = 8.0, 12.0
ANSWER = "late-8000"  # begins at once, and takes longer than all the others are refused in
RULES = (
    f'{{"failures_to_open": 3, "rests": [{REST}], "jitter": 0.001, "trial_lease": {LEASE},'
    ' "trials_to_close": 1, "repeat_within": 0.01, "last_resort_every": 1000,'
    # Who does not get the probe is refused at once: what is counted here is who gets it.
    ' "cooldown_patience": 0.001}'
)
NUMBERS = itertools.count()
# Seconds that a request may take while something is away: one that waited for the database would
# take three, its patience to connect; on a busy machine as many times the usual.
SLOWEST, TIMES_USUAL = 2.5, 10.0


@pytest.fixture(scope="module")
def running(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    with django_db_blocker.unblock():
        pair = processes.start(tmp_path_factory.mktemp("pair"), RULES)
    yield pair
    processes.stop(pair)


@pytest.fixture
def pair(running: Pair, transactional_db: None) -> Iterator[Pair]:
    """Both processes, and a key that both know."""
    running.database.open()
    user = User.objects.create_superuser("alice")
    _, running.secret = issue_key(user, "tests")
    yield running
    wait_for_writes()
    running.database.shut()


@pytest.fixture
def acme(pair: Pair, fake: fakes.Upstream) -> Provider:
    """A provider with one route, from the moment when both processes know it."""
    provider = Provider.objects.create(
        name="Acme",
        # One of its own: the processes may still know the last test's.
        slug=f"acme-{next(NUMBERS)}",
        base_url=fake.url,
        api_key=fakes.KEY,
        routing_method="direct",
        fallback_enabled=False,
        health_check_interval=3600,
    )
    provider.ensure_routes()
    # By hand: the worker reads the provider's list meanwhile, and it is not in there.
    provider.language_models.create(model_id="sixty", name="sixty", source=ModelSource.MANUAL)
    pair.publish("keys", "providers")
    pair.model = f"{provider.slug}/sixty"
    until_known(pair)
    return provider


def until_known(pair: Pair, *, known: bool = True) -> None:
    """Until both processes know the pair's model, or know it no more. Beat may have had the
    provider's own list read meanwhile, so that there may be others."""
    wait_until(lambda: {pair.model in pair.models(site) for site in pair.sites} == {known}, 120.0)


async def _asked(pair: Pair, *sites: Site) -> list[tuple[httpx.Response, float]]:
    """One request to each of these at once: the answers, and how long they took."""
    body = {"model": pair.model, "messages": [{"role": "user", "content": "hello"}]}

    async def one(client: httpx.AsyncClient, site: Site) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        answer = await client.post(f"{site.url}/v1/chat/completions", json=body)
        return answer, time.monotonic() - began

    async with pair.client() as client:
        return await asyncio.gather(*(one(client, site) for site in sites))


def asked(pair: Pair, *sites: Site) -> list[tuple[httpx.Response, float]]:
    return asyncio.run(_asked(pair, *sites))


def chats(fake: fakes.Upstream) -> list[fakes.Record]:
    """What was asked of the provider, but for its list of models, which the worker may read."""
    return [record for record in fake.requests if record.path.endswith("/chat/completions")]


def attempts() -> QuerySet[Attempt]:
    """Those of our requests: the worker's probes are attempts too."""
    return Attempt.objects.filter(purpose=Purpose.API)


def statuses(answers: list[tuple[httpx.Response, float]]) -> list[int]:
    return sorted(answer.status_code for answer, _ in answers)


def breaker() -> Breaker:
    """That of Acme's one model, which is what a 500 counts against."""
    return Breaker.objects.get(route__method="direct", model_id="sixty")


def state() -> str:
    """The state of that breaker; closed where nothing has failed."""
    return next((row.state for row in Breaker.objects.filter(model_id="sixty")), "closed")


def opened(pair: Pair, fake: fakes.Upstream) -> Breaker:
    """The breaker of Acme's model, opened by the first process and known to both.

    Each process has let the one request through that may pass where every route is cooling down.
    """
    fake.script("500")
    first, second = pair.sites
    asked(pair, first)
    asked(pair, first)
    wait_until(lambda: state() == "open")
    until_refused(pair, first)
    until_refused(pair, second)
    wait_until(lambda: attempts().exclude(method="").count() == len(chats(fake)))
    return breaker()


def until_refused(pair: Pair, site: Site) -> httpx.Response:
    """Asks a process until it refuses by itself, as it knows that every route is cooling down."""
    while (answer := asked(pair, site)[0][0]).status_code != 503:
        assert answer.status_code >= 500, answer.text
    return answer


def until_due(resting: Breaker) -> None:
    assert resting.retry_at is not None
    wait_until(lambda: resting.retry_at and resting.retry_at < timezone.now())


def test_a_breaker_opened_in_one_process_is_known_in_the_other(
    pair: Pair, fake: fakes.Upstream, acme: Provider
) -> None:
    """It knows by itself that every route is cooling down, before that is over."""
    fake.script("500")
    first, second = pair.sites
    asked(pair, first)
    asked(pair, first)
    wait_until(lambda: state() == "open")
    answer = until_refused(pair, second)
    attempts = Attempt.objects.filter(request_id=answer.headers["x-request-id"])
    wait_until(attempts.exists)
    assert attempts.get().error_code == "routes_resting"


def test_of_fifty_requests_at_the_end_of_a_rest_one_is_the_trial(
    pair: Pair, fake: fakes.Upstream, acme: Provider
) -> None:
    """In both processes together; the others learn at once when to come again."""
    resting = opened(pair, fake)
    fake.script(ANSWER)
    fake.requests.clear()
    until_due(resting)
    answers = asked(pair, *(pair.sites * 25))
    assert len(chats(fake)) == 1
    assert statuses(answers) == [200] + [503] * 49
    refused = [answer for answer, _ in answers if answer.status_code == 503]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    wait_until(lambda: state() == "closed")
    fake.script("sixty")
    wait_until(lambda: statuses(asked(pair, *(pair.sites * 5))) == [200] * 10)


def test_a_killed_process_loses_its_trial_to_exactly_one_other(
    pair: Pair, fake: fakes.Upstream, acme: Provider
) -> None:
    """kill -9: its lease ends by itself, and not before."""
    resting = opened(pair, fake)
    first, second = pair.sites
    fake.script("stall-headers")
    fake.requests.clear()
    until_due(resting)

    async def die_in_trial() -> None:
        dying = asyncio.create_task(_asked(pair, first))
        await until(lambda: chats(fake))
        first.kill("web")
        with pytest.raises(httpx.TransportError):
            await dying

    try:
        asyncio.run(die_in_trial())
        fake.script(ANSWER)
        leased = breaker()
        assert leased.state == "half_open"
        assert statuses(asked(pair, *([second] * 20))) == [503] * 20
        assert len(chats(fake)) == 1
        until_due(leased)
        assert statuses(asked(pair, *([second] * 20))) == [200] + [503] * 19
        assert len(chats(fake)) == 2
        wait_until(lambda: state() == "closed")
    finally:
        if "web" not in first.parts:
            first.start("web")
            first.wait_ready()


def served(pair: Pair, times: int, slowest: float = 60.0) -> float:
    """Asks both so many times; all are answered, none slowly. The seconds of the slowest."""
    found = 0.0
    for _ in range(times):
        answers = asked(pair, *pair.sites)
        assert statuses(answers) == [200, 200], answers[0][0].text
        found = max(found, *(took for _, took in answers))
        assert found < slowest
    return found


def usual(pair: Pair) -> float:
    """The limit for a request while something is away, by what it takes while all is there."""
    return max(SLOWEST, TIMES_USUAL * served(pair, 5))


def test_redis_dies_while_serving(pair: Pair, fake: fakes.Upstream, acme: Provider) -> None:
    """`/v1` goes on at once; what changes is still seen by all; Redis comes back by itself."""
    limit = usual(pair)
    pair.valkey.kill()
    served(pair, 30, limit)
    Provider.objects.filter(pk=acme.pk).update(enabled=False)
    until_known(pair, known=False)
    Provider.objects.filter(pk=acme.pk).update(enabled=True)
    pair.valkey.start()
    wait_until(pair.connected)
    until_known(pair)
    served(pair, 5)


def test_the_database_goes_away_while_serving(
    pair: Pair, fake: fakes.Upstream, acme: Provider
) -> None:
    """`/v1` goes on from what it knows; the attempts are written once the database is back."""
    limit = usual(pair)
    pair.database.shut()
    try:
        served(pair, 30, limit)
    finally:
        pair.database.open()
    wait_until(pair.connected)
    wait_until(lambda: attempts().count() == len(chats(fake)), 60)
    assert len(chats(fake)) == 70
    assert set(attempts().values_list("outcome", flat=True)) == {"ok"}


def test_both_go_away_and_all_of_it_recovers(
    pair: Pair, fake: fakes.Upstream, acme: Provider
) -> None:
    """A route that breaks meanwhile cools down in each process, and is one again afterwards."""
    limit = usual(pair)
    pair.valkey.kill()
    pair.database.shut()
    try:
        served(pair, 15, limit)
        fake.script("500")
        for _ in range(3):
            asked(pair, *pair.sites)
        fake.requests.clear()
        assert statuses(asked(pair, *pair.sites)) == [503, 503]
        assert len(chats(fake)) <= 2
        fake.script("sixty")
    finally:
        pair.valkey.start()
        pair.database.open()
    wait_until(pair.connected)
    wait_until(lambda: set(statuses(asked(pair, *pair.sites))) == {200})
    wait_until(lambda: state() == "closed")
    # The worker and beat, too, are at work again.
    Provider.objects.filter(pk=acme.pk).update(
        health_check_interval=5, next_check_at=timezone.now(), last_health_check=None
    )
    probed = Provider.objects.filter(pk=acme.pk, last_health_check__isnull=False)
    wait_until(probed.exists, 120)
