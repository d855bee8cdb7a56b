"""Look at a gateway itself: whether it answers, which version it is, which models it serves.

Over the same client and with the same words for failures as calls; nothing is stored, for a
gateway's health is that of the routes through it.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from providers import direct, gateway, http
from providers.errors import CallError
from providers.models import Gateway, Route
from providers.types import Kind, Method, Target, Timeouts

PATIENCE = 5.0  # seconds for each of its answers
_TIMES = Timeouts(connect=3.0, first_token=PATIENCE, silence=PATIENCE, total=PATIENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A gateway that providers may be reached through. `key` is where it has a page of its own.

    `url` is empty for our own gateway process.
    """

    key: str
    name: str
    url: str
    api_key: str = field(default="", repr=False)
    enabled: bool = True
    row: Gateway | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a gateway answered just now. `problem` is why it did not."""

    ms: int
    problem: str = ""
    version: str = ""
    models: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()


def known() -> list[Endpoint]:
    """Every gateway: the instance's own LiteLLM, further ones, our process if there is one."""
    found = []
    if settings.LITELLM_ENDPOINT:
        found.append(
            Endpoint(
                key="instance",
                name="The instance's LiteLLM",
                url=settings.LITELLM_ENDPOINT,
                api_key=settings.LITELLM_API_KEY,
            )
        )
    found += [
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
    if settings.GATEWAY_TOKEN:
        found.append(Endpoint(key="process", name="Our own gateway process", url=""))
    return found


def routes() -> dict[str, list[Route]]:
    """The routes through each gateway, by its address, of the providers in use."""
    found: dict[str, list[Route]] = {}
    through = Route.objects.filter(method=Method.GATEWAY, provider__enabled=True)
    for route in through.select_related("provider").order_by("provider__name"):
        found.setdefault(route.endpoint, []).append(route)
    return found


async def look(endpoint: Endpoint) -> Look:
    """Asks a gateway; never raises for what it answers."""
    began = time.monotonic()
    try:
        told = await (_proxy(endpoint) if endpoint.url else _process())
    except CallError as error:
        return Look(ms=_ms(began), problem=error.message)
    return Look(ms=_ms(began), **told)


async def _proxy(endpoint: Endpoint) -> dict[str, Any]:
    target = Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=endpoint.url,
        api_key=endpoint.api_key,
        model="",
        timeouts=_TIMES,
    )
    models = await gateway.list_models(target)
    return {"version": await _version(target), "models": tuple(m.model_id for m in models)}


async def _version(target: Target) -> str:
    """As LiteLLM's readiness tells it to who shows a key, and older ones to all; else empty."""
    base = gateway.base_url(target).removesuffix("/v1")
    for path in ("/health/readiness/details", "/health/readiness"):
        with suppress(CallError):
            told = await _json(f"{base}{path}", direct.headers(target))
            if version := told.get("litellm_version"):
                return str(version)
    return ""


async def _process() -> dict[str, Any]:
    told = await _json(f"{settings.GATEWAY_URL}/healthz", {})
    return {
        "problem": str(told.get("problem") or ""),
        "version": str(told.get("version") or ""),
        "vendors": tuple(told.get("vendors") or ()),
    }


async def _json(url: str, headers: dict[str, str]) -> dict[str, Any]:
    patience = http.Patience(_TIMES)
    async with http.opened("GET", url, headers=headers, patience=patience) as response:
        await direct.refuse_failure(response, patience)
        told = await direct.read_json(response, patience)
    return told if isinstance(told, dict) else {}


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
