"""A chat completion as it was asked for: the body's bytes to a request, or what is wrong with it.

Only what this program itself reads is checked. Every other field goes to the provider as it came.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from api.errors import ApiError, bad_request
from providers.domain.frozen import frozen
from providers.domain.types import ChatMessage, ChatRequest


@frozen
class ParsedRequest:
    """What the caller wants. `include_usage`: the stream's last chunk is to carry the tokens."""

    model: str
    stream: bool
    include_usage: bool
    request: ChatRequest


# What these fields are where they are there at all; null means "not set".
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
# These are read here, or made anew for each provider.
_OURS = frozenset({"model", "messages", "stream"})


def asked(body: bytes) -> ParsedRequest:
    """The request. Raises ApiError (400) with the field that is wrong."""
    fields = _object(body)
    for name in filter(_TYPES.__contains__, fields):
        types, what = _TYPES[name]
        _check(fields[name], name, types, what)
    model = fields.get("model")
    if not isinstance(model, str) or not model.strip():
        raise bad_request("`model` must name a model, such as `provider/model`.", "model")
    stream = bool(fields.get("stream"))
    options = fields.get("stream_options") or {}
    return ParsedRequest(
        model=model.strip(),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        request=ChatRequest(
            messages=_messages(fields.get("messages")),
            options={name: value for name, value in fields.items() if name not in _OURS},
            whole=not stream,
        ),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8 text") from None
    except json.JSONDecodeError as exc:
        raise _malformed(f"{exc.msg}, line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except ValueError:
        raise _malformed("it holds a number that JSON does not have") from None
    if not isinstance(fields, dict):
        raise _malformed("it must be an object")
    return fields


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's, and would reach the provider."""
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _malformed(problem: str) -> ApiError:
    return bad_request(f"The body is not the JSON it should be: {problem}.", code="invalid_json")


def _messages(given: object) -> tuple[ChatMessage, ...]:
    if not isinstance(given, list) or not given:
        raise bad_request("`messages` must be an array of at least one message.", "messages")
    return tuple(_message(each, f"messages[{number}]") for number, each in enumerate(given))


def _message(given: object, where: str) -> ChatMessage:
    if not isinstance(given, dict):
        raise bad_request(f"`{where}` must be an object.", where)
    role, content = given.get("role"), given.get("content")
    if not isinstance(role, str) or not role:
        raise bad_request(f"`{where}.role` must be a string, such as `user`.", f"{where}.role")
    _check(content, f"{where}.content", (str, list), "a string, an array of parts, or null")
    if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
        raise bad_request(f"`{where}.content` must hold objects.", f"{where}.content")
    return ChatMessage(
        # A role that we do not know is the provider's to judge.
        role=cast(Any, role),
        content=tuple(content) if isinstance(content, list) else content,
        extra={
            name: value
            for name, value in given.items()
            if name != "role" and (name != "content" or value is None)
        },
    )


def _check(value: object, name: str, types: tuple[type, ...], what: str) -> None:
    """A bool is no number here, whatever Python says."""
    wrong = isinstance(value, bool) and bool not in types
    if value is not None and (wrong or not isinstance(value, types)):
        raise bad_request(f"`{name}` must be {what}.", name, "invalid_type")
