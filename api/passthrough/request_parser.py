"""Parse the body of a request that is passed through, or say which field is wrong. No I/O.

Only the model, the required fields and `stream` are read. The body itself stays as it came.
"""

from collections.abc import Mapping
from typing import Any

from api.errors import bad_request
from api.json_body import decode_object
from providers.domain.frozen import frozen
from providers.domain.passed_body import PassedBody
from providers.protocols.endpoint_kinds import EndpointKind
from providers.protocols.model_name_spans import InvalidForm, cut_form, cut_json

_JSON = "application/json"


@frozen
class PassedRequest:
    """A parsed body. `include_usage`: the stream's last event carries the token counts."""

    model: str
    stream: bool
    include_usage: bool
    passed: PassedBody


def parse_request(endpoint: EndpointKind, body: bytes, content_type: str) -> PassedRequest:
    """Raises ApiError (400) with the name of the wrong field."""
    if endpoint.is_multipart:
        parts, fields = _parse_form(body, content_type)
    else:
        fields, content_type = decode_object(body), _JSON
        parts = cut_json(body.decode("utf-8"))
    model = fields.get("model")
    if not isinstance(model, str) or not model.strip():
        raise bad_request("`model` must be the name of a model, such as `provider/model`.", "model")
    for name in endpoint.required:
        if name not in fields:
            raise bad_request(f"`{name}` is required.", name, "missing_field")
    options = fields.get("stream_options")
    return PassedRequest(
        model=model.strip(),
        stream=endpoint.streams and _is_true(fields.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        passed=PassedBody(
            endpoint=endpoint.path, content_type=content_type, parts=parts, fields=fields
        ),
    )


def _parse_form(body: bytes, content_type: str) -> tuple[tuple[bytes, ...], Mapping[str, Any]]:
    try:
        return cut_form(body, content_type)
    except InvalidForm as problem:
        message = f"The request body is not a valid form: {problem}."
        raise bad_request(message, code="invalid_form") from None


def _is_true(value: object) -> bool:
    """Of JSON, or of a form, where it is text."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise bad_request("`stream` must be true or false.", "stream", "invalid_type")
