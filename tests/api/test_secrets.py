"""Keys that an upstream repeats in every field, header and status line of a failure: the whole
surface of the instance is searched for them."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from providers.clients import http
from providers.models import Attempt, GatewayCheck, Provider
from providers.probes import gateways
from tests.api.conftest import Door
from tests.e2e.site import Site
from tests.polling import wait_until
from tests.providers.test_dump import dumped

DIRECT_KEY = "sk-direct-Mark0123456789direct"
GATEWAY_KEY = "sk-gateway-Mark0123456789gateway"
HEADER = "team-Mark0123456789header"
FOREIGN = "sk-foreign-Mark0123456789foreign"  # the upstream's own: only its shape gives it away
SECRETS = (DIRECT_KEY, GATEWAY_KEY, HEADER, FOREIGN)
ALL = " ".join(SECRETS)
MARK = "Mark0123456789"
DOORS = ("direct", "proxy", "process")
QUESTION = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": QUESTION},
    "messages": {"messages": QUESTION, "max_tokens": 9},
    "responses": {"input": "hello"},
    "completions": {"prompt": "hello"},
    "embeddings": {"input": "hello"},
}


def error(marked: str = ALL) -> dict[str, Any]:
    """An error with keys in every field that anybody is known to read, and in some that nobody."""
    return {
        "message": f"Wrong key {marked}",
        "type": f"type {marked}",
        "code": f"code {marked}",
        "param": f"param {marked}",
        "status": marked,
        "metadata": {"raw": json.dumps({"error": {"message": marked}}), "provider_name": marked},
        "innererror": {"code": marked},
        "details": [{"reason": marked, "url": f"https://u:{marked}@host/?key={marked}"}],
        "kind": marked,
    }


WHOLE = {"error": error(), "detail": ALL, "errors": [ALL], "message": ALL, "error_msg": ALL}
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": None}]}
HEADERS = (
    "".join(f"x-{n}: {secret}\r\nx-{secret}: {n}\r\n" for n, secret in enumerate(SECRETS))
    + f"retry-after: {ALL}\r\nx-ratelimit-reset: {ALL}\r\nwww-authenticate: Bearer {ALL}\r\n"
    + f"location: https://host.example/{ALL.replace(' ', '/')}?key={FOREIGN}\r\n"
)


def answer(status: str, content_type: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{HEADERS}"
    return f"{head}content-length: {len(body.encode())}\r\n\r\n{body}".encode()


def sse(*events: object) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


ANSWERS = {
    **{
        str(status): answer(f"{status} No {ALL}", "application/json", json.dumps(WHOLE))
        for status in (302, 400, 401, 429, 500)
    },
    "detail": answer("422 No", "application/json", json.dumps({"detail": [{"msg": ALL}]})),
    "text": answer("500 No", "text/plain", ALL),
    "late": answer("500 No", "text/plain", "x" * 262 + " " + ALL),
    "page": answer(f"502 {ALL}", "text/html", f"<html>{ALL}</html>"),
    "in-200": answer("200 OK", "application/json", json.dumps({"error": error()})),
    "in-band": answer("200 OK", "text/event-stream", sse({"error": error()})),
    "mid": answer("200 OK", "text/event-stream", sse(CHUNK, {"error": error()})),
    "no-http": f"HTTP/{ALL} what\r\n\r\n".encode(),
    "bad-header": f"HTTP/1.1 200 OK\r\n{ALL}\r\n\r\n".encode(),
    "bad-length": f"HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n".encode(),
    "bad-chunk": f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{ALL}\r\n".encode(),
}


class Leaking:
    """A server that answers by the path's first part, and never without a key in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        started = asyncio.start_server(self._handle, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(started, self._loop).result()
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            named = [line for line in head.lower().split("\r\n") if "content-length" in line]
            await reader.readexactly(int(named[0].partition(":")[2]) if named else 0)
            writer.write(ANSWERS[head.split("/")[1]])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="module")
def leaking() -> Iterator[Leaking]:
    server = Leaking()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Web and gateway process; an open breaker or a paused key would keep calls from going out."""
    rules = (
        '{"repeat_within": 0.01, "failures_to_open": 10000, "window_least": 10000,'
        ' "pause": 0.001, "longest_pause": 0.001}'
    )
    with django_db_blocker.unblock():
        made = Site(tmp_path_factory.mktemp("secrets"), ROUTING_RULES=rules, REDIS_PATIENCE="2")
    made.start("web")
    made.start("gateway")
    made.wait_ready()
    made.wait_gateway()
    yield made
    made.stop()


@pytest.fixture
def leaky_door(site: Site, transactional_db: None) -> Door:
    return Door(site, User.objects.create_superuser("alice"))


def make_provider(origin: str, name: str, method: str) -> Provider:
    url = f"{origin}/{name}/{method}/v1"  # an address of its own: pauses are of address and key
    fields: dict[str, Any] = {
        "base_url": url,
        "api_key": DIRECT_KEY,
        "gateway_api_key": GATEWAY_KEY,
        "extra_headers": {"X-Team": HEADER},
        "gateway_endpoint": url if method == "proxy" else None,
        "routing_method": "direct" if method == "direct" else "gateway",
        "fallback_enabled": False,
    }
    provider = Provider.objects.create(name=f"{method} {name}", slug=f"{method}-{name}", **fields)
    provider.ensure_routes()
    provider.language_models.create(model_id="m", name="m")
    return provider


def in_redis() -> Iterator[str]:
    """All that Redis holds."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    readers: dict[object, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"stream": client.xrange,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    for key in client.scan_iter():
        yield f"{key!r} {readers[client.type(key)](key)!r}"


async def connection_test(user: User, provider: Provider) -> str:
    """What the page of a connection test shows."""
    client = AsyncClient()
    await client.aforce_login(user)
    sent = {
        "preset": "custom",
        "name": provider.name,
        "kind": "openai",
        "base_url": provider.base_url,
        "gateway_endpoint": provider.gateway_endpoint or "",
        "model_id": "m",
        "routing_method": "auto",
        "health_check_interval": "60",
    }
    url = reverse("providers:test", args=[provider.slug])
    response: Any = await client.post(url, sent, headers={"HX-Request": "true"})
    try:
        return b"".join([piece async for piece in response.streaming_content]).decode()
    finally:
        await http.close()


def pages(client: Client, slugs: list[str]) -> Iterator[tuple[str, str]]:
    """Every page that shows providers, health or requests."""
    known = [reverse("providers:index"), "/activity/", reverse("health:status")]
    for slug in slugs:
        known += [reverse("providers:detail", args=[slug]), reverse("health:provider", args=[slug])]
    known += [f"/activity/{each}/" for each in Attempt.objects.values_list("request_id", flat=True)]
    for url in known:
        response = client.get(url)
        assert response.status_code == 200, url
        yield url, response.content.decode() + str(response.headers)


def _paths(provider: Provider) -> list[str]:
    """Every door for a provider's own API, which they all call; else that of chats."""
    return list(BODIES) if provider.routing_method == "direct" else ["chat/completions"]


@pytest.mark.stack
def test_no_key_that_an_upstream_repeats_leaves_the_door(
    leaky_door: Door, leaking: Leaking, settings: Any
) -> None:
    """Not to `/v1`, pages, traces, tests, tables, Redis, logs or metrics; what failed is said."""
    providers = [make_provider(leaking.origin, name, m) for name in ANSWERS for m in DOORS]
    wait_until(lambda: f"{providers[-1].slug}/m" in leaky_door.models())
    texts: list[tuple[str, str]] = []
    with leaky_door.raw() as client:
        for provider in providers:
            for path, stream in product(_paths(provider), (False, True)):
                body = {"model": f"{provider.slug}/m", "stream": stream, **BODIES[path]}
                got = client.post(f"/{path}", json=body)
                shown = f"{got.text} {got.headers} {got.reason_phrase}"
                texts.append((f"/v1/{path} {provider.slug}", shown))
                assert '"error"' in got.text, (path, provider.slug)
                assert "internal_error" not in got.text, (path, provider.slug)
    settings.GATEWAY_URL = f"http://127.0.0.1:{leaky_door.site.gateway_port}"
    settings.GATEWAY_TOKEN = leaky_door.site.environment["GATEWAY_TOKEN"]
    for provider in providers:
        texts.append(
            (f"test {provider.slug}", asyncio.run(connection_test(leaky_door.user, provider)))
        )
    wait_until(lambda: Attempt.objects.count() >= 2 * len(providers))
    page_client = Client()
    page_client.force_login(leaky_door.user)
    texts += pages(page_client, [provider.slug for provider in providers])
    texts += dumped().items()
    texts.append(("/metrics", httpx.get(f"{leaky_door.site.url}/metrics", trust_env=False).text))
    assert "opencode" in texts[-1][1]
    with io.StringIO() as exported:
        call_command("export_providers", stdout=exported)
        texts.append(("export", exported.getvalue()))
    texts += [("redis", each) for each in in_redis()]
    texts += [(path.name, path.read_text()) for path in Path(leaky_door.site.logs).iterdir()]
    found = [(where, text, text.find(MARK)) for where, text in texts]
    leaks = [f"{where}: {text[max(0, at - 80) : at + 80]}" for where, text, at in found if at >= 0]
    assert leaks == []
    assert Attempt.objects.filter(error_message__contains="[hidden]").count() > len(providers)
    limited = Attempt.objects.filter(status=429).values_list("provider__slug", flat=True)
    assert set(limited) == {f"{method}-429" for method in DOORS}


async def test_a_gateways_check_keeps_no_key(transactional_db: None, leaking: Leaking) -> None:
    """Its problem and its version are an upstream's words as well."""
    for name in ANSWERS:
        found = gateways.Endpoint(
            key="1", name="Spare", url=f"{leaking.origin}/{name}", api_key=GATEWAY_KEY
        )
        await gateways.check_endpoint(found)
        await http.close()
        row = await GatewayCheck.objects.aget(endpoint=found.url)
        kept = f"{row.problem} {row.version} {row.listed}"
        assert not [key for key in (DIRECT_KEY, GATEWAY_KEY, FOREIGN) if key in kept], name
