"""Liveness and readiness, as a balancer asks for them: what serves is never taken out."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from pytest_django import Settings

from health import liveness, readiness
from health.readiness import MISSING
from opencode_web.asgi import application
from providers.clients import http
from providers.infra import heartbeat
from providers.infra.heartbeat import ProcessRole
from providers.router import route_table
from tests import fakes
from tests.upstreams.fixtures import GatewayProcess

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]

    @property
    def reasons(self) -> list[str]:
        found: list[str] = self.body["reasons"]
        return found


async def get(path: str) -> Answer:
    """Asks the whole web application, as its server would."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "server": ("127.0.0.1", 80),
    }
    async with asyncio.timeout(60):
        await application(scope, receive, send)
    return Answer(sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:])))


@asynccontextmanager
async def process() -> AsyncGenerator[None]:
    """A web process that just started, beside a runner and a worker."""
    for role in ProcessRole:
        await heartbeat.send(role)
    try:
        yield
    finally:
        await route_table.close()
        await http.close()


type Forget = Callable[..., None]


@pytest.fixture(autouse=True)
def forget(settings: Settings) -> Iterator[Forget]:
    """Without a gateway process, and, in the end, without what was said in Redis."""
    settings.GATEWAY_TOKEN = ""
    readiness.check = readiness._ReadinessCheck()
    with redis.Redis.from_url(settings.REDIS_URL) as client:

        def forget(*roles: ProcessRole) -> None:
            client.delete(*(f"heartbeat:{role}" for role in roles))

        yield forget
        forget(*ProcessRole)


async def ready() -> Answer:
    """Checked now, without the cached result."""
    readiness.check.expires_at = 0
    liveness.database_problem.expires_at = liveness.redis_problem.expires_at = 0
    return await get("/readyz")


async def test_healthz_is_200() -> None:
    """Whatever else is away."""
    assert await get("/healthz") == Answer(200, {"status": "ok"})


async def test_readyz_is_200() -> None:
    """All is there."""
    async with process():
        assert await ready() == Answer(200, {"status": "ready", "reasons": []})


async def test_reports_a_process_without_heartbeat(forget: Forget) -> None:
    """The web process serves; answers and checks wait."""
    async with process():
        forget(ProcessRole.RUNNER)
        assert (await ready()).reasons == [MISSING[ProcessRole.RUNNER]]
        forget(ProcessRole.WORKER)
        answer = await ready()
    assert (answer.status, answer.body["status"]) == (200, "degraded")
    assert answer.reasons == [MISSING[ProcessRole.RUNNER], MISSING[ProcessRole.WORKER]]


async def test_serves_without_redis(settings: Settings) -> None:
    """Which parts are there is not known, and not held against them."""
    settings.REDIS_URL = f"redis://:a-secret@127.0.0.1:{fakes.refusing_port()}"
    answer = await ready()
    await route_table.close()
    liveness.redis_problem.expires_at = 0
    assert (answer.status, answer.reasons) == (200, [liveness.REDIS_AWAY])
    assert "a-secret" not in str(answer)


async def test_reports_a_missing_gateway_process(settings: Settings) -> None:
    """Where the program has one."""
    settings.GATEWAY_TOKEN = "some-token"
    settings.GATEWAY_URL = f"http://127.0.0.1:{fakes.refusing_port()}"
    async with process():
        answer = await ready()
    assert (answer.status, answer.reasons) == (200, [readiness.GATEWAY_AWAY])


async def test_reports_nothing_about_a_running_gateway_process(
    settings: Settings, gateway_process: GatewayProcess
) -> None:
    """It has loaded LiteLLM."""
    settings.GATEWAY_TOKEN, settings.GATEWAY_URL = gateway_process.token, gateway_process.url
    async with process():
        assert (await ready()).reasons == []


async def test_lost_attempts_are_a_reason_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they are past: the counter is in the metrics."""
    async with process():
        route_table.current().queue.dropped = 7
        assert (await ready()).reasons == [readiness.DROPPED.format(count=7)]
        monkeypatch.setattr(readiness, "REPORT_DROPPED_SECONDS", 0.0)
        assert (await ready()).reasons == []


async def test_caches_the_result(forget: Forget) -> None:
    """The address is open to everybody: it must not be a way to keep databases busy."""
    async with process():
        before = await ready()
        forget(*ProcessRole)
        assert await get("/readyz") == before
