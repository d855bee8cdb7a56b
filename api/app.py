"""`/v1`, ahead of Django: the doors, and an error in a door's format for every failure.

Raw ASGI, because this is the hot path: a key and a model are looked up in memory, and neither the
database nor Redis is called before the upstream. No request is ever redirected to the sign-in page,
and no header allows browsers of other sites in (CORS): keys belong in programs.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import django.db
from starlette.types import Receive, Scope, Send

from api.asgi_response import KEEP_ALIVE, Reply
from api.chat_completions import endpoint as chat_completions
from api.errors import ANTHROPIC_ERRORS, OPENAI_ERRORS, ApiError, ErrorFormat, unavailable
from api.messages import endpoint as messages
from api.model_list import endpoint as model_list
from api.model_list import opencode_config
from api.passthrough import endpoint as passthrough
from api.request import ROOT, ApiRequest
from api.responses import endpoint as responses
from providers.protocols.anthropic_events import PING
from providers.protocols.endpoint_kinds import ENDPOINTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """What answers at a path, the format of its errors, and what a waiting stream sends."""

    answer: Callable[[ApiRequest, Reply], Awaitable[None]]
    errors: ErrorFormat = OPENAI_ERRORS
    keep_alive: bytes = KEEP_ALIVE


DOORS: Mapping[str, Door] = {
    "/v1/models": Door(model_list.list_models),
    "/v1/model/info": Door(model_list.list_info),
    opencode_config.PATH: Door(opencode_config.get_config),
    "/v1/chat/completions": Door(chat_completions.complete),
    "/v1/messages": Door(messages.create_message, ANTHROPIC_ERRORS, PING),
    "/v1/messages/count_tokens": Door(messages.count_tokens, ANTHROPIC_ERRORS),
    "/v1/responses": Door(responses.create_response),
    **{f"/v1/{path}": Door(passthrough.answer) for path in ENDPOINTS},
}
# One object each: its name is the rest of the path.
OBJECT_DOORS: Mapping[str, Door] = {
    model_list.PREFIX: Door(model_list.get_model),
    responses.PREFIX: Door(responses.stored_response),
}


def is_here(path: str) -> bool:
    """Whether a path is below /v1."""
    return path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in ("", "/")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One request."""
    request = ApiRequest(scope, receive)
    door = find_door(request.path)
    reply = Reply(
        send,
        request.response_headers(),
        errors=door.errors,
        keep_alive=door.keep_alive,
        limits=request.limits,
        bodiless=request.method == "HEAD",
    )
    try:
        await door.answer(request, reply)
    except ApiError as error:
        await _send_error(request, reply, error)
    except django.db.Error:
        message = "The database is not available yet. Try again in a moment."
        await _send_error(request, reply, unavailable(message))
    except Exception:
        # The last resort: a bug of ours is an error in the client's format too.
        log.exception("api_failed request=%s", request.request_id)
        message = f"Internal error. The log has the details, under request {request.request_id}."
        internal = ApiError(500, message, code="internal_error", type="server_error")
        await _send_error(request, reply, internal)
    finally:
        request.close()


def find_door(path: str) -> Door:
    """The door at a path, or one that returns 404."""
    if door := DOORS.get(path):
        return door
    objects = (door for prefix, door in OBJECT_DOORS.items() if path.startswith(prefix))
    return next(objects, _NO_DOOR)


async def _refuse_path(request: ApiRequest, reply: Reply) -> None:
    message = f"There is no {request.path[:200]}. Available: {', '.join(DOORS)}."
    raise ApiError(404, message, code="not_found")


_NO_DOOR = Door(_refuse_path)


async def _send_error(request: ApiRequest, reply: Reply, error: ApiError) -> None:
    """Send an error with the headers of every answer."""
    upstream_ms = sum(attempt.record.duration_ms for attempt in error.attempts)
    overhead_ms = max(0.0, (time.monotonic() - request.arrived) * 1000 - upstream_ms)
    error.headers |= {
        "x-attempts": str(len(error.attempts)),
        "x-overhead-ms": f"{overhead_ms:.2f}",
    }
    if error.attempts:
        error.headers["x-route"] = error.attempts[-1].route
    await reply.send_error(error)
