"""The gateway process killed, stopped, slow to start, without LiteLLM: one route, and no more."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from pytest_django import Settings

from providers.clients import http
from providers.connection_test import runner
from providers.connection_test.provider_test import ProviderTest
from providers.connection_test.stages import Stage
from providers.domain.tuning import RULES
from providers.domain.types import ChatMessage, ChatRequest, Completed, Method, RouteTaken
from providers.infra import database
from providers.models import Attempt, Provider, Purpose, Route
from providers.probes import probe as probing
from providers.probes import probe_plan
from providers.router import attempt_writer, route_table, router
from providers.router.call import Call
from tests import fakes
from tests.polling import until, wait_until
from tests.programs import PYTHON
from tests.providers.tested import draft, ended
from tests.upstreams.fixtures import free_port
from tests.upstreams.tethered import tethered

pytestmark = [pytest.mark.stack, pytest.mark.django_db(transaction=True)]

ASKED = ChatRequest(messages=(ChatMessage(role="user", content="hello"),))
TOKEN = "gateway-test-token-012345"


class Process:
    """The gateway process, whose LiteLLM may be another one than the installed."""

    def __init__(self, litellm: Path | None = None) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._paths = [str(litellm)] if litellm else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "GATEWAY_URL": self.url, "GATEWAY_TOKEN": TOKEN}
        environment["PYTHONPATH"] = os.pathsep.join(self._paths)
        self._process = subprocess.Popen(
            tethered([PYTHON, "manage.py", "gateway"]),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self, problem: str, seconds: float = 60) -> None:
        """Until it says that this is its problem; none means that it is ready."""
        wait_until(lambda: self._says() == problem, seconds)

    def _says(self) -> str | None:
        try:
            return str(
                httpx.get(f"{self.url}/healthz", timeout=1, trust_env=False).json()["problem"]
            )
        except httpx.TransportError:
            return None

    def send(self, number: signal.Signals) -> None:
        """To it and its workers."""
        if self._process:
            os.killpg(self._process.pid, number)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process and self.alive:
            self.send(signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="module")
def own_process() -> Iterator[Process]:
    made = Process()
    yield made
    made.kill()


@pytest.fixture
def process(own_process: Process) -> Process:
    """The gateway process, ready. It is to be started by the main thread: it ends with its starter,
    and coroutine tests run in a thread that ends with them."""
    if not own_process.alive:
        own_process.start()
    own_process.wait("")
    return own_process


@pytest.fixture
def litellm(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts a gateway process in whose place of LiteLLM stands some code."""
    started: list[Process] = []

    def start(code: str) -> Process:
        package = tmp_path / "litellm"
        package.mkdir()
        (package / "__init__.py").write_text(code)
        started.append(Process(tmp_path))
        started[0].start()
        return started[0]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def impatient(settings: Settings) -> None:
    """A route that failed is tried again soon."""
    settings.GATEWAY_TOKEN = TOKEN
    settings.ROUTING_RULES = replace(RULES, rests=(0.2,), jitter=0.01, failures_to_open=2)


@pytest.fixture
def provider(make_provider: Callable[..., Provider], fake: fakes.Upstream) -> Provider:
    """One that the gateway is asked for first."""
    return make_provider(base_url=fake.url, api_key=fakes.KEY, model_id="echo", prefer_direct=False)


async def ask(provider: Provider) -> str:
    """The method that answered."""
    call = Call(
        provider_id=provider.pk, model_id="echo", purpose=Purpose.API, request_id=uuid.uuid4()
    )
    async with aclosing(router.stream(call, ASKED)) as events:
        found = [event async for event in events]
    return next(event.method.value for event in found if isinstance(event, RouteTaken))


async def asked(provider: Provider, times: int = 1) -> list[str]:
    """The methods that answered as many questions, one after the other."""
    try:
        return [await ask(provider) for _ in range(times)]
    finally:
        await route_table.close()
        await http.close()


async def failures() -> set[tuple[str, str, str]]:
    rows = Attempt.objects.exclude(outcome="ok")
    return {row async for row in rows.values_list("method", "outcome", "error_code")}


async def states(provider: Provider) -> dict[str, str]:
    rows = Route.objects.filter(provider=provider).values_list("method", "state")
    return {method: state async for method, state in rows}


async def recovered(provider: Provider) -> None:
    """Until health checks have found that the gateway's route works again."""

    async def is_closed() -> bool:
        for probe in await database.run(probe_plan.plan_probes, [provider.pk]):
            await database.run(attempt_writer.write_results, await probing.send_probe(probe))
        return (await states(provider))["gateway"] == "closed"

    await until(is_closed)
    await http.close()


async def test_a_stopped_process_is_left_within_its_own_limit_and_comes_back(
    process: Process, provider: Provider, impatient: None, settings: Settings
) -> None:
    """It accepts connections and says nothing: far sooner than a provider's first token is due."""
    settings.GATEWAY_URL = process.url
    assert await asked(provider) == ["gateway"]
    process.send(signal.SIGSTOP)
    try:
        answers = await asked(provider, 3)
    finally:
        process.send(signal.SIGCONT)
    assert set(answers) == {"direct"}
    assert await failures() == {("gateway", "gateway", "headers_timeout")}
    assert await states(provider) == {"direct": "closed", "gateway": "open"}
    await recovered(provider)


def test_a_killed_process_is_left_at_once_and_comes_back(
    process: Process, provider: Provider, impatient: None, settings: Settings
) -> None:
    """Its connections are refused; a new one is found by the first trial."""
    settings.GATEWAY_URL = process.url
    assert async_to_sync(asked)(provider) == ["gateway"]
    process.kill()
    answers = async_to_sync(asked)(provider, 3)
    assert set(answers) == {"direct"}
    assert async_to_sync(failures)() == {("gateway", "gateway", "connect_refused")}
    assert async_to_sync(states)(provider) == {"direct": "closed", "gateway": "open"}
    process.start()
    process.wait("")
    async_to_sync(recovered)(provider)


async def test_one_killed_in_mid_answer_is_no_failure_of_the_provider(
    process: Process, provider: Provider, impatient: None, settings: Settings
) -> None:
    """What was said is kept, and the break is reported as the gateway's."""
    settings.GATEWAY_URL = process.url
    call = Call(
        provider_id=provider.pk,
        model_id="slow-500-20",
        purpose=Purpose.API,
        request_id=uuid.uuid4(),
    )
    try:
        async with aclosing(router.stream(call, ASKED)) as events:
            assert isinstance(await anext(events), RouteTaken)
            process.kill()
            last = [event async for event in events][-1]
    finally:
        await route_table.close()
        await http.close()
    assert isinstance(last, Completed)
    assert last.error is not None
    assert last.error.kind == "gateway"
    assert (await states(provider))["direct"] == "closed"


@pytest.mark.parametrize(
    ("code", "problem", "error_code"),
    [
        (
            "raise ImportError('no such thing')",
            "LiteLLM could not be imported. The gateway process's log says why.",
            "litellm_missing",
        ),
        (
            "import threading; threading.Event().wait()",
            "LiteLLM is still loading.",
            "gateway_loading",
        ),
    ],
)
def test_a_process_without_litellm_says_so_at_once(
    litellm: Callable[[str], Process],
    provider: Provider,
    impatient: None,
    settings: Settings,
    code: str,
    problem: str,
    error_code: str,
) -> None:
    """Missing, or slow to start: direct answers."""
    started = litellm(code)
    settings.GATEWAY_URL = started.url
    started.wait(problem)
    answers = async_to_sync(asked)(provider, 2)
    assert set(answers) == {"direct"}
    assert async_to_sync(failures)() == {("gateway", "gateway", error_code)}
    messages = Attempt.objects.filter(method="gateway").values_list("error_message", flat=True)
    assert set(messages) == {problem}
    assert async_to_sync(states)(provider) == {"direct": "closed", "gateway": "open"}
    healthz = httpx.get(f"{started.url}/healthz", timeout=1, trust_env=False).json()
    assert healthz["status"] == ("missing" if "raise" in code else "loading")


LOADS_LATER = """
import pathlib, sys, time
here = pathlib.Path(__file__).parent.parent
while not (here / "go").exists():
    time.sleep(0.05)
sys.path = [path for path in sys.path if path != str(here)]
del sys.modules["litellm"]
import litellm
"""


@pytest.fixture
def loading(litellm: Callable[[str], Process], settings: Settings, impatient: None) -> Process:
    """A gateway process that loads LiteLLM once there is a file `go` in its folder."""
    started = litellm(LOADS_LATER)
    settings.GATEWAY_URL = started.url
    started.wait("LiteLLM is still loading.")
    return started


def test_a_request_with_no_other_route_waits_until_litellm_is_loaded(
    loading: Process, provider: Provider, tmp_path: Path
) -> None:
    """It is answered late instead of refused, and nothing is counted against the gateway."""
    Provider.objects.filter(pk=provider.pk).update(routing_method="gateway", fallback_enabled=False)

    async def run() -> list[str]:
        asyncio.get_running_loop().call_later(0.5, (tmp_path / "go").touch)
        return await asked(provider)

    assert async_to_sync(run)() == ["gateway"]
    assert async_to_sync(failures)() == set()


def test_a_request_with_no_other_route_waits_until_the_process_listens(
    own_process: Process, provider: Provider, impatient: None, settings: Settings
) -> None:
    """As in the first seconds of `./dev up`, or while a killed one is started again."""
    Provider.objects.filter(pk=provider.pk).update(routing_method="gateway", fallback_enabled=False)
    settings.GATEWAY_URL = own_process.url
    own_process.kill()

    async def run() -> list[str]:
        asking = asyncio.create_task(asked(provider))
        await asyncio.sleep(0.3)
        await sync_to_async(own_process.start)()  # in the main thread, with which it ends
        return await asking

    assert async_to_sync(run)() == ["gateway"]
    assert async_to_sync(failures)() == set()


def test_the_connection_test_waits_until_litellm_is_loaded(
    loading: Process, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """It says what it waits for, and then tests the gateway like any other."""

    async def run() -> list[Stage]:
        found: list[Stage] = []
        async for stage in runner.run(ProviderTest(draft=draft(fake.url, gateway_endpoint=""))):
            found.append(stage)
            if "gateway process is ready" in stage.detail:
                (tmp_path / "go").touch()
        await http.close()
        return found

    stages = async_to_sync(run)()
    assert (tmp_path / "go").exists()
    assert ended(stages, Method.GATEWAY)["chat"] == "ok"
