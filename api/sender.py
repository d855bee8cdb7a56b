"""Send one completion to its client, as one body or as a stream of events. Every door ends here.

The provider's connection closes with the client's.
"""

from contextlib import aclosing

from django.conf import settings

from api.asgi_response import Reply, UntilDisconnect
from api.completion import (
    BeforeEnd,
    Completion,
    CompletionRequest,
    NotePiece,
    Serializer,
    do_nothing,
    ignore_piece,
    start_completion,
)
from api.errors import ApiError
from api.keys.lookup import Caller
from api.keys.permissions import find_model_choice
from api.request import ApiRequest
from api.session import find_session
from providers.domain.errors import CallError
from providers.domain.types import ChatRequest


async def send_completion(
    request: ApiRequest,
    reply: Reply,
    *,
    caller: Caller,
    body: bytes,
    model: str,
    chat: ChatRequest,
    serializer: Serializer,
    before_end: BeforeEnd = do_nothing,
    note_piece: NotePiece = ignore_piece,
    is_binary: bool = False,
) -> None:
    """Answer one request in the serializer's format; `is_binary`: as bytes of any length. Raises
    ApiError."""
    if caller.allowed.patterns:
        _refuse_model_choice(chat)
    completion_request = CompletionRequest(
        model=model,
        chat=chat,
        serializer=serializer,
        caller=caller,
        path=request.path,
        request_id=request.request_id,
        arrived=request.arrived,
        body=body,
        idempotency_key=request.idempotency_key(),
        before_end=before_end,
        note_piece=note_piece,
        session=find_session(request, chat.options),
    )
    send = _send_json if chat.non_streaming else _send_bytes if is_binary else _send_events
    async with UntilDisconnect(request.receive):
        completion = await start_completion(completion_request)
        try:
            async with aclosing(completion.stream()):
                await send(completion, reply)
        except CallError as error:
            raise completion.to_api_error(error) from error


def _refuse_model_choice(chat: ChatRequest) -> None:
    """Raises ApiError (403) where a field of the request of a limited key could choose another
    model upstream."""
    body = chat.passed or chat.native
    if name := find_model_choice(body.fields if body else chat.options):
        message = f"This API key is limited to certain models, so `{name[:80]}` cannot be used."
        raise ApiError(
            403, message, code="model_not_allowed", type="permission_error", param=name[:80]
        )


async def _send_json(completion: Completion, reply: Reply) -> None:
    head = await completion.head()
    body = b"".join([piece async for piece in completion.stream()])
    await reply.send_json(head.status, body, head.headers)


async def _send_events(completion: Completion, reply: Reply) -> None:
    """Send the pieces as they come. A failure may follow a keep-alive, or come in its place."""
    async with reply.keep_alive(settings.API_KEEP_ALIVE):
        await reply.start_events((await completion.head()).headers)
        async for piece in completion.stream():
            await reply.send_piece(piece)
    await reply.end()


async def _send_bytes(completion: Completion, reply: Reply) -> None:
    """Send the pieces as they come, with nothing between them."""
    await reply.start_bytes((await completion.head()).headers)
    async for piece in completion.stream():
        await reply.send_piece(piece)
    await reply.end()
