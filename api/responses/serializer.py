"""Serialize the router's events in the Responses format: as events, or as one response. No I/O.

The payloads come from `providers/protocols/responses_events.py`.
"""

from collections.abc import Mapping
from typing import Any

from api.errors import ApiError
from providers.domain.types import ClientEvent, Completed, Json, RouteTaken, TextWasReasoning
from providers.protocols.openai_chat import encode_json
from providers.protocols.responses_events import ResponseWriter
from providers.protocols.responses_items import Payload
from providers.protocols.responses_requests import ResponsesRequest
from providers.protocols.typed_events import encode_event


class ResponseSerializer:
    """An answer of either form. `is_stored`: the answer was stored under its id."""

    def __init__(
        self, answer_id: str, created_at: int, body: Json, parsed: ResponsesRequest
    ) -> None:
        """`body`: the request as it came, whose fields the response repeats."""
        self._parsed = parsed
        self._created_at = created_at
        self._writer = ResponseWriter(
            answer_id, created_at, body, parsed.tools.tools, summarizes=parsed.summarizes
        )
        self._waiting: list[Payload] = []  # for the next bytes
        self.is_stored = False

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """Set the model. The header names the fields that a translated request lacks."""
        self._waiting = self._writer.start(taken.model)
        dropped = ", ".join(self._parsed.dropped)[:500]
        return {"x-dropped-fields": dropped} if dropped else {}

    def serialize(self, event: ClientEvent) -> bytes:
        """The event's payloads as bytes."""
        if self._parsed.stream:
            return self._send(self._writer.take(event))
        if isinstance(event, TextWasReasoning):
            self._writer.retract_text()
        else:
            self._writer.take(event)
        return b""

    def complete(self, completed: Completed, now: int) -> dict[str, Any]:
        """The full response, before its last bytes are made."""
        self._waiting += self._writer.end_items(completed.usage, now)
        return self._writer.response

    def finish(self, completed: Completed) -> bytes:
        """The last events, or the response's JSON. `complete` precedes it."""
        ending = self._writer.end(is_stored=self.is_stored)
        if self._parsed.stream:
            return self._send(ending)
        return encode_json(self._writer.response)

    def fail(self, error: ApiError) -> bytes:
        """The events of a failure within a stream."""
        return self._send(self._writer.fail(error.code, error.message, error.param))

    def _send(self, payloads: list[Payload]) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join(map(encode_event, [*waiting, *payloads]))
