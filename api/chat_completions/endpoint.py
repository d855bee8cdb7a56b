"""`POST /v1/chat/completions`: read the request, answer it as JSON or as a stream of events."""

from contextlib import aclosing

from django.conf import settings

from api.asgi_response import Reply, UntilDisconnect
from api.chat_completions.completions import Completion, CompletionRequest, start_completion
from api.chat_completions.request_parser import parse_request
from api.request import ApiRequest
from providers.domain.errors import CallError


async def complete(request: ApiRequest, reply: Reply) -> None:
    """Answer one chat completion. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate()
    body = await request.read_body(caller)
    completion_request = CompletionRequest(
        parsed=parse_request(body),
        caller=caller,
        request_id=request.request_id,
        arrived=request.arrived,
        body=body,
        idempotency_key=request.idempotency_key(),
    )
    send = _send_events if completion_request.parsed.stream else _send_json
    async with UntilDisconnect(request.receive):
        completion = await start_completion(completion_request)
        try:
            async with aclosing(completion.stream()):
                await send(completion, reply)
        except CallError as error:
            raise completion.to_api_error(error) from error


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
