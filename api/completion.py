"""Answer one completion for any door: a request in, the head of the answer and its body out.

The door brings the request in canonical form and a serializer of its format.

`await completion.head()` waits for the first content, `completion.stream()` gives the body. They
are two things because a door needs them at two moments: as long as the head is not there, every
failure has a status of its own and the router may replace a route unseen; afterwards a failure can
only break the answer off. Both read one generator, whose first piece is empty and marks the head:
so a reader who leaves closes one thing, and with it the provider's connection.
"""

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Protocol
from uuid import UUID

from api import model_resolver
from api.errors import ApiError, FailedAttempt, to_api_error
from api.keys.lookup import Caller
from providers.domain.errors import CallError, KeyReused, PlanFailed
from providers.domain.frozen import frozen
from providers.domain.types import (
    AttemptRecord,
    AttemptStarted,
    ChatRequest,
    ClientEvent,
    Completed,
    RouteTaken,
)
from providers.infra import single_flight
from providers.models import Purpose
from providers.protocols.endpoint_kinds import CHAT
from providers.protocols.openai_chat import encode_json
from providers.router import answer_cache, route_table, router
from providers.router.call import Call
from providers.router.served_models import ServedModel
from providers.router.snapshot import Snapshot

# Redis was away: other processes, and later requests, do not know of this answer.
NOT_HONOURED = {"x-idempotency-key": "not-honoured"}
_HEAD = b""  # the piece that marks the head; nothing of the body is ever empty


@frozen
class Head:
    """What precedes the body. The headers name the route, the attempts and the overhead."""

    headers: dict[str, str]
    status: int = 200


class Serializer(Protocol):
    """An answer in a door's format. `start`, then `serialize` each event, then `finish`.

    Each returns the next bytes of the body, or none.
    """

    def start(self, taken: RouteTaken) -> Mapping[str, str]:
        """The route that answers is known. Returns headers of the format's own."""

    def serialize(self, event: ClientEvent) -> bytes:
        """Some more of the answer."""

    def finish(self, completed: Completed) -> bytes:
        """The end of the answer."""


type BeforeEnd = Callable[[Completed], Awaitable[None]]


async def do_nothing(completed: Completed) -> None:
    """What most doors do before the end of an answer."""


type NotePiece = Callable[[bytes], None]


def ignore_piece(piece: bytes) -> None:
    """What most doors do with a piece that another request's serializer wrote."""


@frozen
class CompletionRequest:
    """A valid request and its caller.

    `arrived`: when, on the monotonic clock. `idempotency_key`: empty where none was sent; a key
    with the same `body` at the same `path` gets the same answer again. `before_end` is awaited once
    the answer is complete, before the last of it is serialized. `note_piece` is called with each
    piece of an answer that another request with the key has begun. `session`: the conversation that
    it belongs to, as the client names it; it stays with one member of a virtual model.
    """

    model: str
    chat: ChatRequest
    serializer: Serializer
    caller: Caller
    path: str
    request_id: UUID
    arrived: float
    body: bytes
    idempotency_key: str = ""
    before_end: BeforeEnd = do_nothing
    note_piece: NotePiece = ignore_piece
    session: str = ""


async def start_completion(request: CompletionRequest) -> "Completion":
    """Resolve the model. Raises ApiError where no model has this name or the key may not use it,
    and django.db.Error where the providers were never read."""
    snapshot = await route_table.current().ready_for(request.model)
    passed = request.chat.passed
    endpoint = passed.endpoint if passed else CHAT
    model = model_resolver.resolve_model(snapshot, request.model, request.caller, endpoint)
    return Completion(request, snapshot, model)


class Completion:
    """One answer. Close `stream()` to close the provider's connection."""

    def __init__(self, request: CompletionRequest, snapshot: Snapshot, model: ServedModel) -> None:
        self._request = request
        self._snapshot = snapshot
        self._model = model
        self._queued_ms = (time.monotonic() - request.arrived) * 1000
        self._head: Head | None = None
        self._runs = False  # whether the shared run is this request's own
        self._pieces = self._shared_pieces() if request.idempotency_key else self._own_pieces()

    async def head(self) -> Head:
        """Wait until the answer begins. Raises CallError: PlanFailed with the attempts."""
        while self._head is None:
            await anext(self._pieces)
        return self._head

    def stream(self) -> AsyncGenerator[bytes]:
        """The body after the head, in pieces; one piece where it is not streamed. Raises CallError
        where the answer breaks off."""
        return self._pieces

    def to_api_error(self, error: CallError) -> ApiError:
        """The failure as the caller sees it, with the attempts."""
        records = error.attempts if isinstance(error, PlanFailed) else ()
        attempts = tuple(FailedAttempt(self._route_name(record), record) for record in records)
        provider = "" if isinstance(error, KeyReused) else self._model.provider_name
        return to_api_error(error, provider, attempts)

    async def _own_pieces(self) -> AsyncGenerator[bytes]:
        """The marker of the head, then the body, from the router's events."""
        request, serializer = self._request.chat, self._request.serializer
        answer = router.reads(self._call(), request, snapshot=self._snapshot)
        async with aclosing(answer) as reads:
            async for events in reads:
                piece = b""
                for event in events:
                    if isinstance(event, RouteTaken):
                        self._start(event)
                        if not request.non_streaming:
                            yield _HEAD
                    elif isinstance(event, Completed):
                        if event.error:
                            raise PlanFailed(event.error, event.attempts)
                        if request.non_streaming:
                            yield _HEAD
                        await self._request.before_end(event)
                        piece += serializer.finish(event)
                    elif not isinstance(event, AttemptStarted):
                        piece += serializer.serialize(event)
                if piece:
                    yield piece

    async def _shared_pieces(self) -> AsyncGenerator[bytes]:
        """The same, from one run for all requests with this key; its head is its first piece."""
        request = self._request
        caller = answer_cache.caller(request.caller.user_id, request.caller.key_id)
        body = request.path.encode() + b" " + request.body
        shared_run = single_flight.completion(caller, request.idempotency_key, body, self._run)
        async with aclosing(shared_run.pieces()) as pieces:
            headers = json.loads(await anext(pieces))
            self._head = Head(headers=headers | (NOT_HONOURED if shared_run.is_alone else {}))
            yield _HEAD
            async for piece in pieces:
                if not self._runs:
                    request.note_piece(piece)
                yield piece

    async def _run(self) -> AsyncGenerator[bytes]:
        """One run: the head as JSON, then the body."""
        self._runs = True
        async with aclosing(self._own_pieces()) as pieces:
            async for piece in pieces:
                yield piece or encode_json(self._head.headers if self._head else {})

    def _call(self) -> Call:
        request = self._request
        fallbacks = self._snapshot.names.fallbacks(request.model)
        return Call(
            provider_id=self._model.provider_id,
            model_id=self._model.model_id,
            purpose=Purpose.API,
            request_id=request.request_id,
            user_id=request.caller.user_id,
            client_key=request.caller.key_id,
            fallbacks=tuple([(model.provider_id, model.model_id) for model in fallbacks]),
            virtual=self._model.virtual,
            session=request.session,
        )

    def _start(self, taken: RouteTaken) -> None:
        """Fill in the head: the route is known now."""
        own_headers = self._request.serializer.start(taken)
        source = "earlier" if taken.is_cached else taken.method
        headers = {
            **own_headers,
            "x-route": f"{taken.provider_slug}/{source}",
            "x-attempts": str(taken.attempts),
            "x-overhead-ms": f"{self._queued_ms + taken.overhead_ms:.2f}",
        }
        if taken.member:
            headers["x-model"] = taken.member
        if taken.fallback or taken.member:
            headers["x-route-reason"] = " ".join(taken.reason.split())
        self._head = Head(headers=headers)

    def _route_name(self, record: AttemptRecord) -> str:
        """`provider/method`, with the name of a fallback provider where it made the attempt."""
        route = route_table.current().route(record.route_id)
        provider = self._snapshot.providers.get(route.provider_id) if route else None
        slug = provider.slug if provider else self._model.provider_slug
        return f"{slug}/{record.method}" if record.method else slug
