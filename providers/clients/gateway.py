"""Speak to a LiteLLM endpoint: a proxy somewhere, or the gateway process beside us.

The gateway's own failures are GatewayErrors, so that they count against the gateway's route alone;
those of the provider behind it keep their kind.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, replace
from typing import Any

from providers.clients import direct, http
from providers.clients.answer_reader import ReadPayload
from providers.clients.deadlines import Deadlines
from providers.domain import errors
from providers.domain.errors import CallError, ErrorKind, GatewayError
from providers.domain.redaction import redacted_errors
from providers.domain.types import ChatRequest, ClientEvent, Json, Kind, Target, Upstream
from providers.protocols import anthropic_messages, model_list, openai_chat

# Failures of the connection to the gateway itself: before its first byte, and in the middle.
_NOT_CONNECTED = frozenset(
    {
        *("connect_refused", "connect_timeout", "dns", "tls", "tls_certificate", "unreachable"),
        *("reset", "network"),
    }
)
_BROKE_OFF = frozenset({"cut", "headers_timeout"})
# Seconds in which our own process sends its headers, for it does so before it calls the provider:
# where it is stopped or stuck, the other route is tried long before the first token is due.
OWN_HEADERS = 2.0
# Seconds in which our own process begins to listen after its start, and the pause between two
# calls meanwhile. Where no other route can answer, a call waits so long.
START_SECONDS = 10.0
START_PAUSE = 0.2
# A proxy puts this before the errors that it passes on from a provider.
_PASSED_ON_PREFIX = "litellm."
# LiteLLM's class names before a provider's sentence, and its remark on its own fallbacks after it.
_LITELLM_WORDS = re.compile(
    r"^(?:(?:litellm\.)?\w+: )+(?:\w+Exception - )?| ?LiteLLM: model group .*$", re.S
)
# Classes that imply the provider's code, which the proxy omits.
_BY_CLASS = {"litellm.ContextWindowExceededError": "context_length_exceeded"}
# Statuses that concern the proxy's own key, address or state. Without a database a wrong key is a
# 400 of the type no_db_connection.
_OWN_STATUSES = frozenset({401, 403, 404, 405, 407})
_OWN_CODES = frozenset({"no_db_connection", "token_not_found_in_db", "auth_error"})


def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[ClientEvent]]:
    """The events of one answer through the gateway, those of each read together.

    Raises CallError, GatewayError among them.
    """
    body = openai_chat.body(request, target.model)
    if target.upstream is not None:
        body |= {"model": target.upstream.litellm_model, "upstream": asdict(target.upstream)}
        body |= {"load_wait": target.timeouts.start}
        target = _with_header_deadline(target)
    url = f"{base_url(target)}/chat/completions"

    def call() -> AsyncGenerator[list[ClientEvent]]:
        openai = openai_chat.ChunkReader(splits=target.splits_reasoning)
        reader = openai.events if target.upstream is None else _make_reader(openai)
        return direct.stream_request(target, url, body, reader, attributed_errors(target))

    waits = target.upstream is not None and target.timeouts.start > 0
    return (
        _call_when_listening(call, min(START_SECONDS, target.timeouts.start)) if waits else call()
    )


async def _call_when_listening(
    call: Callable[[], AsyncGenerator[list[ClientEvent]]], seconds: float
) -> AsyncGenerator[list[ClientEvent]]:
    """Calls again while the connection is refused, for so long."""
    until = time.monotonic() + seconds
    while True:
        try:
            async with aclosing(call()) as reads:
                async for events in reads:
                    yield events
            return
        except GatewayError as error:
            if error.code != "connect_refused" or time.monotonic() >= until:
                raise
        await asyncio.sleep(START_PAUSE)


async def list_models(target: Target) -> model_list.ModelList:
    """What the gateway serves; our own process asks the provider behind it."""
    url = f"{base_url(target)}/models"
    with attributed_errors(target):
        if target.upstream is None:
            return await direct.fetch_models(target, url)
        return await _list_upstream_models(_with_header_deadline(target), target.upstream, url)


async def _list_upstream_models(
    target: Target, upstream: Upstream, url: str
) -> model_list.ModelList:
    if not upstream.has_list:
        raise CallError(
            ErrorKind.REQUEST, "LiteLLM lists no models of this vendor.", code="no_list", sent=False
        )
    deadlines = Deadlines(target.timeouts)
    body = {"upstream": asdict(upstream)}
    with redacted_errors(target):
        async with http.HttpCall(
            "POST", url, headers=direct.request_headers(target), body=body, deadlines=deadlines
        ) as response:
            await direct.raise_for_status(response, deadlines)
            payload = await direct.read_json(response, deadlines)
        if isinstance(payload, dict) and payload.get("error"):
            raise restore_error(payload["error"])
        return model_list.read_model_list(payload)


def _with_header_deadline(target: Target) -> Target:
    limit = START_SECONDS if target.timeouts.start else OWN_HEADERS
    return replace(target, timeouts=replace(target.timeouts, headers=limit))


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


# The fields by which a failure that our process reports is known from an error of a provider.
_REPORTED = frozenset({"kind", "message", "status", "code", "retry_after"})


# The only field of the event by which our process reports that it sent the request twice.
RESENT = "resent_on_a_new_connection"


class _ReportedError(CallError):
    """An error that the gateway process reported of its provider: its kind is already right."""


def serialize_error(error: CallError) -> dict[str, Any]:
    """The JSON of a CallError in an answer of the gateway process."""
    return {"type": error.kind.value, **errors.serialize(error)}


def restore_error(fields: Json) -> CallError:
    """The CallError that the gateway process reported."""
    if fields["kind"] == ErrorKind.GATEWAY:
        return GatewayError(fields["message"], status=fields["status"], code=fields["code"])
    return errors.deserialize(fields, _ReportedError)


def _make_reader(openai: openai_chat.ChunkReader) -> ReadPayload:
    """Reads what the gateway process passes on as it received it, and the failures it reports."""
    anthropic = anthropic_messages.MessageReader()

    def events(chunk: Json, line: str = "") -> Iterable[ClientEvent]:
        error = chunk.get("error")
        if isinstance(error, dict) and error.keys() >= _REPORTED:
            raise restore_error(error)
        if chunk.get(RESENT) is True:
            return [direct.resent_on_new_connection()]
        reader = openai if "choices" in chunk or "type" not in chunk else anthropic
        try:
            return list(reader.events(chunk, line))
        except CallError as exc:
            # Whatever its status, it is the provider's.
            raise errors.deserialize(errors.serialize(exc), _ReportedError) from exc

    return events


@contextmanager
def attributed_errors(target: Target) -> Iterator[None]:
    """Attributes each failure to the gateway itself or to the provider behind it."""
    try:
        yield
    except CallError as error:
        attributed = _as_gateway_error(error, target) or _as_provider_error(error)
        if attributed is None:
            raise
        raise attributed from error


def _as_gateway_error(error: CallError, target: Target) -> GatewayError | None:
    """The failure as the gateway's own; None where it is the provider's."""
    if isinstance(error, GatewayError | _ReportedError) or error.message.startswith(
        _PASSED_ON_PREFIX
    ):
        return None
    if error.status is None and error.code in _NOT_CONNECTED | _BROKE_OFF:
        where = "The LiteLLM endpoint" if target.upstream is None else "The gateway process"
        problem = "could not be reached" if error.code in _NOT_CONNECTED else "failed"
        return GatewayError(f"{where} {problem}: {error.message}", code=error.code)
    status = error.status or 0
    if error.code in _OWN_CODES or status in (401, 403, 407):
        message = "The gateway refused its own key."
        return GatewayError(message, status=status, code=error.code or "gateway_key")
    if status == 400 and "Invalid model name" in error.message:
        # Not the request's fault: the direct route may know the model.
        message = "The gateway does not serve this model."
        return GatewayError(message, status=404, code="model_not_found")
    page = error.code == "html" and target.upstream is None  # ours passes on what it received
    if status in _OWN_STATUSES or status >= 500 or page:
        return GatewayError(f"The gateway failed: {error.message}", status=status, code=error.code)
    return None


def _as_provider_error(error: CallError) -> CallError | None:
    """A provider's failure without LiteLLM's wording; None where there is none."""
    if not error.message.startswith(_PASSED_ON_PREFIX):
        return None
    plain = _LITELLM_WORDS.sub("", error.message)
    if error.status == 500 and plain == "Connection error.":
        message = "The gateway could not reach the provider."
        return CallError(ErrorKind.NETWORK, message, status=500, code="upstream_unreachable")
    return CallError(
        error.kind,
        plain or openai_chat.error_message(error.kind, ""),
        status=error.status,
        code=_BY_CLASS.get(error.message.partition(":")[0], error.code),
        retry_after=error.retry_after,
    )
