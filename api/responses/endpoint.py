"""`POST /v1/responses`, and `GET` and `DELETE /v1/responses/ID`, as OpenAI's clients call them."""

import time
from dataclasses import replace

from api.asgi_response import Reply
from api.errors import OPENAI_ERRORS, bad_request
from api.json_body import decode_object
from api.keys.lookup import Caller
from api.request import ApiRequest
from api.responses import store
from api.responses.serializer import ResponseSerializer
from api.sender import send_completion
from providers.domain.native_body import BodyFormat, NativeBody
from providers.domain.types import Completed, Json
from providers.protocols.openai_chat import encode_json
from providers.protocols.request_checks import InvalidRequest
from providers.protocols.responses_requests import (
    find_references,
    read_request,
    resolve_references,
)

PREFIX = "/v1/responses/"


async def create_response(request: ApiRequest, reply: Reply) -> None:
    """Answer one request. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate()
    body = await request.read_body(caller)
    fields = decode_object(body)
    try:
        resolved = await _resolve(fields, caller)
        parsed = read_request(resolved)
    except InvalidRequest as error:
        raise bad_request(error.message, error.param) from None
    serializer = ResponseSerializer(request.request_id.hex, int(time.time()), fields, parsed)
    reply.errors = replace(OPENAI_ERRORS, write_events=serializer.fail)
    native = NativeBody(
        format=BodyFormat.RESPONSES, fields=resolved, translation_error=parsed.translation_error
    )
    stores = fields.get("store") is not False

    async def complete(completed: Completed) -> None:
        response = serializer.complete(completed, int(time.time()))
        if stores:
            serializer.is_stored = await store.save(caller.user_id, parsed.items, response)

    await send_completion(
        request,
        reply,
        caller=caller,
        body=body,
        model=parsed.model,
        chat=replace(parsed.request, native=native),
        serializer=serializer,
        before_end=complete,
        note_piece=serializer.note_piece,
    )


async def stored_response(request: ApiRequest, reply: Reply) -> None:
    """Send or delete a stored answer. Raises ApiError."""
    request.require_method("GET", "DELETE")
    caller = await request.authenticate()
    response_id = request.path.removeprefix(PREFIX)
    if request.method == "GET":
        response = await store.get(caller.user_id, response_id)
    else:
        await store.delete(caller.user_id, response_id)
        response = {"id": response_id, "object": "response", "deleted": True}
    await reply.send_json(200, encode_json(response), {})


async def _resolve(fields: Json, caller: Caller) -> Json:
    """The request with what it refers to: the one read of the database before a call."""
    references = find_references(fields)
    if not references:
        return fields
    stored = await store.find(caller.user_id, references)
    return resolve_references(fields, stored.previous, stored.items)
