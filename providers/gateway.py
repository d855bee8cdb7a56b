"""Speak to a LiteLLM endpoint: a proxy somewhere, or our own gateway process beside us.

What is the gateway's own failure is a GatewayError, so that it counts against the gateway's route
alone; what the provider behind it said keeps its kind.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any

from providers import direct, http, wire
from providers.errors import CallError, ErrorKind, GatewayError
from providers.types import ChatRequest, ClientEvent, FoundModel, Json, Kind, Target, Upstream

# Failures on the way to the gateway, where it has not said a word yet.
_ON_THE_WAY = frozenset(
    {
        "connect_refused",
        "connect_timeout",
        "dns",
        "tls",
        "tls_certificate",
        "unreachable",
        "reset",
        "network",
    }
)
# What a LiteLLM proxy says of its own keys and setup. Without a database a wrong key is a 400.
_OWN_CODES = frozenset({"no_db_connection", "token_not_found_in_db", "auth_error"})


async def stream(target: Target, request: ChatRequest) -> AsyncGenerator[ClientEvent]:
    """The events of one answer through the gateway. Raises CallError, GatewayError among them."""
    body = wire.body(request, target.model)
    if target.upstream is not None:
        body |= {"model": target.upstream.litellm_model, "upstream": _upstream(target.upstream)}
    url = f"{base_url(target)}/chat/completions"
    async with aclosing(direct.exchange(target, url, body, _events)) as events:
        try:
            async for event in events:
                yield event
        except CallError as error:
            raise _own(error, target) from error


async def list_models(target: Target) -> list[FoundModel]:
    """What the gateway serves; our own process asks the provider behind it."""
    url = f"{base_url(target)}/models"
    try:
        if target.upstream is None:
            return await direct.fetch_models(target, url)
        return await _upstream_models(target, target.upstream, url)
    except CallError as error:
        raise _own(error, target) from error


async def _upstream_models(target: Target, upstream: Upstream, url: str) -> list[FoundModel]:
    patience = http.Patience(target.timeouts)
    body = {"upstream": _upstream(upstream)}
    async with http.opened(
        "POST", url, headers=direct.headers(target), body=body, patience=patience
    ) as response:
        await direct.refuse_failure(response, patience)
        payload = await direct.read_json(response, patience)
    if isinstance(payload, dict) and payload.get("error"):
        raise restored(payload["error"])
    return wire.found_models(payload)


def base_url(target: Target) -> str:
    """The endpoint with its `/v1`, which people leave out as often as not."""
    base = target.base_url.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"


def upstream_target(target: Target, fields: Json) -> Target:
    """In the gateway process: the provider that a request names, as a direct target."""
    kind = Kind.ANTHROPIC if fields["litellm_model"].startswith("anthropic/") else Kind.OPENAI
    return replace(
        target,
        kind=kind,
        base_url=fields["base_url"],
        api_key=fields["api_key"],
        headers=fields.get("headers") or {},
    )


def _upstream(upstream: Upstream) -> dict[str, Any]:
    return asdict(upstream)


class _Told(CallError):
    """What our gateway process told of the provider behind it: its kind is already right."""


def told(error: CallError) -> dict[str, Any]:
    """A CallError as our gateway process puts it into its answer."""
    return {
        "message": error.message,
        "type": error.kind.value,
        "kind": error.kind.value,
        "code": error.code,
        "status": error.status,
        "retry_after": error.retry_after,
    }


def restored(fields: Json) -> CallError:
    """The CallError that our gateway process told of."""
    if fields["kind"] == ErrorKind.GATEWAY:
        return GatewayError(fields["message"], status=fields["status"], code=fields["code"])
    return _Told(
        ErrorKind(fields["kind"]),
        fields["message"],
        status=fields["status"],
        code=fields["code"],
        retry_after=fields["retry_after"],
    )


def _events(chunk: Json) -> Iterable[ClientEvent]:
    error = chunk.get("error")
    if isinstance(error, dict) and "kind" in error:
        raise restored(error)
    return wire.events(chunk)


def _own(error: CallError, target: Target) -> CallError:
    """The same failure as the gateway's own, where it is."""
    if isinstance(error, GatewayError | _Told):
        return error
    if error.code in _ON_THE_WAY and error.status is None:
        where = "The LiteLLM endpoint" if target.upstream is None else "The gateway process"
        return GatewayError(f"{where} could not be reached: {error.message}", code=error.code)
    if error.code in _OWN_CODES or (target.upstream is not None and error.status == 401):
        message = "The gateway refused its own key."
        return GatewayError(message, status=error.status, code=error.code or "gateway_key")
    return error
