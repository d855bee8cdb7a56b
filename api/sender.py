"""Send one completion to its client, as one body or as a stream of events. Every door ends here.

The provider's connection closes with the client's.
"""

from contextlib import aclosing

from django.conf import settings

from api.asgi_response import Reply, UntilDisconnect
from api.completion import Completion, CompletionRequest, start_completion
from api.request import ApiRequest
from providers.domain.errors import CallError


async def send_completion(
    request: ApiRequest, reply: Reply, completion_request: CompletionRequest
) -> None:
    """Answer one request. Raises ApiError."""
    send = _send_json if completion_request.chat.non_streaming else _send_events
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
