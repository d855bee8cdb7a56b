"""Pass an answer on as it came, with an estimate where usage belongs in it and is missing.

No I/O.
"""

from collections.abc import Mapping

from api.passthrough.request_parser import PassedRequest
from providers.domain.types import ClientEvent, Completed, Passed, RouteTaken, UsageReport
from providers.protocols.endpoint_kinds import EndpointKind
from providers.protocols.openai_chat import encode_json
from providers.protocols.passed_usage import usage_fields

DONE = b"data: [DONE]\n\n"
_JSON = "application/json"


class PassedSerializer:
    """One answer of an endpoint, in one piece or as it comes."""

    def __init__(self, endpoint: EndpointKind, request: PassedRequest) -> None:
        self._endpoint = endpoint
        self._request = request
        self._content_type = ""
        self._has_usage = False
        self._body = b""  # of an answer in one piece

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """The content type that the provider sent."""
        self._content_type = taken.content_type
        return {"content-type": taken.content_type} if taken.content_type else {}

    def serialize(self, event: ClientEvent) -> bytes:
        """The next piece; of an answer in one piece nothing before its end."""
        if isinstance(event, UsageReport):
            self._has_usage = True
        if not isinstance(event, Passed):
            return b""
        if self._request.stream or self._endpoint.is_binary:
            return event.data
        self._body += event.data
        return b""

    def finish(self, completed: Completed) -> bytes:
        """The answer in one piece, or the end mark of events."""
        usage = completed.usage
        adds = bool(self._endpoint.read_by_model) and not self._has_usage and usage.estimated
        estimate = usage_fields(usage) if adds else None
        if not self._request.stream:
            return _with_usage(self._body, estimate) if estimate else self._body
        if not self._endpoint.has_done_mark:
            return b""
        if estimate is None or not self._request.include_usage:
            return DONE
        chunk = {"object": "text_completion", "choices": [], "usage": estimate}
        return b"data: %b\n\n" % encode_json(chunk) + DONE


def _with_usage(answer: bytes, usage: Mapping[str, object]) -> bytes:
    """The JSON object with the usage as its last field; any other answer as it is."""
    body = answer.rstrip()
    if not body.endswith(b"}") or b'"usage"' in body[-4096:]:
        return answer
    inner = body[:-1].rstrip()
    comma = b"" if inner.endswith(b"{") else b","
    return inner + comma + b'"usage":' + encode_json(usage) + b"}"
