"""Serialize the router's events in the Responses format: as events, or as one response. No I/O.

The payloads of a provider that speaks this format pass through, with only the model's name
replaced; other events are translated (`providers/protocols/responses_events.py`).
"""

import json
from collections.abc import Mapping
from typing import Any

from api.errors import ApiError
from providers.domain.types import ClientEvent, Completed, Json, RouteTaken, TextWasReasoning
from providers.protocols.openai_chat import encode_json, fields
from providers.protocols.responses_events import ResponseWriter
from providers.protocols.responses_items import Payload
from providers.protocols.responses_requests import ResponsesRequest
from providers.protocols.typed_events import encode_event

_DATA = b"data: "
_ENDINGS = frozenset({"response.completed", "response.incomplete"})


class ResponseSerializer:
    """An answer of either form. `is_stored`: the answer was stored under its id."""

    def __init__(
        self, answer_id: str, created_at: int, body: Json, parsed: ResponsesRequest
    ) -> None:
        """`body`: the request as it came, whose fields the response repeats."""
        self._parsed = parsed
        self._own = {"previous_response_id": body.get("previous_response_id")}
        self._writer = ResponseWriter(
            answer_id, created_at, body, parsed.tools.tools, summarizes=parsed.summarizes
        )
        self._waiting: list[Payload] = []  # for the next bytes
        self._is_native = False
        self._last: Json | None = None
        self._native_end: Payload = {}
        self.is_stored = False

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """Set the model. The header names the fields that a translated request lacks."""
        self._own["model"] = taken.model
        self._is_native = taken.native
        if taken.native:
            return {}
        self._waiting = self._writer.start(taken.model)
        dropped = ", ".join(self._parsed.dropped)[:500]
        return {"x-dropped-fields": dropped} if dropped else {}

    def serialize(self, event: ClientEvent) -> bytes:
        """The event's payloads as bytes."""
        if self._is_native:
            return self._pass_on(event)
        if self._parsed.stream:
            return self._send(self._writer.take(event))
        if isinstance(event, TextWasReasoning):
            self._writer.retract_text()
        else:
            self._writer.take(event)
        return b""

    def complete(self, completed: Completed, now: int) -> dict[str, Any]:
        """The full response, before its last bytes are made."""
        if self._is_native:
            response: dict[str, Any] = self._native_end.get("response", {})
            return response
        self._waiting += self._writer.end_items(completed.usage, now)
        return self._writer.response

    def finish(self, completed: Completed) -> bytes:
        """The last events, or the response's JSON. `complete` precedes it."""
        ending = [self._native_end] if self._is_native else self._writer.end()
        response = ending[-1]["response"]
        response["store"] = self.is_stored
        return self._send(ending) if self._parsed.stream else encode_json(response)

    def note_piece(self, piece: bytes) -> None:
        """Note events that the serializer of another request wrote: a failure continues from them,
        with their numbers and their response."""
        if not self._parsed.stream:
            return
        for line in piece.splitlines():
            if line.startswith(_DATA):
                self._writer.resume(json.loads(line.removeprefix(_DATA)))

    def fail(self, error: ApiError) -> bytes:
        """The events of a failure within a stream."""
        return self._send(self._writer.fail(error.code, error.message, error.param))

    def _send(self, payloads: list[Payload]) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join(map(encode_event, [*waiting, *payloads]))

    def _pass_on(self, event: ClientEvent) -> bytes:
        """The payload that an event is the first to carry. The last one waits for its storing."""
        payload = event.raw
        if payload is None or payload is self._last:
            return b""
        self._last = payload
        if payload.get("object") == "response":  # one response where a stream was requested
            payload = {"type": f"response.{payload.get('status')}", "response": payload}
        renamed = dict(payload)
        if response := fields(payload.get("response")):
            renamed["response"] = {**response, **self._own}
        self._writer.resume(renamed)
        if renamed.get("type") in _ENDINGS:
            self._native_end = {"sequence_number": 0, **renamed}
            return b""
        if not self._parsed.stream:
            return b""
        return encode_event(renamed, "" if response else event.line)
