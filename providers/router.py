"""Walk the plan: claim, call, record, and fall back before the first token. Never after it.

The caller sees nothing until a route has given its first content: until then a failure is answered
by the next route, unseen but recorded. From then on the route is kept, and a break is told.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from providers import breaker, database, direct, gateway, records, routing
from providers.errors import CallError, ErrorKind, PlanFailed
from providers.models import Purpose
from providers.types import (
    AttemptRecord,
    ChatRequest,
    ClientEvent,
    Completed,
    Finish,
    Method,
    ReasoningDelta,
    RouteTaken,
    StreamEvent,
    Target,
    TextDelta,
    Usage,
    UsageReport,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who is asked for what, and on whose behalf."""

    provider_id: int
    model_id: str
    purpose: Purpose
    request_id: UUID


def client(target: Target, request: ChatRequest) -> AsyncGenerator[ClientEvent]:
    """The road of a target."""
    if target.method == Method.DIRECT:
        return direct.stream(target, request)
    return gateway.stream(target, request)


async def stream(call: Call, request: ChatRequest) -> AsyncGenerator[StreamEvent]:
    """RouteTaken, then the provider's events, then Completed; PlanFailed where no route answered.

    Closing the generator closes the upstream's connection and records the attempt as stopped.
    """
    candidate = await database.run(records.load, call.provider_id, call.model_id)
    if candidate is None:
        gone = CallError(ErrorKind.REQUEST, "This provider was removed or switched off.")
        raise PlanFailed(gone, ())
    walk = _Walk(call, candidate, request)
    while (step := await walk.next()) is not None:
        async with aclosing(walk.attempt(step)) as events:
            async for event in events:
                yield event
        if walk.answered:
            return
    raise PlanFailed(routing.most_useful(walk.errors), tuple(walk.attempts))


class _Walk:
    """One request's way along its plan: what was tried, what failed, what is left."""

    def __init__(self, call: Call, candidate: records.Candidate, request: ChatRequest) -> None:
        self.call = call
        self.candidate = candidate
        self.request = request
        self.deadline = time.monotonic() + settings.TIMEOUT_TOTAL
        self.attempts: list[AttemptRecord] = []
        self.errors: list[CallError] = []
        self.answered = False
        plan = routing.plan(
            candidate.policy,
            candidate.routes,
            timezone.now(),
            timedelta(seconds=settings.ROUTING_FRESH),
        )
        self.preferred = plan.preferred
        self.left = list(plan.routes)
        self.failed: routing.PlannedRoute | None = None
        if not self.left:
            problem = "No route to this provider is allowed by its settings."
            self.errors.append(CallError(ErrorKind.REQUEST, problem))

    async def next(self) -> routing.PlannedRoute | None:
        """The next route that is worth trying, its trial claimed where its breaker is open."""
        if self._repeats():
            return self.failed
        while self.left:
            step = self.left.pop(0)
            if self.failed and not routing.may_help(self.errors[-1], self.failed.route, step.route):
                continue
            if claimed := await self._claimed(step):
                return claimed
        return None

    def _repeats(self) -> bool:
        return (
            self.failed is not None
            and len(self.attempts) < routing.MAX_ATTEMPTS - 1
            and not any(a.route_id == self.failed.route.route_id for a in self.attempts[:-1])
            and routing.may_repeat(self.errors[-1])
        )

    async def _claimed(self, step: routing.PlannedRoute) -> routing.PlannedRoute | None:
        if not step.trial:
            return step
        trial = await database.run(records.claim_trial, step.route, timezone.now())
        if trial is None:
            # Another process has the trial. Only where nothing else is left it goes out too.
            return step if not self.left and not self.attempts else None
        return replace(step, route=replace(step.route, breaker=trial))

    def reason(self, step: routing.PlannedRoute) -> str:
        earlier = [a for a in self.attempts if a.route_id != step.route.route_id]
        return routing.fallback_reason(step, earlier[-1]) if earlier else step.reason

    async def attempt(self, step: routing.PlannedRoute) -> AsyncGenerator[StreamEvent]:
        """One call over one route; whatever its end, it is recorded."""
        tally = _Tally(self, step)
        try:
            async with aclosing(client(tally.target, self.request)) as events:
                async for event in events:
                    if taken := tally.count(event):
                        self.answered = True
                        yield taken
                    yield event
        except CallError as error:
            tally.error = error
        except BaseException:
            # The reader left, pressed Stop, or the process ends: no verdict on the route.
            tally.outcome = ErrorKind.STOPPED
            await self._keep(tally)
            raise
        self.answered = self.answered or tally.error is None
        await self._keep(tally)
        if self.answered:
            yield tally.completed()
        else:
            self.failed = step

    async def _keep(self, tally: "_Tally") -> None:
        """Stores the attempt. Answers matter more than their record: a lost database loses it."""
        record = tally.record()
        self.attempts.append(record)
        if tally.error:
            self.errors.append(tally.error)
        result = records.Result(
            candidate=self.candidate,
            attempt=record,
            purpose=self.call.purpose,
            request_id=self.call.request_id,
            breaker=tally.breaker,
            error=tally.error,
        )
        try:
            await database.run(records.record, result)
        except DatabaseError as exc:
            log.warning("attempt_not_recorded request=%s %s", self.call.request_id, exc)


class _Tally:
    """What is counted during one attempt: time to first token, usage, how it ended."""

    def __init__(self, walk: _Walk, step: routing.PlannedRoute) -> None:
        self.walk = walk
        self.route = step.route
        self.breaker: breaker.Breaker = step.route.breaker
        self.reason = walk.reason(step)
        remaining = max(1.0, walk.deadline - time.monotonic())
        self.target = records.patient(
            walk.candidate.targets[step.route.route_id], last=not walk.left, remaining=remaining
        )
        self.began = time.monotonic()
        self.started_at = timezone.now()
        self.ttft_ms: int | None = None
        self.usage: Usage | None = None
        self.characters = 0
        self.finish_reason = ""
        self.outcome = "ok"
        self.error: CallError | None = None

    def count(self, event: ClientEvent) -> RouteTaken | None:
        """Takes note of an event; the first with content returns what is to be told before it."""
        if isinstance(event, UsageReport):
            self.usage = event.usage
            return None
        if isinstance(event, Finish):
            self.finish_reason = event.reason
            return None
        if isinstance(event, TextDelta | ReasoningDelta):
            self.characters += len(event.text)
        if self.ttft_ms is not None:
            return None
        self.ttft_ms = self._elapsed_ms()
        return RouteTaken(
            route_id=self.route.route_id,
            method=self.route.method,
            provider_name=self.walk.candidate.name,
            model=self.target.model,
            reason=self.reason,
            fallback=self.route.method != self.walk.preferred or bool(self.walk.errors),
            ttft_ms=self.ttft_ms,
        )

    def record(self) -> AttemptRecord:
        error, usage = self.error, self._usage()
        return AttemptRecord(
            route_id=self.route.route_id,
            method=self.route.method,
            endpoint=self.route.endpoint,
            outcome=error.kind.value if error else self.outcome,
            reason=self.reason,
            started_at=self.started_at,
            duration_ms=self._elapsed_ms(),
            ttft_ms=self.ttft_ms,
            status=error.status if error else None,
            error_code=error.code if error else "",
            error_message=error.message if error else "",
            usage=usage,
            cost=self.walk.candidate.prices.cost(usage) if usage else None,
        )

    def completed(self) -> Completed:
        last = self.walk.attempts[-1]
        return Completed(
            attempts=tuple(self.walk.attempts),
            usage=last.usage or Usage(),
            cost=last.cost,
            finish_reason=self.finish_reason,
            error=self.error,
        )

    def _usage(self) -> Usage | None:
        """What the provider reported, else an estimate where anything was answered at all."""
        if self.usage or self.ttft_ms is None:
            return self.usage
        asked = sum(len(str(message.content)) for message in self.walk.request.messages)
        return records.estimated_usage(asked, self.characters)

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)
