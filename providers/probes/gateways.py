"""Gateways themselves: which there are, whether each answers, its version, the models it serves.

Asked over the same client and with the same words for failures as calls, by a check each minute
and by who presses Test; what each said is kept, and pages read that alone.
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

PATIENCE = 5.0  # seconds for each of its answers
START_SECONDS = 5.0  # that a test waits for our own process to listen
LOAD_SECONDS = 60.0  # and for LiteLLM in it
LOOK_PAUSE = 0.2
CHECK_FRESH = timedelta(minutes=5)  # how long what a gateway said is believed
LONGEST_VERSION = 50  # characters
LISTED = 200  # models of a gateway that are kept by name
AT_ONCE = 8  # gateways asked at the same time
_TIMES = Timeouts(connect=3.0, first_token=PATIENCE, silence=PATIENCE, total=PATIENCE)
_STATES = {
    "ready": GatewayCheck.Liveness.UP,
    "loading": GatewayCheck.Liveness.STARTING,
}


@frozen
class Endpoint:
    """A gateway that providers may be reached through. `key` names it in addresses.

    `url` is empty for our own gateway process. `row` and `provider` say where it was set; neither:
    in the environment.
    """

    key: str
    name: str
    url: str
    api_key: str = field(default="", repr=False)
    enabled: bool = True
    row: Gateway | None = None
    provider: Provider | None = None


@frozen
class Look:
    """What a gateway answered just now. `problem` is why it cannot be used."""

    ms: int
    state: str = GatewayCheck.Liveness.UP
    problem: str = ""
    version: str = ""
    models: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()


def known() -> list[Endpoint]:
    """Every gateway: the instance's own LiteLLM, further ones, those of single providers, and our
    process if there is one."""
    read_flags()
    found = [*_instance(), *_further()]
    found += _of_providers({each.url for each in found})
    if settings.GATEWAY_TOKEN:
        on = feature_flags.on("gateway_sdk")
        found.append(Endpoint(key="process", name="Our own gateway process", url="", enabled=on))
    return found


def _instance() -> list[Endpoint]:
    url, key = settings.LITELLM_ENDPOINT, settings.LITELLM_API_KEY
    name = "The instance's LiteLLM"
    return [Endpoint(key="instance", name=name, url=url, api_key=key)] if url else []


def _further() -> list[Endpoint]:
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


def _of_providers(others: set[str]) -> list[Endpoint]:
    """What operators set as one provider's endpoint, each address once."""
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


def routes() -> dict[str, list[Route]]:
    """The routes through each gateway, by its address, of the providers in use."""
    found: dict[str, list[Route]] = {}
    through = Route.objects.filter(
        method=Method.GATEWAY, provider__enabled=True, provider__removed_at=None
    )
    for route in through.select_related("provider").order_by("provider__name"):
        found.setdefault(route.endpoint, []).append(route)
    return found


def checks() -> dict[str, GatewayCheck]:
    """What each gateway said last, by its address."""
    return {check.endpoint: check for check in GatewayCheck.objects.all()}


async def check_all() -> None:
    """Asks every gateway in use, side by side, and forgets those that are none any more."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(endpoint: Endpoint) -> None:
        async with gate:
            await check(endpoint)

    found = await database.run(known)
    await database.run(_forget_others, [each.url for each in found])
    used = [each for each in found if each.enabled]
    results = await asyncio.gather(*(one(each) for each in used), return_exceptions=True)
    for endpoint, result in zip(used, results, strict=True):
        if isinstance(result, BaseException):
            log.error("gateway_check_failed gateway=%s", endpoint.key, exc_info=result)


async def check(endpoint: Endpoint) -> GatewayCheck:
    """Asks one gateway and keeps what it says."""
    return await database.run(keep, endpoint, await look(endpoint), timezone.now())


def keep(endpoint: Endpoint, seen: Look, now: datetime) -> GatewayCheck:
    """The newest word of a gateway, in place of the one before."""
    told = {
        "checked_at": now,
        "state": seen.state,
        "problem": _clean(seen.problem)[:300],
        "ms": seen.ms,
        "version": _clean(seen.version)[:LONGEST_VERSION],
        "serves": len(seen.models),
        "listed": [_clean(each) for each in seen.models[:LISTED]],
        "vendors": [_clean(each) for each in seen.vendors],
    }
    row, _ = GatewayCheck.objects.update_or_create(endpoint=endpoint.url, defaults=told)
    return row


def _clean(text: str) -> str:
    """PostgreSQL takes no NUL."""
    return text.replace("\0", "")


def _forget_others(urls: list[str]) -> None:
    GatewayCheck.objects.exclude(endpoint__in=urls).delete()


async def look(endpoint: Endpoint) -> Look:
    """Asks a gateway; never raises for what it answers."""
    began = time.monotonic()
    try:
        if endpoint.url:
            return await _proxy(endpoint, began)
        return await _process(began)
    except CallError as error:
        down = GatewayCheck.Liveness.DOWN
        return Look(ms=_ms(began), state=down, problem=error.message)


async def _proxy(endpoint: Endpoint, began: float) -> Look:
    target = Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=endpoint.url,
        api_key=endpoint.api_key,
        model="",
        timeouts=_TIMES,
    )
    models = await gateway.list_models(target)
    took = _ms(began)
    return Look(ms=took, version=await _version(target), models=tuple(m.model_id for m in models))


async def _version(target: Target) -> str:
    """As LiteLLM's readiness tells it to who shows a key, and older ones to all; else empty."""
    base = gateway.base_url(target).removesuffix("/v1")
    for path in ("/health/readiness/details", "/health/readiness"):
        with suppress(CallError):
            with redacted_errors(target):
                told = await _json(f"{base}{path}", direct.headers(target))
            if version := told.get("litellm_version"):
                return redact_line(str(version), secrets_of(target), LONGEST_VERSION)
    return ""


async def _process(began: float) -> Look:
    try:
        told = await _json(f"{settings.GATEWAY_URL}/healthz", {})
    except CallError as error:
        raise CallError(error.kind, f"The process does not answer: {error.message}") from error
    return Look(
        ms=_ms(began),
        state=_STATES.get(str(told.get("status")), GatewayCheck.Liveness.DOWN),
        problem=str(told.get("problem") or ""),
        version=str(told.get("version") or ""),
        vendors=tuple(str(each) for each in told.get("vendors") or ()),
    )


async def wait_for_process() -> None:
    """Waits while our own gateway process starts and loads LiteLLM; what is wrong with it shows in
    the call that follows."""
    began = time.monotonic()
    while settings.GATEWAY_TOKEN and time.monotonic() - began < LOAD_SECONDS:
        try:
            if (await _process(began)).state != GatewayCheck.Liveness.STARTING:
                return
        except CallError:
            if time.monotonic() - began > START_SECONDS:
                return
        await asyncio.sleep(LOOK_PAUSE)


async def _json(url: str, headers: dict[str, str]) -> Json:
    deadlines = Deadlines(_TIMES)
    async with http.HttpCall("GET", url, headers=headers, deadlines=deadlines) as response:
        await direct.refuse_failure(response, deadlines)
        told = await direct.read_json(response, deadlines)
    return told if isinstance(told, dict) else {}


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
