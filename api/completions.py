"""Chat completions over `router.stream`: a request in, the answer's head and its pieces out.

`answer` is the one place where an answer's bytes are made. It says nothing before the first
content, so that until then a route that fails is replaced unseen.
"""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from api import naming
from api.answers import Chunks, Whole
from api.asked import Asked
from api.errors import Refused, Tried, refusal
from api.keys import Caller
from providers import board, router
from providers.errors import CallError, PlanFailed
from providers.models import Purpose
from providers.router import Call
from providers.snapshot import Served, Snapshot
from providers.types import AttemptRecord, Completed, RouteTaken


@dataclass(frozen=True, slots=True)
class Head:
    """What is told of an answer before its first piece."""

    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that was understood. `arrived` is when, on the monotonic clock."""

    asked: Asked
    caller: Caller
    request_id: UUID
    arrived: float


async def answer(question: Question) -> AsyncGenerator[Head | bytes]:
    """The head, then the body's pieces. Raises Refused, in mid-answer too.

    Closing it closes the provider's connection. Raises django.db.Error where the providers were
    never read.
    """
    known = await board.current().ready()
    served = naming.served(known, question.asked.model)
    telling = _Telling(question, known, served)
    async with aclosing(router.stream(_call(question, served), question.asked.request)) as events:
        try:
            async for event in events:
                if isinstance(event, RouteTaken):
                    telling.begin(event)
                    if question.asked.stream:
                        yield telling.head
                elif isinstance(event, Completed):
                    if event.error:
                        raise telling.refused(event.error, event.attempts)
                    if not question.asked.stream:
                        yield telling.head
                    yield telling.form.end(event)
                elif piece := telling.form.take(event):
                    yield piece
        except PlanFailed as failed:
            raise telling.refused(failed, failed.attempts) from failed


def _call(question: Question, served: Served) -> Call:
    return Call(
        provider_id=served.provider_id,
        model_id=served.model_id,
        purpose=Purpose.API,
        request_id=question.request_id,
        user_id=question.caller.user_id,
        client_key=question.caller.key_id,
    )


class _Telling:
    """One answer as it is told: in which form, by whom, or why there is none."""

    def __init__(self, question: Question, known: Snapshot, served: Served) -> None:
        self._known = known
        self._served = served
        self._before = (time.monotonic() - question.arrived) * 1000
        answer_id, created = f"chatcmpl-{question.request_id.hex}", int(time.time())
        self.head = Head()
        self.form: Chunks | Whole = Whole(answer_id, created)
        if question.asked.stream:
            self.form = Chunks(answer_id, created, usage=question.asked.include_usage)

    def begin(self, taken: RouteTaken) -> None:
        """Whoever answers is known now."""
        self.form.begin(taken.model)
        self.head = Head(
            {
                "x-route": f"{taken.provider_slug}/{taken.method}",
                "x-attempts": str(taken.attempts),
                "x-overhead-ms": f"{self._before + taken.overhead_ms:.2f}",
            }
        )

    def refused(self, error: CallError, attempts: Iterable[AttemptRecord]) -> Refused:
        """The error as the caller is told it, with what was tried."""
        tried = tuple(Tried(self._route(record), record) for record in attempts)
        return refusal(error, self._served.provider_name, tried)

    def _route(self, record: AttemptRecord) -> str:
        """`provider/method`; of an alternative provider it has that one's name."""
        route = board.current().route(record.route_id)
        provider = self._known.providers.get(route.provider_id) if route else None
        slug = provider.slug if provider else self._served.provider_slug
        return f"{slug}/{record.method}" if record.method else slug
