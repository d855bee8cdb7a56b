"""Chat completions over `router.reads`: a request in, the answer's head and its pieces out.

`_made` is the one place where an answer's bytes are made. It says nothing before the first
content, so that until then a route that fails is replaced unseen.
"""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from api import model_resolver
from api.errors import ApiError, FailedAttempt, refusal
from api.keys import Caller
from api.openai_response import Chunks, Whole
from api.request_parser import ParsedRequest
from providers.domain.errors import CallError, KeyReused, PlanFailed
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord, AttemptStarted, Completed, RouteTaken
from providers.infra import single_flight
from providers.models import Purpose
from providers.protocols.openai_chat import encode_json
from providers.router import answer_cache, route_table, router
from providers.router.call import Call
from providers.router.snapshot import Served, Snapshot

# Redis was away: other processes, and later requests, do not know of this answer.
NOT_HONOURED = {"x-idempotency-key": "not-honoured"}


@dataclass(frozen=True, slots=True)
class Head:
    """The headers that tell who answers; they come before the first piece."""

    headers: dict[str, str] = field(default_factory=dict)


@frozen
class CompletionRequest:
    """A request that was understood. `arrived` is when, on the monotonic clock.

    `key`: its Idempotency-Key, under which the same answer is given again.
    """

    asked: ParsedRequest
    caller: Caller
    request_id: UUID
    arrived: float
    body: bytes = field(repr=False)
    key: str = ""


async def telling(question: CompletionRequest) -> "Completion":
    """How the question will be answered. Raises ApiError where no model of that name is known,
    and django.db.Error where the providers were never read."""
    known = await route_table.current().ready_for(question.asked.model)
    return Completion(question, known, model_resolver.served(known, question.asked.model))


async def _made(question: CompletionRequest, telling: "Completion") -> AsyncGenerator[Head | bytes]:
    """One answer by whoever answers. Raises CallError: PlanFailed, with what was tried."""
    whole, form = question.asked.request.whole, telling.form
    async with aclosing(router.reads(telling.call, question.asked.request)) as reads:
        async for events in reads:
            said = b""
            for event in events:
                if isinstance(event, RouteTaken):
                    telling.begin(event)
                    if not whole:
                        yield telling.head
                elif isinstance(event, Completed):
                    if event.error:
                        raise PlanFailed(event.error, event.attempts)
                    if whole:
                        yield telling.head
                    said += form.end(event)
                elif not isinstance(event, AttemptStarted):
                    said += form.take(event)
            if said:
                yield said


async def _shared(
    question: CompletionRequest, telling: "Completion"
) -> AsyncGenerator[Head | bytes]:
    """The one answer of all who ask the same with the same key; its head is its first piece."""
    caller = answer_cache.caller(question.caller.user_id, question.caller.key_id)

    async def run() -> AsyncGenerator[bytes]:
        async with aclosing(_made(question, telling)) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, bytes) else encode_json(piece.headers)

    head = None
    flight = single_flight.completion(caller, question.key, question.body, run)
    async with aclosing(flight.pieces()) as pieces:
        async for piece in pieces:
            if head is None:
                head = Head(json.loads(piece) | (NOT_HONOURED if flight.is_alone else {}))
                yield head
            else:
                yield piece


class Completion:
    """One answer as it is told: in which form, by whom, or why there is none."""

    def __init__(self, question: CompletionRequest, known: Snapshot, served: Served) -> None:
        self._question = question
        self._known = known
        self._served = served
        self._before = (time.monotonic() - question.arrived) * 1000
        self.call = Call(
            provider_id=served.provider_id,
            model_id=served.model_id,
            purpose=Purpose.API,
            request_id=question.request_id,
            user_id=question.caller.user_id,
            client_key=question.caller.key_id,
            fallbacks=tuple(
                (each.provider_id, each.model_id)
                for each in known.names.fallbacks(question.asked.model)
            ),
        )
        answer_id, created = f"chatcmpl-{question.request_id.hex}", int(time.time())
        self.head = Head()
        self.form: Chunks | Whole = Whole(answer_id, created)
        if question.asked.stream:
            self.form = Chunks(answer_id, created, usage=question.asked.include_usage)

    def pieces(self) -> AsyncGenerator[Head | bytes]:
        """The head, then the body's pieces. Raises CallError, in mid-answer too.

        Closing it closes the provider's connection.
        """
        if self._question.key:
            return _shared(self._question, self)
        return _made(self._question, self)

    def begin(self, taken: RouteTaken) -> None:
        """Whoever answers is known now."""
        self.form.begin(taken.model, taken.reason if taken.earlier else "")
        road = "earlier" if taken.earlier else taken.method
        headers = {
            "x-route": f"{taken.provider_slug}/{road}",
            "x-attempts": str(taken.attempts),
            "x-overhead-ms": f"{self._before + taken.overhead_ms:.2f}",
        }
        if taken.fallback:
            headers["x-route-reason"] = " ".join(taken.reason.split())
        self.head = Head(headers)

    def refused(self, error: CallError) -> ApiError:
        """The error as the caller is told it, with what was tried."""
        records = error.attempts if isinstance(error, PlanFailed) else ()
        tried = tuple(FailedAttempt(self._route(record), record) for record in records)
        by_us = isinstance(error, KeyReused)
        return refusal(error, "" if by_us else self._served.provider_name, tried)

    def _route(self, record: AttemptRecord) -> str:
        """`provider/method`; of an alternative provider it has that one's name."""
        route = route_table.current().route(record.route_id)
        provider = self._known.providers.get(route.provider_id) if route else None
        slug = provider.slug if provider else self._served.provider_slug
        return f"{slug}/{record.method}" if record.method else slug
