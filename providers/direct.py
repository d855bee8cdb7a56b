"""Speak to a provider's own API: OpenAI-compatible, or Anthropic Messages, over one exchange.

A stream ends well only with a finish reason. Closing the generator closes the socket.
"""

import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from providers import anthropic_wire, http, listing, sse, wire
from providers.errors import CallError, ErrorKind, TruncatedError, classify
from providers.http_errors import mapped_errors
from providers.protocols import finish
from providers.protocols.error_body import ErrorBody, read_error
from providers.redaction import redact_error, redacted_errors, secrets_of
from providers.types import (
    ChatRequest,
    ClientEvent,
    Finish,
    FoundModel,
    Json,
    Kind,
    LateError,
    Passed,
    Target,
    is_content,
)

LARGEST_BODY = 16 * 1024 * 1024  # bytes of a whole answer or a catalogue; OpenRouter's has 0.5 MB
LARGEST_EVENT = 4 * 1024 * 1024  # characters of one event
ERROR_BODY_LIMIT = 64 * 1024  # bytes of an error answer that are read
TRAILER_SECONDS = 2.0  # how long usage may come after the finish reason
LONGEST_WAIT = 30 * 24 * 3600.0  # seconds; no plan rests for longer than a month
ANTHROPIC_VERSION = "2023-06-01"  # https://docs.anthropic.com/en/api/versioning

_BOM = b"\xef\xbb\xbf"  # some servers begin their JSON with it
_AS_IT_IS = nullcontext()

type Reader = Callable[[Json, str], Iterable[ClientEvent]]


def stream(target: Target, request: ChatRequest) -> AsyncGenerator[list[ClientEvent]]:
    """The events of one answer, those of each read together.

    Raises CallError; TruncatedError where no finish reason came.
    """
    base = target.base_url.rstrip("/")
    if target.kind == Kind.ANTHROPIC:
        body = anthropic_wire.body(request, target.model)
        return exchange(target, f"{base}/messages", body, anthropic_wire.Reader().events)
    body = wire.body(request, target.model)
    return exchange(target, f"{base}/chat/completions", body, wire.Reader().events)


async def list_models(target: Target) -> list[FoundModel]:
    """The provider's catalogue, `GET /models`."""
    return await fetch_models(target, f"{target.base_url.rstrip('/')}/models")


async def fetch_models(target: Target, url: str) -> list[FoundModel]:
    """The catalogue at an address, with the target's key."""
    patience = http.Patience(target.timeouts)
    if target.kind == Kind.ANTHROPIC:
        url += "?limit=1000"
    with redacted_errors(target):
        async with http.opened("GET", url, headers=headers(target), patience=patience) as response:
            await refuse_failure(response, patience)
            return listing.found_models(await read_json(response, patience))


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


async def exchange(
    target: Target,
    url: str,
    body: dict[str, Any],
    reader: Reader,
    within: AbstractContextManager[None] = _AS_IT_IS,
) -> AsyncGenerator[list[ClientEvent]]:
    """Posts a body and reads the answer's events, under the target's patience.

    `within`: what is to be made of its errors.
    """
    patience = http.Patience(target.timeouts, whole=not body.get("stream"))
    answer = _Answer(reader, patience, target)
    with within, redacted_errors(target):
        async with http.opened(
            "POST", url, headers=headers(target), body=body, patience=patience
        ) as response:
            await refuse_failure(response, patience)
            while not answer.done:
                try:
                    chunk = await _next(response, patience)
                except CallError as error:
                    if found := answer.fail(error):
                        yield found
                    break
                if not chunk:
                    break
                if found := answer.feed(chunk):
                    yield found
            if found := answer.end():
                yield found
            if answer.error:
                raise answer.error


class _Answer:
    """An answer's bytes to its events, however they are cut: a stream's, or those of one JSON.

    What it is shows in its first character; the content type is often wrong. It ends well only with
    a finish reason; what is wrong after that is noted and spoils nothing. `error` is why it ends
    badly: what came before it is yielded before it.
    """

    def __init__(self, reader: Reader, patience: http.Patience, target: Target) -> None:
        self._target = target
        self._reader = reader
        self._patience = patience
        self._parser = sse.Parser()
        self._begun = False
        self._whole: bytearray | None = None
        self.done = False
        self.error: CallError | None = None

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        """The events that these bytes complete."""
        if not self._begun:
            chunk = chunk.removeprefix(_BOM)
        if not self._begun and (begins := chunk.lstrip()[:1]):
            self._begun = True
            self._whole = bytearray() if begins in b"{[<" else None
        if self._whole is None:
            return self._read_all(sent.data for sent in self._parser.feed(chunk))
        self._whole += chunk
        if len(self._whole) > LARGEST_BODY:
            return self.fail(_not_json())
        return []

    def end(self) -> list[ClientEvent]:
        """What is left once the bytes have ended; without a finish reason it was cut."""
        if self.error:
            return []
        if self._whole is not None:
            found = self._read_all([self._whole.decode("utf-8", "replace")])
        elif not self.done:
            found = self._read_all(sent.data for sent in self._parser.end())
            # What stood at the end without an empty line after it may have been cut.
            if self.error and self.error.code == "json":
                self.error = TruncatedError()
        else:
            found = []
        if not self._patience.ending and not self.error:
            self.error = TruncatedError()
        return found

    def _read_all(self, texts: Iterable[str]) -> list[ClientEvent]:
        found: list[ClientEvent] = []
        try:
            for text in texts:
                self._read(text, found)
                if self.done:
                    return found
            if self._parser.waiting > LARGEST_EVENT:
                raise _not_json()
        except CallError as error:
            found += self.fail(error)
        return found

    def fail(self, error: CallError) -> list[ClientEvent]:
        """Ends the answer: badly, or with a note where it had ended well already."""
        self.done = True
        if self._patience.ending:
            redact_error(error, secrets_of(self._target))
            message = f"After the answer had ended: {error.message}"
            return [LateError(code=error.code, message=message)]
        self.error = error
        return []

    def _read(self, text: str, found: list[ClientEvent]) -> None:
        if not text or text == "[DONE]":
            self.done = self.done or bool(text)
            return
        values = _values(text)
        line = text if len(values) == 1 and "\n" not in text else ""
        for value in values:
            if not isinstance(value, dict):
                raise _not_json()
            for event in self._reader(value, line):
                if isinstance(event, Finish):
                    self._end(event, found)
                elif is_content(event):
                    self._patience.begun = True
                    self._patience.content_at = time.monotonic()
                found.append(event)

    def _end(self, event: Finish, found: list[ClientEvent]) -> None:
        """The provider ended it. Raises CallError where its reason is a failure, and where nothing
        was said: only to be cut off at the token limit is an answer then, an honest one."""
        if error := finish.failure(event.native):
            raise error
        if not self._patience.begun:
            if event.reason != "length":
                raise _nothing(event.reason)
            self._patience.begun = True
            found.append(Passed(content=True))
        self._patience.ending = True


def _nothing(reason: str) -> CallError:
    if reason == "content_filter":
        message = "The provider's content filter stopped the answer."
        return CallError(ErrorKind.REQUEST, message, code="content_filter")
    return CallError(ErrorKind.PROVIDER, "The answer was empty.", code="empty")


async def _next(response: http.Response, patience: http.Patience) -> bytes:
    """The next bytes; none at the end, and where nothing more comes after a finish reason."""
    at_most = TRAILER_SECONDS if patience.ending else None
    try:
        if response.content.is_eof():  # all of it is here: nothing to wait for
            return await _read(response)
        return await patience.wait(_read(response), at_most)
    except CallError as error:
        if patience.ending and error.kind == ErrorKind.TIMEOUT:
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


def _json(text: str) -> Any:
    return _values(text)[0]


def _values(text: str) -> list[object]:
    """The JSON values of a text. Raises CallError."""
    try:
        return wire.payloads(text)
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
    if is_html(text):
        kind = classify(status) if status in _PAGES else ErrorKind.PROVIDER
        wait = asked_wait(headers, kind)
        return CallError(kind, HTML_SENTENCE, status=status, code="html", retry_after=wait)
    if 300 <= status < 400:
        message = "The address sends elsewhere (a redirect), which is not followed."
        return CallError(ErrorKind.REQUEST, message, status=status, code="redirect")
    return refusal(status, headers, read_error(text))


def refusal(status: int, headers: Mapping[str, str], said: ErrorBody) -> CallError:
    """The CallError of what an error body says."""
    code = "" if said.code == str(status) else said.code
    kind = classify(status, code)
    return CallError(
        kind,
        wire.sentence(kind, said.message),
        status=status,
        code=code,
        param=said.param,
        retry_after=asked_wait(headers, kind, said.message),
    )


def asked_wait(headers: Mapping[str, str], kind: ErrorKind, words: str = "") -> float | None:
    """For how many seconds the provider asks to be left alone, in a header or in its own words.

    OpenAI also tells milliseconds; a LiteLLM proxy puts a prefix before the name.
    """
    for prefix in ("", "llm_provider-"):
        if (found := seconds(headers.get(f"{prefix}retry-after-ms", ""))) is not None:
            return found / 1000
        if (found := seconds(headers.get(f"{prefix}retry-after", ""))) is not None:
            return found
    return wire.reset_after(words, datetime.now(UTC)) if kind == ErrorKind.QUOTA else None


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
        wait = float(value)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(0.0, wait), LONGEST_WAIT) if math.isfinite(wait) else None
