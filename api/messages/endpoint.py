"""`POST /v1/messages` and `/v1/messages/count_tokens`, as Anthropic's clients call them."""

from dataclasses import replace

from api import model_resolver
from api.asgi_response import Reply
from api.errors import bad_request
from api.json_body import decode_object
from api.messages.anthropic_response import MessageSerializer, StreamSerializer
from api.request import ApiRequest
from api.sender import send_completion
from providers.domain.native_body import BodyFormat, NativeBody
from providers.domain.types import Json
from providers.protocols import estimates
from providers.protocols.anthropic_requests import MessagesRequest, read_request
from providers.protocols.openai_chat import encode_json
from providers.protocols.request_checks import InvalidRequest
from providers.router import route_table


async def create_message(request: ApiRequest, reply: Reply) -> None:
    """Answer one request. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate()
    body = await request.read_body(caller)
    parsed, fields = _parse(body)
    form = StreamSerializer if parsed.stream else MessageSerializer
    native = NativeBody(
        format=BodyFormat.MESSAGES,
        fields=fields,
        headers=request.pick_headers("anthropic-beta"),
        translation_error=parsed.translation_error,
    )
    await send_completion(
        request,
        reply,
        caller=caller,
        body=body,
        model=parsed.model,
        chat=replace(parsed.request, native=native),
        serializer=form(request.request_id.hex, parsed),
    )


async def count_tokens(request: ApiRequest, reply: Reply) -> None:
    """Estimate the input tokens of a request, with no call to a provider. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate(is_free=True)
    parsed, _ = _parse(await request.read_body(caller), is_limited=False)
    snapshot = await route_table.current().ready_for(parsed.model)
    model_resolver.resolve_model(snapshot, parsed.model, caller)
    tokens = estimates.input_tokens(parsed.request)
    await reply.send_json(200, encode_json({"input_tokens": tokens}), {"x-estimated": "true"})


def _parse(body: bytes, *, is_limited: bool = True) -> tuple[MessagesRequest, Json]:
    fields = decode_object(body)
    try:
        return read_request(fields, is_limited=is_limited), fields
    except InvalidRequest as error:
        raise bad_request(error.message, error.param) from None
