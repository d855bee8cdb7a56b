"""Serialize the router's events in Anthropic's format: as a stream's events, or as one message.

The payloads of a provider that speaks this format pass through, with only the model's name
replaced; other events are translated (`providers/protocols/anthropic_events.py`). No I/O.
"""

from collections.abc import Mapping

from providers.domain.types import ClientEvent, Completed, Json, RouteTaken, TextWasReasoning
from providers.protocols import estimates
from providers.protocols.anthropic_events import (
    EventWriter,
    MessageGatherer,
    Payload,
)
from providers.protocols.anthropic_requests import MessagesRequest
from providers.protocols.openai_chat import encode_json, fields
from providers.protocols.typed_events import encode_event


class _PayloadSerializer:
    """Makes the payloads of one answer from its events."""

    def __init__(self, answer_id: str, parsed: MessagesRequest) -> None:
        self._answer_id = answer_id
        self._parsed = parsed
        self._model = ""
        self._is_native = False
        self._last: Json | None = None
        self._writer: EventWriter | None = None

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """Set the model. The header names the fields that a translated request lacks."""
        self._model, self._is_native = taken.model, taken.native
        if taken.native:
            return {}
        tokens = estimates.input_tokens(self._parsed.request)
        thinking = self._parsed.thinking
        self._writer = EventWriter(self._answer_id, taken.model, tokens, thinking=thinking)
        dropped = ", ".join(self._parsed.dropped)[:500]
        return {"x-dropped-fields": dropped} if dropped else {}

    def _next_native(self, event: ClientEvent) -> Json | None:
        """The payload that an event is the first to carry."""
        payload = event.raw
        if payload is None or payload is self._last:
            return None
        self._last = payload
        return payload

    def _with_model(self, payload: Json) -> Json:
        """The payload with the model's name, where it has one."""
        if payload.get("type") == "message_start":
            message = {**fields(payload.get("message")), "model": self._model}
            return {**payload, "message": message}
        return {**payload, "model": self._model} if payload.get("type") == "message" else payload

    def _write(self, event: ClientEvent) -> list[Payload]:
        return self._writer.take(event) if self._writer else []

    def _end(self, completed: Completed) -> list[Payload]:
        return self._writer.end(completed.usage) if self._writer else []


class StreamSerializer(_PayloadSerializer):
    """A streamed answer."""

    def serialize(self, event: ClientEvent) -> bytes:
        """The event's payloads; none where it adds nothing."""
        if not self._is_native:
            return b"".join(map(encode_event, self._write(event)))
        payload = self._next_native(event)
        if payload is None:
            return b""
        renamed = self._with_model(payload)
        return encode_event(renamed, event.line if renamed is payload else "")

    def finish(self, completed: Completed) -> bytes:
        """The payloads that end the stream."""
        if not self._is_native:
            return b"".join(map(encode_event, self._end(completed)))
        has_ended = self._last is not None and self._last.get("type") == "message_stop"
        return b"" if has_ended else encode_event({"type": "message_stop"})


class MessageSerializer(_PayloadSerializer):
    """A non-streaming answer, gathered from the payloads of a stream."""

    def __init__(self, answer_id: str, parsed: MessagesRequest) -> None:
        super().__init__(answer_id, parsed)
        self._gatherer = MessageGatherer()

    def serialize(self, event: ClientEvent) -> bytes:
        """Gather the event; always empty, because nothing is sent before the end."""
        if self._is_native:
            if (payload := self._next_native(event)) is not None:
                self._gatherer.take(self._with_model(payload))
            return b""
        if isinstance(event, TextWasReasoning) and self._writer:
            self._gather(self._writer.close_text())
            self._gatherer.retract_text(keep=self._parsed.thinking)
        self._gather(self._write(event))
        return b""

    def finish(self, completed: Completed) -> bytes:
        """The message's JSON."""
        self._gather(self._end(completed))
        return encode_json(self._gatherer.message())

    def _gather(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            self._gatherer.take(payload)
