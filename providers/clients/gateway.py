"""Speak to a LiteLLM endpoint: a proxy somewhere, or our own gateway process beside us.

What is the gateway's own failure is a GatewayError, so that it counts against the gateway's route
alone; what the provider behind it said keeps its kind.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, replace
from typing import Any

from providers.clients import direct, http
from providers.clients.answer_reader import Reader
from providers.clients.deadlines import Deadlines
from providers.domain import errors
from providers.domain.errors import CallError, ErrorKind, GatewayError
from providers.domain.redaction import redacted_errors
from providers.domain.types import ChatRequest, ClientEvent, Json, Kind, Target, Upstream
from providers.protocols import anthropic_messages, model_list, openai_chat

# Failures of the connection to the gateway itself: before it said a word, and in the middle.
_NOT_REACHED = frozenset(
    {
        *("connect_refused", "connect_timeout", "dns", "tls", "tls_certificate", "unreachable"),
        *("reset", "network"),
    }
)
_BROKE_OFF = frozenset({"cut", "headers_timeout"})
# Seconds in which our own process sends its headers, for it does so before it calls the provider:
# one that is stopped or stuck is left for the other route long before the first token is due.
OWN_HEADERS = 2.0
# Seconds in which our own process begins to listen after its start, and the pause between two
# calls meanwhile. Where no other route can answer, a call waits so long.
START_SECONDS = 10.0
START_PAUSE = 0.2
# A proxy marks what it passes on from a provider with this; what lacks it is the proxy's own word.
_PASSED_ON = "litellm."
# LiteLLM's class names before a provider's sentence, and its remark on its own fallbacks after it.
_WRAPPING = re.compile(
    r"^(?:(?:litellm\.)?\w+: )+(?:\w+Exception - )?| ?LiteLLM: model group .*$", re.S
)
# A class that says what the provider's code did, which the proxy leaves out.
_BY_CLASS = {"litellm.ContextWindowExceededError": "context_length_exceeded"}
# Statuses by which a proxy speaks of its own key, address or state. Without a database a wrong key
# is a 400 of the type no_db_connection.
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
        target = _watched(target)
    url = f"{base_url(target)}/chat/completions"

    def call() -> AsyncGenerator[list[ClientEvent]]:
        openai = openai_chat.Reader(splits=target.splits_reasoning)
        reader = openai.events if target.upstream is None else _reader(openai)
        return direct.exchange(target, url, body, reader, sorted_errors(target))

    waits = target.upstream is not None and target.timeouts.start > 0
    return _when_listening(call, min(START_SECONDS, target.timeouts.start)) if waits else call()


async def _when_listening(
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
    with sorted_errors(target):
        if target.upstream is None:
            return await direct.fetch_models(target, url)
        return await _upstream_models(_watched(target), target.upstream, url)


async def _upstream_models(target: Target, upstream: Upstream, url: str) -> model_list.ModelList:
    if not upstream.has_list:
        raise CallError(
            ErrorKind.REQUEST, "LiteLLM lists no models of this vendor.", code="no_list", sent=False
        )
    deadlines = Deadlines(target.timeouts)
    body = {"upstream": asdict(upstream)}
    with redacted_errors(target):
        async with http.HttpCall(
            "POST", url, headers=direct.headers(target), body=body, deadlines=deadlines
        ) as response:
            await direct.refuse_failure(response, deadlines)
            payload = await direct.read_json(response, deadlines)
        if isinstance(payload, dict) and payload.get("error"):
            raise restored(payload["error"])
        return model_list.found_models(payload)


def _watched(target: Target) -> Target:
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


# What our process says of a request that it sent twice: its only field.
RESENT = "resent_on_a_new_connection"


class _Told(CallError):
    """What our gateway process told of the provider behind it: its kind is already right."""


def told(error: CallError) -> dict[str, Any]:
    """A CallError as our gateway process puts it into its answer."""
    return {"type": error.kind.value, **errors.told(error)}


def restored(fields: Json) -> CallError:
    """The CallError that our gateway process told of."""
    if fields["kind"] == ErrorKind.GATEWAY:
        return GatewayError(fields["message"], status=fields["status"], code=fields["code"])
    return errors.restored(fields, _Told)


def _reader(openai: openai_chat.Reader) -> Reader:
    """Reads what our gateway process passes on as it received it, and the failures it reports."""
    anthropic = anthropic_messages.Reader()

    def events(chunk: Json, line: str = "") -> Iterable[ClientEvent]:
        error = chunk.get("error")
        if isinstance(error, dict) and error.keys() >= _REPORTED:
            raise restored(error)
        if chunk.get(RESENT) is True:
            return [direct.resent_on_new_connection()]
        reader = openai if "choices" in chunk or "type" not in chunk else anthropic
        try:
            return list(reader.events(chunk, line))
        except CallError as exc:
            # Whatever its status, it is the provider's.
            raise errors.restored(errors.told(exc), _Told) from exc

    return events


@contextmanager
def sorted_errors(target: Target) -> Iterator[None]:
    """Every failure as the gateway's own or the provider's behind it."""
    try:
        yield
    except CallError as error:
        told = _own(error, target) or _passed_on(error)
        if told is None:
            raise
        raise told from error


def _own(error: CallError, target: Target) -> GatewayError | None:
    """The same failure as the gateway's own, where it is."""
    if isinstance(error, GatewayError | _Told) or error.message.startswith(_PASSED_ON):
        return None
    if error.status is None and error.code in _NOT_REACHED | _BROKE_OFF:
        where = "The LiteLLM endpoint" if target.upstream is None else "The gateway process"
        problem = "could not be reached" if error.code in _NOT_REACHED else "failed"
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


def _passed_on(error: CallError) -> CallError | None:
    """A provider's failure without LiteLLM's words around it."""
    if not error.message.startswith(_PASSED_ON):
        return None
    plain = _WRAPPING.sub("", error.message)
    if error.status == 500 and plain == "Connection error.":
        message = "The gateway could not reach the provider."
        return CallError(ErrorKind.NETWORK, message, status=500, code="upstream_unreachable")
    return CallError(
        error.kind,
        plain or openai_chat.sentence(error.kind, ""),
        status=error.status,
        code=_BY_CLASS.get(error.message.partition(":")[0], error.code),
        retry_after=error.retry_after,
    )
