"""One request's way along its plan: claim, call, settle, take the next route, once more or none.

Until a route has given its first content a failure is answered by the next one, unseen but
recorded. From then on the route is kept, and a break is told. Nothing here waits for the database
or for Redis before a call goes out, but where a trial must be claimed.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from django.conf import settings
from django.utils import timezone

from providers.clients.answer_form import read_answer
from providers.domain.errors import MODERATED, CallError, ErrorKind, PlanFailed
from providers.domain.types import (
    RESENT_CODES,
    AttemptRecord,
    ChatRequest,
    Method,
    StreamEvent,
    Target,
)
from providers.infra import metrics
from providers.models import Purpose, connection
from providers.policy import plan, reasons, retries
from providers.policy.plan import PlannedRoute
from providers.policy.route_state import Outcome, RouteState
from providers.router import attempt_writer, breaker_rows, key_check
from providers.router.announcement import announce
from providers.router.attempt import AttemptTracker
from providers.router.call import Call
from providers.router.limits import ConcurrencyLimiter
from providers.router.route_table import RouteTable
from providers.router.snapshot import Candidate, fresh
from providers.router.waits import Waits


class RouteExecutor:
    """One request's way along its plan: what was tried, what failed, what is left."""

    def __init__(
        self, known: RouteTable, call: Call, request: ChatRequest, announces: bool
    ) -> None:
        self.board = known
        self.call = call
        self.request = request
        self.announces = announces
        self.began = time.monotonic()
        self.deadline = self.began + settings.TIMEOUT_TOTAL
        self.rules = settings.ROUTING_RULES
        self.candidates: dict[int, Candidate] = {}
        self.plan = plan.Plan(routes=(), preferred=Method.DIRECT)
        self.left: list[PlannedRoute] = []
        self.attempts: list[AttemptRecord] = []
        self.errors: list[CallError] = []
        self.waits = Waits(self.rules)
        self.failed: PlannedRoute | None = None
        self.gate: ConcurrencyLimiter | None = None
        self.tally: AttemptTracker | None = None
        self.answered = False
        self.refused: list[
            AttemptTracker
        ] = []  # attempts that may show that the key is not accepted

    async def begin(self) -> None:
        """Makes the plan from what this process knows."""
        known = await self.board.ready()
        asked = await self.board.candidate(self.call.provider_id, self.call.model_id)
        if asked is None:
            gone = CallError(ErrorKind.REQUEST, "This provider was removed or switched off.")
            raise PlanFailed(gone, ())
        self.candidates[asked.provider_id] = asked
        for pk, model_id in self.call.fallbacks:
            further = await self.board.candidate(pk, model_id)
            if further and pk not in self.candidates:
                self.candidates[pk] = further
        for other in asked.alternatives:
            if same := known.same_model(asked.model_id, other):
                stands_in = await self.board.candidate(other, same.model_id)
                if stands_in:
                    self.candidates.setdefault(other, stands_in)
        self.plan = asked.plan(timezone.now(), self._alternatives())
        self.left = list(self.plan.routes)
        self.board.budget.earn()

    def _alternatives(self) -> tuple[plan.Alternative, ...]:
        others = [c for pk, c in self.candidates.items() if pk != self.call.provider_id]
        return tuple(
            plan.Alternative(name=each.name, policy=each.policy, routes=each.routes)
            for each in others
        )

    # Choosing

    async def next(self) -> PlannedRoute:
        """The next route that is worth trying. Raises PlanFailed where there is none."""
        if step := await self._next():
            return step
        raise PlanFailed(plan.most_useful(self.errors), tuple(self.attempts))

    async def _next(self) -> PlannedRoute | None:
        """The same, its trial claimed where its breaker is open."""
        if self._tried >= self.rules.max_attempts:
            return None
        first = bool(self.errors) and retries.repeats_first(self.errors[-1])
        if first and (same := await self._again()):
            return same
        while self.left:
            step = self.left.pop(0)
            if self.failed and not plan.may_help(self.errors[-1], self.failed.route, step.route):
                continue
            if claimed := await self._claimed(step):
                if self.errors:
                    metrics.fallback(self.errors[-1].kind.value)
                return claimed
        return await self._repeated() if self.attempts else await self._last_resort()

    @property
    def _tried(self) -> int:
        """Attempts, but for those that went out again when their turn at a limited key came."""
        return len(self.attempts) - self.waits.repeats

    async def _claimed(self, step: PlannedRoute, *, early: bool = False) -> PlannedRoute | None:
        """The step with its half-open probes claimed, where it needs any."""
        if not step.trial:
            return step
        model_id = self.candidates[step.route.provider_id].model_id
        route = await self.board.claim(step.route, model_id, early=early)
        return replace(step, route=route, trial=not route.is_closed) if route else None

    async def _repeated(self) -> PlannedRoute | None:
        """The same route once more, where no other one can help: a moment later."""
        error = self.errors[-1]
        if error.kind == ErrorKind.RATE_LIMIT and error.sent:
            return await self._turn_again(error)
        wait = retries.repeat_after(error, self.rules)
        if wait is None or wait >= self._remaining() or not self._may_repeat():
            return None
        jitter = random.uniform(0, self.rules.repeat_within)  # noqa: S311 - not a secret
        await asyncio.sleep(wait + jitter)
        return await self._again()

    async def _turn_again(self, error: CallError) -> PlannedRoute | None:
        """A limited route when its turn comes; the queue paces these, so they cost no retry."""
        if error.retry_after:
            step = await self._after_cooldown()
        elif self.gate and self.waits.may_queue(error, self.gate, self._remaining()):
            step = await self._route_again()
        else:
            return None
        self.waits.repeats += step is not None
        return step

    async def _after_cooldown(self) -> PlannedRoute | None:
        """A route of the provider after its key's cooldown; None where waiting does not help."""
        while found := await self._cooldown():
            if not await self.waits.wait_out(*found, self._remaining()):
                return None
            for step in self.candidates[self.call.provider_id].plan(timezone.now()).routes:
                if claimed := await self._claimed(step):
                    return claimed
        return None

    async def _cooldown(self) -> tuple[ConcurrencyLimiter, float] | None:
        """The queue of the limited key that is free first, and in how many seconds."""
        asked = await self.board.candidate(self.call.provider_id, self.call.model_id)
        now = timezone.now()
        allowed = plan.in_order(asked.policy, asked.routes, now, fresh()) if asked else []
        limited = retries.limited(allowed, now)
        if not asked or not limited:
            return None
        self.candidates[asked.provider_id] = asked
        route, seconds = limited
        return self.board.gate(asked, asked.target(route)), seconds

    def _may_repeat(self) -> bool:
        """Whether the route that failed was tried only once, and there is a retry to spend."""
        if self.failed is None or self.failed.trial:
            return False
        route = self.failed.route.route_id
        tried = sum(a.route_id == route and a.error_code not in RESENT_CODES for a in self.attempts)
        return tried < 2 and self.board.budget.left >= 1

    async def _again(self) -> PlannedRoute | None:
        """The route that failed, as it is now: it may be resting, or due for a trial."""
        return await self._route_again(paid=True) if self._may_repeat() else None

    async def _route_again(self, *, paid: bool = False) -> PlannedRoute | None:
        failed = self.failed
        if failed is None:
            return None
        model_id = self.candidates[failed.route.provider_id].model_id
        route = self.board.route(failed.route.route_id, model_id) or failed.route
        if not route.admits(timezone.now()):
            return None
        if paid and not self.board.budget.spend():
            return None
        return await self._claimed(replace(failed, route=route, trial=not route.is_closed))

    async def _last_resort(self) -> PlannedRoute | None:
        """Every route is in a cooldown, or its probe is somebody else's: one request a second goes
        out, and one that the rows let through, should this process's copy of them be behind."""
        early, soonest = self.plan.last_resort, self.plan.soonest
        if early and self.board.may_pass(self.call.provider_id):
            if claimed := await self._claimed(early, early=True):
                return claimed
        elif soonest and (due := await self._claimed(soonest)):
            return due
        if later := await self._after_cooldown():
            return later
        self.errors.append(self.plan.resting or plan.nowhere(self.plan))
        self._tell_nowhere()
        return None

    def _tell_nowhere(self) -> None:
        """A request that went nowhere is recorded too: nothing is silent."""
        error = self.errors[-1]
        self._settle(
            AttemptRecord(
                route_id=0,
                method=None,
                endpoint="",
                outcome=error.kind.value,
                reason=error.message,
                started_at=timezone.now(),
                duration_ms=round((time.monotonic() - self.began) * 1000),
                error_code=error.code,
                error_message=error.message,
            ),
            None,
        )

    # Calling

    async def attempt(self, step: PlannedRoute) -> AsyncGenerator[list[StreamEvent]]:
        """One call over one route; whatever its end, it is recorded."""
        tally = self.tally = self._tally(step)
        kept: list[StreamEvent] = []  # of a whole answer, which nobody sees before it is whole
        gate = self.gate = self.board.gate(tally.candidate, tally.target)
        turn, queued_at, left = 0, time.monotonic(), self._remaining()
        pause = self.waits.pause(left, elsewhere=self._is_elsewhere(step))
        try:
            async with gate.entered(self.waits.seconds_left(left), pause) as turn:
                self.waits.seconds += time.monotonic() - queued_at
                tally.start(self.began, self.attempts)
                if self.announces:
                    yield [announce(tally, self._left(), self.candidates, self.attempts)]
                async with aclosing(read_answer(tally.target, self.request)) as reads:
                    async for events in reads:
                        if shown := tally.take(events):
                            if self.request.whole:
                                kept += shown
                                continue
                            yield shown
                            self._prove(step, tally)
        except CallError as error:
            tally.error = error
            if error.kind == ErrorKind.RATE_LIMIT and tally.called:
                gate.on_throttled(turn, error.retry_after)
        except BaseException:
            # The reader left, pressed Stop, or the process ends: no verdict on the route.
            tally.outcome = ErrorKind.STOPPED
            self._keep(tally)
            raise
        else:
            gate.on_success(turn)
        self.answered = tally.told or tally.error is None
        self._keep(tally)
        if self.answered:
            yield [*kept, tally.completed(self.attempts)]
        else:
            self.failed = step

    def _prove(self, step: PlannedRoute, tally: AttemptTracker) -> None:
        """A trial is decided by its first content: others need not wait for its last."""
        if not step.trial or tally.judged:
            return
        seen = self._evidence(tally.record(), tally)
        self.board.settle(seen)
        tally.judged = True

    def _keep(self, tally: AttemptTracker) -> None:
        for lost in tally.lost:
            self.attempts.append(lost)
            self._settle(lost, tally)
        record = tally.record()
        self.attempts.append(record)
        if tally.error:
            self.errors.append(tally.error)
            if tally.error.kind in key_check.REFUSED and tally.error.code != MODERATED:
                self.refused.append(tally)
        self._settle(record, tally)

    def _settle(self, record: AttemptRecord, tally: AttemptTracker | None) -> None:
        call = self.call
        judges = tally and not tally.judged and record not in tally.lost
        seen = self._shown(record, tally) if tally and judges else None
        self.board.settle(
            attempt_writer.Result(
                provider_id=tally.candidate.provider_id if tally else call.provider_id,
                model_id=tally.candidate.model_id if tally else call.model_id,
                attempt=record,
                purpose=call.purpose,
                request_id=call.request_id,
                evidence=seen,
                user_id=call.user_id,
                client_key=call.client_key,
            )
        )

    def _shown(self, record: AttemptRecord, tally: AttemptTracker) -> Outcome | None:
        """What the attempt showed of its route. A trial that never went out is free again."""
        if tally.called:
            return self._evidence(record, tally)
        if tally.route.is_closed:
            return None
        return breaker_rows.release_probe(tally.route, tally.candidate.model_id)

    def _evidence(self, record: AttemptRecord, tally: AttemptTracker) -> Outcome:
        return attempt_writer.evidence(
            record,
            tally.route,
            tally.candidate.model_id,
            self.call.purpose,
            tally.error,
        )

    def _remaining(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _is_elsewhere(self, step: PlannedRoute) -> bool:
        """Whether a route with another key is left to try."""
        return any(
            other.route.provider_id != step.route.provider_id or other.route.key != step.route.key
            for other in self.left
        )

    def count(self) -> None:
        """Counts the ended request, and checks the key where it may have been refused."""
        for tally in self.refused:
            key_check.start(self.board, tally.candidate, tally.route)
        answered = self.tally if self.tally and (self.answered or self.tally.told) else None
        seconds = time.monotonic() - self.began
        figures = answered.figures() if answered else {}
        outcome = self._outcome(answered)
        metrics.tell_later(partial(metrics.request, self.call.purpose, outcome, seconds, **figures))

    def _outcome(self, answered: AttemptTracker | None) -> str:
        if answered:
            return answered.error.kind.value if answered.error else answered.outcome
        return plan.most_useful(self.errors).kind if self.errors else ErrorKind.STOPPED

    def _tally(self, step: PlannedRoute) -> AttemptTracker:
        candidate = self.candidates[step.route.provider_id]
        earlier = [a for a in self.attempts if a.route_id != step.route.route_id]
        return AttemptTracker(
            candidate=candidate,
            route=step.route,
            target=self._target(candidate, step.route),
            reason=self._reason(step, earlier),
            fallback=step.route.method != self.plan.preferred or bool(self.errors),
            position=len(self.attempts) + 1,
            request=self.request,
            # What passes beside another's trial has no say in it.
            judged=not step.trial and not step.route.is_closed,
        )

    def _reason(self, step: PlannedRoute, earlier: list[AttemptRecord]) -> str:
        if earlier:
            return plan.fallback_reason(step, earlier[-1])
        if not self.errors:
            return step.reason
        return f"{step.route.method}: tried again after a {reasons.words(self.errors[-1].kind)}"

    def _left(self) -> list[PlannedRoute]:
        """The routes that may follow the attempt under way."""
        return self.left if self._tried + 1 < self.rules.max_attempts else []

    def _target(self, candidate: Candidate, route: RouteState) -> Target:
        """Where this attempt goes, and how patiently; the first one has all the time there is."""
        target = candidate.target(route, last=not self._left())
        if self.call.purpose == Purpose.CHAT:  # a page shows reasoning apart, whoever sent it
            target = replace(target, splits_reasoning=True)
        return connection.within(target, max(1.0, self._remaining())) if self.attempts else target
