"""Speak to a provider's own API: OpenAI-compatible, or Anthropic Messages, over one exchange.

A stream ends well only with a finish reason. Closing the generator closes the socket.
"""

import json
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from providers import anthropic_wire, http, sse, wire
from providers.errors import CallError, ErrorKind, TruncatedError, classify, error_fields
from providers.http_errors import mapped_errors
from providers.types import (
    ChatRequest,
    ClientEvent,
    Finish,
    FoundModel,
    Json,
    Kind,
    Target,
    UsageReport,
)

LARGEST_BODY = 16 * 1024 * 1024  # bytes of a whole answer or a catalogue; OpenRouter's has 0.5 MB
LARGEST_EVENT = 4 * 1024 * 1024  # characters of one event
SHORTEST_SECRET = 4  # characters: a shorter one would hide ordinary words
ERROR_BODY_LIMIT = 64 * 1024  # bytes of an error answer that are read
TRAILER_SECONDS = 2.0  # how long usage may come after the finish reason
ANTHROPIC_VERSION = "2023-06-01"  # https://docs.anthropic.com/en/api/versioning

type Reader = Callable[[Json], Iterable[ClientEvent]]


async def stream(target: Target, request: ChatRequest) -> AsyncGenerator[ClientEvent]:
    """The events of one answer. Raises CallError; TruncatedError where no finish reason came."""
    base = target.base_url.rstrip("/")
    if target.kind == Kind.ANTHROPIC:
        url, body = f"{base}/messages", anthropic_wire.body(request, target.model)
        reader: Reader = anthropic_wire.Reader().events
    else:
        url, body = f"{base}/chat/completions", wire.body(request, target.model)
        reader = wire.events
    async with aclosing(exchange(target, url, body, reader)) as events:
        async for event in events:
            yield event


async def list_models(target: Target) -> list[FoundModel]:
    """The provider's catalogue, `GET /models`."""
    return await fetch_models(target, f"{target.base_url.rstrip('/')}/models")


async def fetch_models(target: Target, url: str) -> list[FoundModel]:
    """The catalogue at an address, with the target's key."""
    patience = http.Patience(target.timeouts)
    if target.kind == Kind.ANTHROPIC:
        url += "?limit=1000"
    with nothing_secret(target):
        async with http.opened("GET", url, headers=headers(target), patience=patience) as response:
            await refuse_failure(response, patience)
            return wire.found_models(await read_json(response, patience))


def headers(target: Target) -> dict[str, str]:
    """The call's headers: the protocol's key header, then the provider's extra ones, which win
    however they are spelled."""
    key = target.api_key.strip()  # a pasted key brings its line end with it
    sent = {"content-type": "application/json"}
    if target.kind == Kind.ANTHROPIC:
        sent |= {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
    elif key:
        sent["authorization"] = f"Bearer {key}"
    return sent | {str(name).lower(): str(value) for name, value in target.headers.items()}


@contextmanager
def nothing_secret(target: Target) -> Iterator[None]:
    """Takes the keys and header values out of an error's words: some upstreams repeat them."""
    upstream = target.upstream
    secrets = {target.api_key.strip(), *map(str, target.headers.values())}
    if upstream:
        secrets |= {upstream.api_key.strip(), *map(str, upstream.headers.values())}
    try:
        yield
    except CallError as error:
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                error.message = error.message.replace(secret, "[hidden]")
        error.args = (error.message,)
        raise


async def exchange(
    target: Target, url: str, body: dict[str, Any], reader: Reader
) -> AsyncGenerator[ClientEvent]:
    """Posts a body and reads the answer's events, under the target's patience."""
    patience = http.Patience(target.timeouts)
    with nothing_secret(target):
        async with http.opened(
            "POST", url, headers=headers(target), body=body, patience=patience
        ) as response:
            await refuse_failure(response, patience)
            async with aclosing(_finished(response, reader, patience)) as events:
                async for event in events:
                    yield event


async def _finished(
    response: http.Response, reader: Reader, patience: http.Patience
) -> AsyncGenerator[ClientEvent]:
    """The events of an answer that ends with a finish reason; TruncatedError where it does not."""
    async with aclosing(_payloads(response, patience)) as payloads:
        async for payload in payloads:
            for event in reader(payload):
                patience.ending = patience.ending or isinstance(event, Finish)
                _demand_content(event, patience)
                yield event
    if not patience.ending:
        raise TruncatedError


def _demand_content(event: ClientEvent, patience: http.Patience) -> None:
    """Notes that content has begun; an answer that finishes without any is none."""
    if isinstance(event, UsageReport):
        return
    if not isinstance(event, Finish):
        patience.begun = True
    elif not patience.begun:
        if event.reason == "content_filter":
            message = "The provider's content filter stopped the answer."
            raise CallError(ErrorKind.REQUEST, message, code="content_filter")
        raise CallError(ErrorKind.PROVIDER, "The answer was empty.", code="empty")


async def _payloads(response: http.Response, patience: http.Patience) -> AsyncGenerator[Json]:
    """The JSON payloads of the answer: one for each event, or the one of a whole body.

    What it is shows in its first character; the content type is often wrong.
    """
    parser, begun = sse.Parser(), False
    while chunk := await _next(response, patience):
        if not begun and (begun := bool(chunk.strip())) and chunk.lstrip()[:1] in b"{[<":
            yield _object(await patience.wait(_rest(chunk, response)))
            return
        for event in parser.feed(chunk):
            if event.data == "[DONE]":
                return
            if event.data:
                yield _object(event.data)
        if parser.waiting > LARGEST_EVENT:
            raise _not_json()
    for event in parser.end():
        if event.data and event.data != "[DONE]":
            yield _last(event.data)


def _last(text: str) -> Json:
    """What stood at the end of the file without an empty line after it may have been cut."""
    try:
        return _object(text)
    except CallError:
        raise TruncatedError from None


async def _next(response: http.Response, patience: http.Patience) -> bytes:
    """The next bytes; none at the end, and where nothing more comes after a finish reason."""
    at_most = TRAILER_SECONDS if patience.ending else None
    try:
        return await patience.wait(_read(response), at_most)
    except CallError:
        if patience.ending:
            return b""
        raise


async def _read(response: http.Response) -> bytes:
    with mapped_errors():
        return await response.content.readany()


async def read_json(response: http.Response, patience: http.Patience) -> Any:
    """The whole body as JSON. Raises CallError where it is none."""
    return _json(await patience.wait(_rest(b"", response)))


async def _rest(begun: bytes, response: http.Response) -> str:
    whole = bytearray(begun)
    while chunk := await _read(response):
        whole += chunk
        if len(whole) > LARGEST_BODY:
            raise _not_json()
    return whole.decode("utf-8", "replace")


def _object(text: str) -> Json:
    payload = _json(text)
    if not isinstance(payload, dict):
        raise _not_json()
    return payload


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        if is_html(text):
            raise CallError(ErrorKind.PROVIDER, HTML_SENTENCE, status=200, code="html") from exc
        raise _not_json() from exc


def _not_json() -> CallError:
    return CallError(ErrorKind.PROVIDER, "The answer was not the JSON it should be.", code="json")


HTML_SENTENCE = "A web page came back instead of an API's answer."


# Statuses that a proxy in between sends as a page and means; any other page is a wrong address.
_PAGES = frozenset({401, 402, 429, 503, 529})


def is_html(text: str) -> bool:
    return text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<head", "<body"))


async def refuse_failure(response: http.Response, patience: http.Patience) -> None:
    """Raises the CallError of an answer that is not a success; a redirect is none either."""
    if 200 <= response.status < 300:
        return
    text = await patience.wait(_limited(response))
    raise failure(response.status, response.headers, text)


def failure(status: int, headers: Mapping[str, str], text: str) -> CallError:
    """The CallError of a refused request, by its status, its body's code and its shape."""
    retry_after = seconds(
        headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
    )
    if is_html(text):
        kind = classify(status) if status in _PAGES else ErrorKind.PROVIDER
        return CallError(kind, HTML_SENTENCE, status=status, code="html", retry_after=retry_after)
    if 300 <= status < 400:
        message = "The address sends elsewhere (a redirect), which is not followed."
        return CallError(ErrorKind.REQUEST, message, status=status, code="redirect")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        code, words = "", text
    else:
        # Google wraps its error into a list of one.
        code, words = error_fields(parsed[0] if isinstance(parsed, list) and parsed else parsed)
    code = "" if code == str(status) else code
    kind = classify(status, code)
    return CallError(
        kind, wire.sentence(kind, words), status=status, code=code, retry_after=retry_after
    )


async def _limited(response: http.Response) -> str:
    """The beginning of an error's body; what breaks off while it is read is left out."""
    read = b""
    try:
        while len(read) < ERROR_BODY_LIMIT and (chunk := await _read(response)):
            read += chunk
    except CallError:
        pass
    return read[:ERROR_BODY_LIMIT].decode("utf-8", "replace")


def seconds(value: str) -> float | None:
    """Retry-After as seconds from now: a number, or an HTTP date (RFC 9110, section 10.2.3)."""
    try:
        number = float(value)
        return max(0.0, number) if math.isfinite(number) else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
