"""Every endpoint that passes requests through: check the body, send it on, return the answer."""

from api.asgi_response import Reply
from api.passthrough.passed_response import PassedSerializer
from api.passthrough.request_parser import parse_request
from api.request import ROOT, ApiRequest
from api.sender import send_completion
from providers.domain.types import ChatRequest
from providers.protocols.endpoint_kinds import ENDPOINTS


async def answer(request: ApiRequest, reply: Reply) -> None:
    """Answer one request to the endpoint of its path. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate()
    endpoint = ENDPOINTS[request.path.removeprefix(f"{ROOT}/")]
    body = await request.read_body(caller, is_text=bool(endpoint.read_by_model))
    content_type = request.pick_headers("content-type").get("content-type", "")
    parsed = parse_request(endpoint, body, content_type)
    non_streaming = not (parsed.stream or endpoint.is_binary)
    await send_completion(
        request,
        reply,
        caller=caller,
        body=body,
        model=parsed.model,
        chat=ChatRequest(messages=(), non_streaming=non_streaming, passed=parsed.passed),
        serializer=PassedSerializer(endpoint, parsed),
        is_binary=endpoint.is_binary,
    )
