"""Encode events whose payloads name their type: those of Messages and Responses. No I/O."""

from providers.domain.types import Json
from providers.protocols.openai_chat import encode_json


def encode_event(payload: Json, line: str = "") -> bytes:
    """One payload as a server-sent event, named as its type. `line`: its text where it came as
    one, which is sent as it is."""
    data = line.encode() or encode_json(payload)
    return b"event: %b\ndata: %b\n\n" % (str(payload.get("type")).encode(), data)
