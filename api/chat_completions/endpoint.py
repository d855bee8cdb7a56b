"""`POST /v1/chat/completions`: read the request, answer it as JSON or as a stream of chunks."""

import time

from api.asgi_response import Reply
from api.chat_completions.openai_response import AnswerSerializer, ChunkSerializer
from api.chat_completions.request_parser import parse_request
from api.completion import Serializer
from api.request import ApiRequest
from api.sender import send_completion


async def complete(request: ApiRequest, reply: Reply) -> None:
    """Answer one chat completion. Raises ApiError."""
    request.require_method("POST")
    caller = await request.authenticate()
    body = await request.read_body(caller)
    parsed = parse_request(body)
    answer_id, created = f"chatcmpl-{request.request_id.hex}", int(time.time())
    serializer: Serializer = (
        ChunkSerializer(answer_id, created, usage=parsed.include_usage)
        if parsed.stream
        else AnswerSerializer(answer_id, created)
    )
    await send_completion(
        request,
        reply,
        caller=caller,
        body=body,
        model=parsed.model,
        chat=parsed.request,
        serializer=serializer,
    )
