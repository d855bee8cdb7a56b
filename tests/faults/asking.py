"""One request through the router, and all that is left of it: the text, its end, the rows."""

import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from providers.clients import http
from providers.domain.errors import ErrorKind, PlanFailed
from providers.domain.types import ChatMessage, ChatRequest, Completed, RouteTaken, TextDelta
from providers.models import Attempt, Breaker, Provider, Purpose, Route
from providers.router import route_table, router
from providers.router.call import Call
from tests import fakes

QUESTION = ChatRequest(messages=(ChatMessage(role="user", content=fakes.SIXTY),))
"""What echoes as the canonical text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSetup:
    """A provider's fields that lead to the fake upstream, and the route they make."""

    fields: dict[str, Any]
    method: str
    endpoint: str = ""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What the caller got: the text, the route that was named, and why it ended where it broke."""

    text: str = ""
    taken: RouteTaken | None = None
    completed: Completed | None = None
    failed: PlanFailed | None = None
    attempts: list[Attempt]
    routes: dict[tuple[str, str], Route]
    breakers: list[Breaker] = field(default_factory=list)  # of models and keys

    @property
    def kind(self) -> ErrorKind | None:
        """Why it is no whole answer; None where it is one."""
        broke = self.completed.error if self.completed else None
        error = self.failed or broke
        return error.kind if error else None

    def breaker(self, method: str, endpoint: str = "") -> Breaker | Route:
        """The breaker that the request moved: its route's, its model's or its key's."""
        rows: list[Breaker | Route] = [self.routes[method, endpoint], *self.breakers]
        return max(rows, key=lambda row: (row.state != "closed", row.consecutive_failures))

    @property
    def outcomes(self) -> list[str]:
        return [attempt.outcome for attempt in self.attempts]


def make_call(provider: Provider, model: str) -> Call:
    return Call(
        provider_id=provider.pk, model_id=model, purpose=Purpose.API, request_id=uuid.uuid4()
    )


async def complete(provider: Provider, model: str, request: ChatRequest = QUESTION) -> Answer:
    """Send one request, wait for its rows, and close what was opened."""
    call, answer = make_call(provider, model), Answer(attempts=[], routes={})
    try:
        await _listen(call, request, answer)
        await route_table.current().flush()
    finally:
        await route_table.close()
        await http.close()
    attempts = Attempt.objects.filter(request_id=call.request_id).order_by("position")
    answer.attempts = [attempt async for attempt in attempts]
    answer.routes = {(r.method, r.endpoint): r async for r in provider.routes.all()}
    answer.breakers = [row async for row in Breaker.objects.all()]
    return answer


async def listen(provider: Provider, model: str, request: ChatRequest = QUESTION) -> Answer:
    """Asks once, beside others: nothing is closed, and the rows are written later."""
    answer = Answer(attempts=[], routes={})
    await _listen(make_call(provider, model), request, answer)
    return answer


async def _listen(call: Call, request: ChatRequest, answer: Answer) -> None:
    async with aclosing(router.stream(call, request)) as events:
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    answer.text += event.text
                elif isinstance(event, RouteTaken):
                    answer.taken = event
                elif isinstance(event, Completed):
                    answer.completed = event
        except PlanFailed as failed:
            answer.failed = failed
