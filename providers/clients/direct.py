"""Speak to a provider's own API: OpenAI-compatible, or Anthropic Messages, over one exchange.

A stream ends well only with a finish reason. Closing the generator closes the socket.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from providers.clients import http
from providers.clients.answer_reader import (
    HTML_MESSAGE,
    AnswerReader,
    ReadPayload,
    is_html,
    json_values,
)
from providers.clients.deadlines import Deadlines
from providers.clients.http_errors import mapped_errors
from providers.domain.errors import CallError, ErrorKind, classify
from providers.domain.native_body import BodyFormat, NativeBody
from providers.domain.redaction import redacted_errors
from providers.domain.sealed import is_sealed
from providers.domain.types import (
    STALE_CONNECTION,
    ChatRequest,
    ClientEvent,
    Kind,
    Resent,
    Target,
    is_native,
)
from providers.protocols import anthropic_messages, model_list, openai_chat, responses_reader
from providers.protocols.error_body import ErrorBody, read_error
from providers.protocols.framing import LARGEST_BODY, not_json
from providers.protocols.retry_after import stated_wait

ERROR_BODY_LIMIT = 64 * 1024  # bytes of an error answer that are read
TRAILER_SECONDS = 2.0  # how long usage may come after the finish reason
ANTHROPIC_VERSION = "2023-06-01"  # https://docs.anthropic.com/en/api/versioning

_UNCHANGED = nullcontext()
NO_HEADERS: Mapping[str, str] = {}


def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[ClientEvent]]:
    """The events of one answer, those of each read together.

    Raises CallError; TruncatedError where no finish reason came.
    """
    base = target.base_url.rstrip("/")
    native = request.native if is_native(target, request) else None
    if native:
        return _stream_native(target, native, base, stream=not request.non_streaming)
    if target.kind == Kind.ANTHROPIC:
        body = anthropic_messages.body(request, target.model)
        messages = anthropic_messages.MessageReader()
        return stream_request(target, f"{base}/messages", body, messages.events)
    body = openai_chat.body(request, target.model)
    reader = openai_chat.ChunkReader(splits=target.splits_reasoning)
    return stream_request(target, f"{base}/chat/completions", body, reader.events)


def _stream_native(
    target: Target, native: NativeBody, base: str, *, stream: bool
) -> AsyncGenerator[list[ClientEvent]]:
    """The request as it came, in the format in which it came."""
    body = {**native.fields, "model": target.model, "stream": stream}
    if native.format == BodyFormat.RESPONSES:
        read = responses_reader.ResponseReader().events
    else:
        read = anthropic_messages.MessageReader(passes=True).events
    url = f"{base}/{native.format.value}"
    return stream_request(target, url, body, read, extra_headers=native.headers)


async def list_models(target: Target) -> model_list.ModelList:
    """The provider's catalogue, `GET /models`."""
    return await fetch_models(target, f"{target.base_url.rstrip('/')}/models")


async def fetch_models(target: Target, url: str) -> model_list.ModelList:
    """The catalogue at an address, with the target's key."""
    deadlines = Deadlines(target.timeouts)
    if target.kind == Kind.ANTHROPIC:
        url += "?limit=1000"
    with redacted_errors(target):
        async with http.HttpCall(
            "GET", url, headers=request_headers(target), deadlines=deadlines
        ) as response:
            await raise_for_status(response, deadlines)
            return model_list.read_model_list(await read_json(response, deadlines))


def request_headers(target: Target) -> dict[str, str]:
    """The call's headers: the protocol's key header, then the provider's extra ones, which win
    however they are spelled. Raises CallError where a secret of the call cannot be read.

    Every call passes here, so that none goes out without the key that it should have.
    """
    require_readable(target)
    key = target.api_key.strip()  # a pasted key brings its line end with it
    sent = {"content-type": "application/json"}
    if target.kind == Kind.ANTHROPIC:
        sent |= {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
    elif key:
        sent["authorization"] = f"Bearer {key}"
    return sent | {str(name).lower(): str(value) for name, value in target.headers.items()}


def require_readable(target: Target) -> None:
    """Raises CallError where a stored secret that the call needs cannot be decrypted."""
    upstream = target.upstream
    secrets = [target.api_key, target.headers]
    secrets += [upstream.api_key, upstream.headers] if upstream else []
    if any(map(is_sealed, secrets)):
        raise CallError(
            ErrorKind.UNREADABLE,
            "The stored key or header cannot be decrypted, so nothing was sent.",
            code="key_unreadable",
            sent=False,
        )


async def stream_request(
    target: Target,
    url: str,
    body: dict[str, Any],
    read_payload: ReadPayload,
    error_context: AbstractContextManager[None] = _UNCHANGED,
    extra_headers: Mapping[str, str] = NO_HEADERS,
) -> AsyncGenerator[list[ClientEvent]]:
    """Post a body and read the answer's events, under the target's deadlines.

    `error_context` is entered around the call, to change its errors. The target's own headers win
    over `extra_headers`.
    """
    deadlines = Deadlines(target.timeouts, whole=not body.get("stream"))
    answer = AnswerReader(read_payload, deadlines, target)
    headers = {**extra_headers, **request_headers(target)}
    call = http.HttpCall("POST", url, headers=headers, body=body, deadlines=deadlines)
    reported = False
    with error_context, redacted_errors(target):
        try:
            async with call as response:
                if call.died_at:
                    reported = True
                    yield [resent(call)]
                await raise_for_status(response, deadlines)
                while not answer.done and (chunk := await _read_next(response, deadlines, answer)):
                    if events := answer.feed(chunk):
                        yield events
                if events := answer.end():
                    yield events
                if answer.error:
                    raise answer.error
        except CallError:
            if call.died_at and not reported:
                yield [resent(call)]
            raise


def resent(call: http.HttpCall) -> Resent:
    """The event of a call that was sent again."""
    return resent_on_new_connection(time.monotonic() - call.died_at)


def resent_on_new_connection(seconds_ago: float = 0.0) -> Resent:
    """The event of a request whose kept connection had been closed by the server."""
    message = "The server had closed the kept connection; the request was resent."
    error = CallError(ErrorKind.NETWORK, message, code=STALE_CONNECTION)
    reason = "sent again on a new connection"
    return Resent(error=error, reason=reason, seconds_ago=seconds_ago)


async def _read_next(response: http.Response, deadlines: Deadlines, answer: AnswerReader) -> bytes:
    """The next bytes; none at the end, where they break off, and where nothing more comes after a
    finish reason."""
    at_most = TRAILER_SECONDS if deadlines.ending else None
    try:
        if response.content.is_eof():  # all of it is here: nothing to wait for
            return await read_chunk(response)
        return await deadlines.wait(read_chunk(response), at_most)
    except CallError as error:
        if not deadlines.ending or error.kind != ErrorKind.TIMEOUT:
            answer.fail(error)
        return b""


async def read_chunk(response: http.Response) -> bytes:
    """The next bytes of a body; none at its end. Raises CallError."""
    with mapped_errors():
        return await response.content.readany()


async def read_json(response: http.Response, deadlines: Deadlines) -> Any:
    """The whole body as JSON. Raises CallError where it is none."""
    return json_values(await deadlines.wait(_read_body(b"", response)))[0]


async def _read_body(begun: bytes, response: http.Response) -> str:
    body = bytearray(begun)
    while chunk := await read_chunk(response):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise not_json()
    return body.decode("utf-8", "replace")


# Statuses that a proxy in between sends as a page and means; any other page is a wrong address.
_PAGES = frozenset({401, 402, 429, 503, 529})


async def raise_for_status(response: http.Response, deadlines: Deadlines) -> None:
    """Raises the CallError of an answer that is not a success; a redirect is none either."""
    if 200 <= response.status < 300:
        return
    text = await deadlines.wait(_read_error_body(response))
    raise error_of_response(response.status, response.headers, text)


def error_of_response(status: int, headers: Mapping[str, str], text: str) -> CallError:
    """The CallError of a refused request, by its status, its body's code and its shape."""
    if is_html(text):
        kind = classify(status) if status in _PAGES else ErrorKind.PROVIDER
        wait = stated_wait(headers, kind, "", datetime.now(UTC))
        return CallError(kind, HTML_MESSAGE, status=status, code="html", retry_after=wait)
    if 300 <= status < 400:
        message = "The address sends elsewhere (a redirect), which is not followed."
        return CallError(ErrorKind.REQUEST, message, status=status, code="redirect")
    return error_of_body(status, headers, read_error(text))


def error_of_body(status: int, headers: Mapping[str, str], error: ErrorBody) -> CallError:
    """The CallError of what an error body says."""
    code = "" if error.code == str(status) else error.code
    kind = classify(status, code)
    return CallError(
        kind,
        openai_chat.error_message(kind, error.message),
        status=status,
        code=code,
        param=error.param,
        per_model=error.per_model,
        retry_after=stated_wait(headers, kind, error.message, datetime.now(UTC)),
    )


async def _read_error_body(response: http.Response) -> str:
    """The beginning of an error's body; what breaks off while it is read is left out."""
    read = b""
    try:
        while len(read) < ERROR_BODY_LIMIT and (chunk := await read_chunk(response)):
            read += chunk
    except CallError:
        pass
    return read[:ERROR_BODY_LIMIT].decode("utf-8", "replace")
