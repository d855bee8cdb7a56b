"""Serve turns as event streams, ahead of Django: check the reader once, then follow Redis.

An open stream holds no database connection, no thread and no Django request.
"""

from contextlib import aclosing
from functools import partial
from importlib import import_module

import django.db
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chat import event_tail, fragments
from chat.event_tail import StoredMessage
from chat.models import Message
from providers.infra import database
from providers.protocols import sse

SessionStore = import_module(settings.SESSION_ENGINE).SessionStore


class EventStream(StreamingResponse):
    """Ends its generator with the connection, whichever side closed it."""

    media_type = "text/event-stream"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var] # a generator
            await super().__call__(scope, receive, send)


async def events(request: Request) -> Response:
    """`GET /chat/turns/<id>/events/`: the turn from Last-Event-ID on, to its end."""
    turn_id: int = request.path_params["turn_id"]
    cookie = request.cookies.get(settings.SESSION_COOKIE_NAME, "")
    try:
        problem = await database.run(refusal, cookie, turn_id)
    except django.db.Error:
        return PlainTextResponse("The database cannot be reached.", 503, {"Retry-After": "1"})
    if problem:
        return problem
    after = request.headers.get("last-event-id", "")
    messages = event_tail.tail(turn_id, after, partial(load_stored, turn_id))
    return EventStream(messages, headers=sse.HEADERS)


def refusal(session_key: str, turn_id: int) -> Response | None:
    """401 without a signed-in user, 404 for what is not theirs, None for what is."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    if not user.is_authenticated:
        return PlainTextResponse("Sign in first.", 401)
    if not Message.objects.of(user).filter(pk=turn_id).exists():
        return PlainTextResponse("There is no such turn.", 404)
    return None


async def load_stored(turn_id: int) -> StoredMessage | None:
    """The message from Postgres; None while Postgres cannot be reached."""
    try:
        return await database.run(fragments.load_stored, turn_id)
    except django.db.Error:
        return None


routes = [Route("/chat/turns/{turn_id:int}/events/", events)]
