"""Check gateways: whether each answers, its version, the models it serves.

A check runs each minute and on Test, over the client of requests. The last status is stored; pages
read only that.
"""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import field
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from providers.clients import direct, gateway, http
from providers.clients.deadlines import Deadlines
from providers.domain.errors import CallError
from providers.domain.frozen import frozen
from providers.domain.redaction import redact_line, redacted_errors, secrets_of
from providers.domain.types import Json, Kind, Method, Target, Timeouts
from providers.infra import database, feature_flags
from providers.models import Gateway, GatewayCheck, Provider, Route, read_flags

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0  # for each call of a check
START_SECONDS = 5.0  # that a test waits for the gateway process to listen
LOAD_SECONDS = 60.0  # and for LiteLLM to load in it
POLL_SECONDS = 0.2
CHECK_FRESH = timedelta(minutes=5)  # after which a status is out of date
MAX_VERSION_LENGTH = 50  # characters
MAX_STORED_MODELS = 200  # model names of a gateway
MAX_CONCURRENT_CHECKS = 8
_TIMEOUTS = Timeouts(
    connect=3.0, first_token=ANSWER_SECONDS, silence=ANSWER_SECONDS, total=ANSWER_SECONDS
)
_STATES = {
    "ready": GatewayCheck.Liveness.UP,
    "loading": GatewayCheck.Liveness.STARTING,
}


@frozen
class Endpoint:
    """A gateway that providers can be reached through. `key` names it in URLs of pages.

    `url` is empty for the gateway process. `row` or `provider` is where it is configured;
    without either it comes from the environment.
    """

    key: str
    name: str
    url: str
    api_key: str = field(default="", repr=False)
    enabled: bool = True
    row: Gateway | None = None
    provider: Provider | None = None


@frozen
class GatewayStatus:
    """The result of one check. `problem` is why the gateway cannot be used."""

    ms: int
    state: str = GatewayCheck.Liveness.UP
    problem: str = ""
    version: str = ""
    models: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()


def list_endpoints() -> list[Endpoint]:
    """All gateways: the instance's LiteLLM, stored ones, those of single providers, and the
    gateway process if there is one."""
    read_flags()
    endpoints = [*_instance_endpoints(), *_stored_endpoints()]
    endpoints += _provider_endpoints({each.url for each in endpoints})
    if settings.GATEWAY_TOKEN:
        on = feature_flags.is_enabled("gateway_sdk")
        name = "Gateway process"
        endpoints.append(Endpoint(key="process", name=name, url="", enabled=on))
    return endpoints


def _instance_endpoints() -> list[Endpoint]:
    url, key = settings.LITELLM_ENDPOINT, settings.LITELLM_API_KEY
    name = "The instance's LiteLLM"
    return [Endpoint(key="instance", name=name, url=url, api_key=key)] if url else []


def _stored_endpoints() -> list[Endpoint]:
    return [
        Endpoint(
            key=str(row.pk),
            name=row.name,
            url=row.url,
            api_key=row.api_key,
            enabled=row.enabled,
            row=row,
        )
        for row in Gateway.objects.all()
    ]


def _provider_endpoints(others: set[str]) -> list[Endpoint]:
    """Gateways that are set for single providers, each address once."""
    first: dict[str, Provider] = {}
    for each in Provider.objects.usable().exclude(gateway_endpoint=None).in_order():
        first.setdefault(each.gateway_endpoint or "", each)
    return [
        Endpoint(
            key=f"provider-{provider.pk}",
            name=f"Gateway of {provider.name}",
            url=url,
            api_key=provider.gateway_api_key,
            provider=provider,
        )
        for url, provider in first.items()
        if url and url not in others
    ]


def routes_by_endpoint() -> dict[str, list[Route]]:
    """The routes of usable providers through each gateway, by its address."""
    routes: dict[str, list[Route]] = {}
    through = Route.objects.filter(
        method=Method.GATEWAY, provider__enabled=True, provider__removed_at=None
    )
    for route in through.select_related("provider").order_by("provider__name"):
        routes.setdefault(route.endpoint, []).append(route)
    return routes


def last_checks() -> dict[str, GatewayCheck]:
    """The last status of each gateway, by its address."""
    return {check.endpoint: check for check in GatewayCheck.objects.all()}


async def check_endpoints() -> None:
    """Check all gateways in use, and delete the statuses of those that are gone."""
    slots = asyncio.Semaphore(MAX_CONCURRENT_CHECKS)

    async def check_in_turn(endpoint: Endpoint) -> None:
        async with slots:
            await check_endpoint(endpoint)

    endpoints = await database.run(list_endpoints)
    await database.run(_delete_others, [each.url for each in endpoints])
    enabled = [each for each in endpoints if each.enabled]
    checks = (check_in_turn(each) for each in enabled)
    results = await asyncio.gather(*checks, return_exceptions=True)
    for endpoint, result in zip(enabled, results, strict=True):
        if isinstance(result, BaseException):
            log.error("gateway_check_failed gateway=%s", endpoint.key, exc_info=result)


async def check_endpoint(endpoint: Endpoint) -> GatewayCheck:
    """Check one gateway and store its status."""
    status = await query_endpoint(endpoint)
    return await database.run(store_status, endpoint, status, timezone.now())


def store_status(endpoint: Endpoint, status: GatewayStatus, now: datetime) -> GatewayCheck:
    """Replace the stored status of a gateway."""
    columns = {
        "checked_at": now,
        "state": status.state,
        "problem": _clean(status.problem)[:300],
        "ms": status.ms,
        "version": _clean(status.version)[:MAX_VERSION_LENGTH],
        "serves": len(status.models),
        "listed": [_clean(each) for each in status.models[:MAX_STORED_MODELS]],
        "vendors": [_clean(each) for each in status.vendors],
    }
    row, _ = GatewayCheck.objects.update_or_create(endpoint=endpoint.url, defaults=columns)
    return row


def _clean(text: str) -> str:
    """PostgreSQL refuses NUL."""
    return text.replace("\0", "")


def _delete_others(urls: list[str]) -> None:
    GatewayCheck.objects.exclude(endpoint__in=urls).delete()


async def query_endpoint(endpoint: Endpoint) -> GatewayStatus:
    """Query a gateway; a failure is part of the status."""
    began = time.monotonic()
    try:
        if endpoint.url:
            return await _query_proxy(endpoint, began)
        return await _query_process(began)
    except CallError as error:
        down = GatewayCheck.Liveness.DOWN
        return GatewayStatus(ms=_ms(began), state=down, problem=error.message)


async def _query_proxy(endpoint: Endpoint, began: float) -> GatewayStatus:
    target = Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=endpoint.url,
        api_key=endpoint.api_key,
        model="",
        timeouts=_TIMEOUTS,
    )
    models = await gateway.list_models(target)
    ms = _ms(began)
    return GatewayStatus(
        ms=ms, version=await _fetch_version(target), models=tuple(m.model_id for m in models)
    )


async def _fetch_version(target: Target) -> str:
    """LiteLLM's version, from its readiness: newer versions require a key. Empty if unknown."""
    base = gateway.base_url(target).removesuffix("/v1")
    for path in ("/health/readiness/details", "/health/readiness"):
        with suppress(CallError):
            with redacted_errors(target):
                payload = await _fetch_json(f"{base}{path}", direct.request_headers(target))
            if version := payload.get("litellm_version"):
                return redact_line(str(version), secrets_of(target), MAX_VERSION_LENGTH)
    return ""


async def _query_process(began: float) -> GatewayStatus:
    try:
        payload = await _fetch_json(f"{settings.GATEWAY_URL}/healthz", {})
    except CallError as error:
        raise CallError(error.kind, f"The process does not answer: {error.message}") from error
    return GatewayStatus(
        ms=_ms(began),
        state=_STATES.get(str(payload.get("status")), GatewayCheck.Liveness.DOWN),
        problem=str(payload.get("problem") or ""),
        version=str(payload.get("version") or ""),
        vendors=tuple(str(each) for each in payload.get("vendors") or ()),
    )


async def wait_for_process() -> None:
    """Wait while the gateway process starts and loads LiteLLM. A failure to start shows in the
    call that follows."""
    began = time.monotonic()
    while settings.GATEWAY_TOKEN and time.monotonic() - began < LOAD_SECONDS:
        try:
            if (await _query_process(began)).state != GatewayCheck.Liveness.STARTING:
                return
        except CallError:
            if time.monotonic() - began > START_SECONDS:
                return
        await asyncio.sleep(POLL_SECONDS)


async def _fetch_json(url: str, headers: dict[str, str]) -> Json:
    deadlines = Deadlines(_TIMEOUTS)
    async with http.HttpCall("GET", url, headers=headers, deadlines=deadlines) as response:
        await direct.raise_for_status(response, deadlines)
        payload = await direct.read_json(response, deadlines)
    return payload if isinstance(payload, dict) else {}


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
