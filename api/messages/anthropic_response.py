"""Serialize the router's events in Anthropic's format: as a stream's events, or as one message.

No I/O. The translation is in `providers/protocols/anthropic_events.py`.
"""

from providers.domain.types import ClientEvent, Completed, RouteTaken, TextWasReasoning
from providers.protocols import estimates
from providers.protocols.anthropic_events import (
    EventWriter,
    MessageGatherer,
    Payload,
    encode_event,
)
from providers.protocols.anthropic_requests import MessagesRequest
from providers.protocols.openai_chat import encode_json


class _PayloadSerializer:
    """Writes the payloads of one answer."""

    def __init__(self, answer_id: str, parsed: MessagesRequest) -> None:
        self._answer_id = answer_id
        self._parsed = parsed
        self._writer = self._make_writer("")

    def start(self, taken: RouteTaken) -> None:
        """Set the model."""
        self._writer = self._make_writer(taken.model)

    def _make_writer(self, model: str) -> EventWriter:
        tokens = estimates.input_tokens(self._parsed.request)
        return EventWriter(self._answer_id, model, tokens, thinking=self._parsed.thinking)


class StreamSerializer(_PayloadSerializer):
    """A streamed answer."""

    def serialize(self, event: ClientEvent) -> bytes:
        """The event's payloads; none where it adds nothing."""
        return _encode(self._writer.take(event))

    def finish(self, completed: Completed) -> bytes:
        """The payloads that end the stream."""
        return _encode(self._writer.end(completed.usage))


class MessageSerializer(_PayloadSerializer):
    """A non-streaming answer, gathered from the payloads of a stream."""

    def __init__(self, answer_id: str, parsed: MessagesRequest) -> None:
        super().__init__(answer_id, parsed)
        self._gatherer = MessageGatherer()

    def serialize(self, event: ClientEvent) -> bytes:
        """Gather the event; always empty, because nothing is sent before the end."""
        if isinstance(event, TextWasReasoning):
            self._gather(self._writer.close_text())
            self._gatherer.retract_text(keep=self._parsed.thinking)
        self._gather(self._writer.take(event))
        return b""

    def finish(self, completed: Completed) -> bytes:
        """The message's JSON."""
        self._gather(self._writer.end(completed.usage))
        return encode_json(self._gatherer.message())

    def _gather(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            self._gatherer.take(payload)


def _encode(payloads: list[Payload]) -> bytes:
    return b"".join(map(encode_event, payloads))
