"""Read one answer: its bytes to events, whatever its form, until it has ended well or badly.

It ends well only with a finish reason, and what is wrong after that spoils nothing.
"""

from collections.abc import Callable, Iterable

from providers.clients.deadlines import Deadlines
from providers.domain.errors import CallError, ErrorKind, TruncatedError
from providers.domain.redaction import redact_error, secrets_of
from providers.domain.types import ClientEvent, Finish, Json, LateError, Passed, Target
from providers.protocols import finish, openai_chat
from providers.protocols.framing import Framing, not_json
from providers.protocols.joined_chunks import ChunkJoiner

type ReadPayload = Callable[[Json, str], Iterable[ClientEvent]]


class AnswerReader:
    """Takes an answer's bytes. `error` is why it ends badly: what came before it is given first."""

    def __init__(self, reader: ReadPayload, deadlines: Deadlines, target: Target) -> None:
        self._read_payload = reader
        self._deadlines = deadlines
        self._target = target
        self._framing = Framing()
        self._joiner = ChunkJoiner()
        self.done = False
        self.error: CallError | None = None
        self._notes: list[ClientEvent] = []

    def feed(self, chunk: bytes) -> list[ClientEvent]:
        """The events that these bytes complete."""
        events = self._read_all(self._framing.feed(chunk))
        if not self.done:
            try:
                self._framing.check()
            except CallError as error:
                self.fail(error)
        return events

    def end(self) -> list[ClientEvent]:
        """What is left once the bytes have ended; without a finish reason it was cut."""
        if self.error:
            return []
        events: list[ClientEvent] = []
        if not self.done:
            events = self._read_all(self._framing.end())
            # What came at the end without an empty line after it may have been cut.
            if self.error and self.error.code == "json" and self._framing.is_stream:
                self.error = TruncatedError()
        if not self._deadlines.ending and not self.error:
            self.error = TruncatedError()
        return events + self._notes

    def fail(self, error: CallError) -> None:
        """Ends the answer: badly, or with a note where it had ended well already."""
        self.done = True
        if self._deadlines.ending:
            redact_error(error, secrets_of(self._target))
            message = f"After the answer had ended: {error.message}"
            self._notes.append(LateError(code=error.code, message=message))
        else:
            self.error = error

    def _read_all(self, texts: list[str]) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        try:
            for text, data in self._joiner.join(texts):
                self._read(text, data, events)
                if self.done:
                    break
        except CallError as error:
            self.fail(error)
        return events

    def _read(self, text: str, data: str, events: list[ClientEvent]) -> None:
        if text == "[DONE]":
            self.done = True
            return
        try:
            values = openai_chat.parse_json_values(text)
        except (ValueError, RecursionError) as exc:
            raise _parse_error(text) from exc
        line = data if len(values) == 1 and "\n" not in text else ""
        for value in values:
            if not isinstance(value, dict):
                raise not_json()
            for event in self._read_payload(value, line):
                if isinstance(event, Finish):
                    self._finish(event, events)
                elif event.is_content:
                    self._deadlines.begun = self._deadlines.heard = True
                events.append(event)

    def _finish(self, event: Finish, events: list[ClientEvent]) -> None:
        """The provider ended it. Raises CallError where its reason is a failure, and where nothing
        was said: only to be cut off at the token limit is an answer then, an honest one."""
        if error := finish.failure(event.native):
            raise error
        if not self._deadlines.begun:
            if event.reason != "length":
                raise _empty_answer_error(event.reason)
            self._deadlines.begun = True
            events.append(Passed(is_content=True))
        self._deadlines.ending = True


def _empty_answer_error(reason: str) -> CallError:
    if reason == "content_filter":
        message = "The provider's content filter stopped the answer."
        return CallError(ErrorKind.REQUEST, message, code="content_filter")
    return CallError(ErrorKind.PROVIDER, "The answer was empty.", code="empty")


def json_values(text: str) -> list[object]:
    """The JSON values of a text. Raises CallError."""
    try:
        return openai_chat.parse_json_values(text)
    except (ValueError, RecursionError) as exc:
        raise _parse_error(text) from exc


def _parse_error(text: str) -> CallError:
    if is_html(text):
        return CallError(ErrorKind.PROVIDER, HTML_MESSAGE, status=200, code="html")
    return not_json()


HTML_MESSAGE = "A web page came back instead of an API's answer."


def is_html(text: str) -> bool:
    return text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<head", "<body"))
