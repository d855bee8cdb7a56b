"""Parse the body of a chat completion, or say which field is wrong. No I/O.

Only fields that this program reads are checked. All others go to the provider unchanged.
"""

from collections.abc import Mapping
from typing import Any, cast

from api.errors import bad_request
from api.json_body import decode_object
from providers.domain.frozen import frozen
from providers.domain.types import ChatMessage, ChatRequest


@frozen
class ParsedRequest:
    """A parsed body. `include_usage`: the stream's last chunk carries the token counts."""

    model: str
    stream: bool
    include_usage: bool
    request: ChatRequest


# The types of these fields; null means "not set".
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "stream": ((bool,), "true or false"),
    "stream_options": ((dict,), "an object"),
    "tools": ((list,), "an array"),
    "temperature": ((int, float), "a number"),
    "top_p": ((int, float), "a number"),
    "max_tokens": ((int,), "an integer"),
    "max_completion_tokens": ((int,), "an integer"),
    "n": ((int,), "an integer"),
    "stop": ((str, list), "a string or an array"),
}
# Read here, and set again for each provider.
_OWN_FIELDS = frozenset({"model", "messages", "stream"})


def parse_request(body: bytes) -> ParsedRequest:
    """Raises ApiError (400) with the name of the wrong field."""
    fields = decode_object(body)
    for name in filter(_TYPES.__contains__, fields):
        types, what = _TYPES[name]
        _check(fields[name], name, types, what)
    model = fields.get("model")
    if not isinstance(model, str) or not model.strip():
        raise bad_request("`model` must be the name of a model, such as `provider/model`.", "model")
    stream = bool(fields.get("stream"))
    options = fields.get("stream_options") or {}
    return ParsedRequest(
        model=model.strip(),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        request=ChatRequest(
            messages=_parse_messages(fields.get("messages")),
            options={name: value for name, value in fields.items() if name not in _OWN_FIELDS},
            non_streaming=not stream,
        ),
    )


def _parse_messages(messages: object) -> tuple[ChatMessage, ...]:
    if not isinstance(messages, list) or not messages:
        raise bad_request("`messages` must be an array of at least one message.", "messages")
    return tuple(
        [_parse_message(message, f"messages[{index}]") for index, message in enumerate(messages)]
    )


def _parse_message(message: object, param: str) -> ChatMessage:
    if not isinstance(message, dict):
        raise bad_request(f"`{param}` must be an object.", param)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise bad_request(f"`{param}.role` must be a string, such as `user`.", f"{param}.role")
    if not isinstance(content, str):
        _check(content, f"{param}.content", (str, list), "a string, an array of parts, or null")
    if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
        raise bad_request(f"`{param}.content` must contain only objects.", f"{param}.content")
    return ChatMessage(
        # Unknown roles are passed on: the provider may know them.
        role=cast(Any, role),
        content=tuple(content) if isinstance(content, list) else content,
        extra={
            name: value
            for name, value in message.items()
            if name != "role" and (name != "content" or value is None)
        },
    )


def _check(value: object, name: str, types: tuple[type, ...], what: str) -> None:
    """Raises ApiError for a value of another type. In Python a bool is an int; not here."""
    wrong = isinstance(value, bool) and bool not in types
    if value is not None and (wrong or not isinstance(value, types)):
        raise bad_request(f"`{name}` must be {what}.", name, "invalid_type")
