"""Read answers that are passed through, until they have ended well or badly. No I/O.

A JSON answer counts once it is complete. Events count until `[DONE]`, a finish reason or an event
whose type says that it is the last. Bytes count until the connection ends them. An error inside an
answer is a failure, and nothing of it is passed on.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from providers.domain.errors import CallError, ErrorKind, TruncatedError
from providers.domain.types import ClientEvent, Json, Passed, UsageReport
from providers.protocols import sse
from providers.protocols.endpoint_kinds import EndpointKind
from providers.protocols.error_body import is_error
from providers.protocols.framing import Framing
from providers.protocols.openai_chat import in_band_error
from providers.protocols.passed_usage import LARGEST_PARSED, reported_usage, usage_at_the_end
from providers.protocols.usage import find_usage

JSON = "application/json"
_LAST_EVENTS = (".done", ".completed")  # transcript.text.done, image_generation.completed


class AnswerForm(Protocol):
    """Takes an answer's bytes. `done`: nothing more is expected."""

    done: bool

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        """The events that these bytes complete. Raises CallError."""

    def end(self) -> list[ClientEvent]:
        """What is left once the bytes have ended. Raises CallError; TruncatedError where it was
        cut."""


def choose_form(endpoint: EndpointKind, content_type: str, *, non_streaming: bool) -> AnswerForm:
    """How an answer with this content type is read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return EventAnswer(content_type)
    if endpoint.is_binary and kind != JSON:
        return BinaryAnswer(content_type)
    if non_streaming or kind != JSON:
        return FullAnswer(content_type or JSON, endpoint.largest_answer)
    return EventAnswer("text/event-stream")  # one JSON where events were requested


class BinaryAnswer:
    """Bytes, passed on as they come."""

    def __init__(self, content_type: str) -> None:
        self.done = False
        self._content_type = content_type or "application/octet-stream"
        self._is_empty = True

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        self._is_empty = False
        return [Passed(is_content=True, data=chunk, content_type=self._content_type)]

    def end(self) -> list[ClientEvent]:
        if self._is_empty:
            raise _empty_error()
        return []


class FullAnswer:
    """One body, JSON or text, held until it is complete."""

    def __init__(self, content_type: str, largest: int) -> None:
        self.done = False
        self._content_type = content_type
        self._largest = largest
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        self._body += chunk
        if len(self._body) > self._largest:
            message = f"The answer is larger than {self._largest // 2**20} MB."
            raise CallError(ErrorKind.PROVIDER, message, code="answer_too_large")
        return []

    def end(self) -> list[ClientEvent]:
        body = bytes(self._body)
        if not body.strip():
            raise _empty_error()
        answer, usage = None, None
        if self._content_type.startswith(JSON):
            answer, usage = _read_json(body)
        events: list[ClientEvent] = [UsageReport(usage=usage)] if usage else []
        characters = characters_in(answer) if answer else 0
        passed = Passed(
            is_content=True, data=body, content_type=self._content_type, characters=characters
        )
        return [*events, passed]


def _read_json(body: bytes) -> tuple[Json | None, Any]:
    """The answer, where it is small enough to be parsed, and its usage."""
    if len(body) > LARGEST_PARSED:
        if not body.rstrip().endswith((b"}", b"]")):
            raise TruncatedError
        return None, usage_at_the_end(body)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise TruncatedError("The answer is no complete JSON.") from None
    if not isinstance(answer, dict):
        return None, None
    _raise_error_in(answer)
    return answer, reported_usage(answer)


class EventAnswer:
    """Server-sent events, each passed on with its data as it came."""

    def __init__(self, content_type: str) -> None:
        self.done = False
        self._content_type = content_type
        self._framing = Framing()
        self._has_ended = False
        self._begun: set[object] = set()  # indexes of choices
        self._finished: set[object] = set()
        self._has_content = False

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        events = self._read_all(self._framing.feed(chunk))
        self._framing.check()
        return events

    def end(self) -> list[ClientEvent]:
        events = [] if self.done else self._read_all(self._framing.end())
        if not self._has_ended or (self._begun - self._finished and not self.done):
            raise TruncatedError
        if not self._has_content:
            raise _empty_error()
        return events

    def _read_all(self, texts: list[str]) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        for text in texts:
            if text == "[DONE]":
                self.done = self._has_ended = True
                break
            events += self._read(text)
        return events

    def _read(self, text: str) -> list[ClientEvent]:
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            raise TruncatedError("An event of the answer is no complete JSON.") from None
        events: list[ClientEvent] = []
        characters = 0
        if isinstance(payload, dict):
            _raise_error_in(payload)
            usage = reported_usage(payload)
            if usage:
                events.append(UsageReport(usage=usage, reported=find_usage(payload)))
            self._note_end(payload)
            characters = characters_in(payload)
        self._has_content = True
        passed = Passed(
            is_content=True,
            data=sse.encode(text),
            content_type=self._content_type,
            characters=characters,
        )
        return [*events, passed]

    def _note_end(self, payload: Json) -> None:
        """Note whether an event is the last, or that of one choice among several."""
        kind = payload.get("type")
        if isinstance(kind, str) and kind.endswith(_LAST_EVENTS):
            self._has_ended = True
        for choice in _choices(payload):
            index = choice.get("index") if isinstance(choice.get("index"), int) else 0
            self._begun.add(index)
            if choice.get("finish_reason"):
                self._finished.add(index)
                self._has_ended = True


def _choices(payload: Json) -> list[Json]:
    choices = payload.get("choices")
    if not isinstance(choices, list):
        return []
    return [choice for choice in choices if isinstance(choice, Mapping)]


def characters_in(payload: Json) -> int:
    """Characters of the text that the model wrote: of a text completion, where they are counted."""
    texts = (choice.get("text") for choice in _choices(payload))
    return sum(len(text) for text in texts if isinstance(text, str))


def _raise_error_in(payload: Json) -> None:
    if is_error(payload):
        raise in_band_error(payload)


def _empty_error() -> CallError:
    return CallError(ErrorKind.PROVIDER, "The answer was empty.", code="empty")
