"""Execute one request: try the planned routes in order, retry at most once, record every attempt.

The executor only executes: which route comes next, whether to wait and when to give up is decided
by `providers.policy.next_step`, from values. Here are the claims, the waits, the calls and their
records. Until a route has given its first content a failure is answered by the next one, unseen but
recorded. From then on the route is kept, and a break is reported. Nothing here waits for the
database or for Redis before a call goes out, but where a half-open probe must be claimed.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial

from django.conf import settings
from django.utils import timezone

from providers.clients.answer_form import read_answer
from providers.domain.errors import CallError, ErrorKind, PlanFailed
from providers.domain.types import AttemptRecord, ChatRequest, Method, StreamEvent, Target
from providers.infra import metrics
from providers.models import Purpose, connection
from providers.policy import plan, reasons
from providers.policy.key_verdict import may_be_refused_key
from providers.policy.next_step import GiveUp, Progress, RetryAfter, Try, next_step
from providers.policy.plan import PlannedRoute
from providers.policy.route_state import Outcome, RouteState
from providers.router import breaker_rows, key_check
from providers.router.announcement import announce
from providers.router.attempt import AttemptTracker
from providers.router.call import Call
from providers.router.candidates import find_candidates
from providers.router.carriers import require_carrier, skip_routes
from providers.router.limits import ConcurrencyLimiter
from providers.router.results import Result, build_outcome
from providers.router.route_table import RouteTable
from providers.router.snapshot import Candidate, Snapshot, fresh
from providers.router.virtual_call import VirtualCall, plan_virtual
from providers.router.waits import Waits


class RouteExecutor:
    """One request: its plan, what was tried, what failed, what is left."""

    def __init__(
        self, table: RouteTable, call: Call, request: ChatRequest, announces: bool
    ) -> None:
        self.table = table
        self.call = call
        self.request = request
        self.announces = announces
        self.began = time.monotonic()
        self.deadline = self.began + settings.TIMEOUT_TOTAL
        self.rules = settings.ROUTING_RULES
        self.candidates: list[Candidate] = []  # the first, then its fallbacks, by place
        self.virtual: VirtualCall | None = None
        self.skipped = ""  # routes that cannot carry the request, with the reasons
        self.plan = plan.Plan(routes=(), preferred=Method.DIRECT)
        self.left: tuple[PlannedRoute, ...] = ()
        self.attempts: list[AttemptRecord] = []
        self.errors: list[CallError] = []
        self.waits = Waits(self.rules)
        self.unclaimed: set[int] = set()  # routes whose half-open probe another request has
        self.failed: PlannedRoute | None = None
        self.failed_at: datetime | None = None
        self.limiter: ConcurrencyLimiter | None = None  # of the key called last
        self.tracker: AttemptTracker | None = None
        self.answered = False
        self.refused: list[AttemptTracker] = []  # that may show that the key is not accepted

    async def begin(self, snapshot: Snapshot | None = None) -> None:
        """Make the plan from what this process has in memory: the snapshot, where there is one."""
        try:
            self.candidates = await self._find_candidates(snapshot or await self.table.ready())
            self._skip_routes()
            require_carrier(self.candidates, self.skipped)
        except CallError as error:
            self._record_nowhere(error)
            raise PlanFailed(error, ()) from error
        if not self.candidates:
            gone = CallError(ErrorKind.REQUEST, "This provider was removed or switched off.")
            raise PlanFailed(gone, ())
        self.plan = self.table.plan(self.candidates[0], timezone.now(), self._fallbacks())
        self.left = self.plan.routes
        self.table.budget.earn()

    async def _find_candidates(self, snapshot: Snapshot) -> list[Candidate]:
        """The provider that is called and its fallbacks, or the members of a virtual model."""
        if self.call.virtual is None:
            return await find_candidates(self.table, snapshot, self.call)
        self.virtual = await plan_virtual(
            self.table, self.call, self.call.virtual, self.request, timezone.now()
        )
        return self.virtual.candidates

    def _skip_routes(self) -> None:
        """Leave out the routes that cannot carry the request."""
        self.skipped = skip_routes(self.table, self.candidates, self.request)

    def _fallbacks(self) -> tuple[plan.FallbackProvider, ...]:
        return tuple(
            [
                plan.FallbackProvider(name=each.name, policy=each.policy, routes=each.routes)
                for each in self.candidates[1:]
            ]
        )

    # Choosing

    async def next_route(self) -> PlannedRoute:
        """The route to call next, its half-open probe claimed where it is a trial.

        Raises PlanFailed where none is left.
        """
        if self.attempts:
            await self._refresh_routes()
        while True:
            step = next_step(self._progress(), timezone.now(), self.rules)
            if isinstance(step, GiveUp):
                self._record_nowhere(step.error)
                raise PlanFailed(step.error, tuple(self.attempts))
            if isinstance(step, RetryAfter):
                await self._wait(step)
            elif claimed := await self._claim(step):
                return claimed

    def _progress(self) -> Progress:
        """What this request has done, and what it can see now."""
        candidate, failed = self.candidates[0], self.failed
        remaining = self._remaining()
        return Progress(
            plan=self.plan,
            policy=candidate.policy,
            fresh=fresh(),
            routes=candidate.routes,
            left=self.left,
            attempts=self.attempts,
            errors=self.errors,
            failed=failed,
            failed_route=self._current_route(failed) if failed else None,
            failed_at=self.failed_at,
            unclaimed=self.unclaimed,
            retry_budget=self.table.budget.left,
            # Of interest only where no route is planned.
            last_resort_in=0 if self.left else self.table.last_resort_in(candidate.provider_id),
            seconds_left=remaining,
            waited=self.waits.seconds,
            wait_left=self.waits.seconds_left(remaining),
            key_pause=self.limiter.seconds_to_wait if self.limiter else 0.0,
            repeats=self.waits.repeats,
            jitter=self.waits.jitter,
            windows=self.virtual.windows if self.virtual else None,
        )

    def _current_route(self, step: PlannedRoute) -> RouteState | None:
        model_id = self.candidates[step.place].model_id
        return self.table.route(step.route.route_id, model_id)

    async def _refresh_routes(self) -> None:
        """Read the candidates' routes as results have left them; of one that is gone, none."""
        for place, former in enumerate(self.candidates):
            current = await self.table.candidate(former.provider_id, former.model_id)
            self.candidates[place] = current or replace(former, routes=())
        self._skip_routes()

    async def _wait(self, step: RetryAfter) -> None:
        """Wait. After a cooldown the routes are planned again: all of them where none was called,
        else those of the provider, as its fallbacks have failed."""
        if step.cooldown is None:
            await asyncio.sleep(step.seconds)
            return
        candidate = self.candidates[0]
        limiter = self.table.gate(candidate, self.table.target(candidate, step.cooldown))
        if not await self.waits.wait_out(limiter, step.seconds):
            return
        await self._refresh_routes()
        others = () if self.attempts else self._fallbacks()
        candidate = self.candidates[0]
        self.plan = self.table.plan(candidate, timezone.now(), others)
        self.left, self.failed = self.plan.routes, None
        self.unclaimed.clear()

    async def _claim(self, step: Try) -> PlannedRoute | None:
        """The route to call; None where another request has its half-open probe."""
        planned, self.left = step.route, step.left
        if step.is_retry:
            self.table.budget.spend()
        if step.early:
            self.table.take_last_resort(self.candidates[0].provider_id)
        if planned.trial:
            model_id = self.candidates[planned.place].model_id
            route = await self.table.claim(planned.route, model_id, early=step.early)
            if route is None:
                self.unclaimed.add(planned.route.route_id)
                return None
            planned = replace(planned, route=route, trial=not route.is_closed)
        self.waits.repeats += step.is_repeat
        if self.errors and not (step.is_repeat or step.is_retry):
            metrics.count_fallback(self.errors[-1].kind.value)
        self.unclaimed.clear()
        return planned

    def _record_nowhere(self, error: CallError) -> None:
        """Record a request for which no call went out: nothing is silent."""
        if self.attempts:
            return
        self.errors.append(error)
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
        tracker = self.tracker = self._track(step)
        held: list[StreamEvent] = []  # of an answer in one piece, until it is complete
        limiter = self.limiter = self.table.gate(tracker.candidate, tracker.target)
        turn, queued_at, left = 0, time.monotonic(), self._remaining()
        pause = self.waits.pause(left, elsewhere=self._has_other_key(step))
        try:
            async with limiter.slot(self.waits.seconds_left(left), pause) as turn:
                self.waits.seconds += time.monotonic() - queued_at
                tracker.start(self.began, self.attempts)
                if self.announces:
                    yield [announce(tracker, self._following(), self.candidates, self.attempts)]
                async with aclosing(read_answer(tracker.target, self.request)) as reads:
                    async for events in reads:
                        if shown := tracker.take(events):
                            if self.request.non_streaming:
                                held += shown
                                continue
                            yield shown
                            self._decide_probe(step, tracker)
        except CallError as error:
            tracker.error = error
            if error.kind == ErrorKind.RATE_LIMIT and tracker.called:
                limiter.on_throttled(turn, error.retry_after)
        except BaseException:
            # The reader left, pressed Stop, or the process ends: no verdict on the route.
            tracker.outcome = ErrorKind.STOPPED
            self._record(tracker)
            raise
        else:
            limiter.on_success(turn)
        self.answered = tracker.has_shown_content or tracker.error is None
        self._record(tracker)
        if self.answered:
            self._remember_member(step, tracker)
            yield [*held, tracker.build_completed(self.attempts)]
        else:
            self.failed, self.failed_at = step, timezone.now()

    def _remember_member(self, step: PlannedRoute, tracker: AttemptTracker) -> None:
        """The conversation stays with the member that has answered it; not where it broke off."""
        if self.virtual and tracker.error is None:
            self.table.choices.note_answer(
                self.virtual.members[step.place].key, tracker.ttft_ms, self.virtual.conversation
            )

    def _decide_probe(self, step: PlannedRoute, tracker: AttemptTracker) -> None:
        """A half-open probe is decided by its first content: others need not wait for its last."""
        if not step.trial or tracker.judged:
            return
        self.table.settle(self._outcome_of(tracker.record(), tracker))
        tracker.judged = True

    def _record(self, tracker: AttemptTracker) -> None:
        for lost in tracker.lost:
            self.attempts.append(lost)
            self._settle(lost, tracker)
        record = tracker.record()
        self.attempts.append(record)
        if tracker.error:
            self.errors.append(tracker.error)
            if may_be_refused_key(tracker.error):
                self.refused.append(tracker)
        self._settle(record, tracker)

    def _settle(self, record: AttemptRecord, tracker: AttemptTracker | None) -> None:
        call = self.call
        judges = tracker and not tracker.judged and record not in tracker.lost
        self.table.settle(
            Result(
                provider_id=tracker.candidate.provider_id if tracker else call.provider_id,
                model_id=tracker.candidate.model_id if tracker else call.model_id,
                attempt=record,
                purpose=call.purpose,
                request_id=call.request_id,
                outcome=self._verdict(record, tracker) if tracker and judges else None,
                user_id=call.user_id,
                client_key=call.client_key,
            )
        )

    def _verdict(self, record: AttemptRecord, tracker: AttemptTracker) -> Outcome | None:
        """What the attempt showed of its route. A probe that never went out is released."""
        if tracker.called:
            return self._outcome_of(record, tracker)
        if tracker.route.is_closed:
            return None
        return breaker_rows.release_probe(tracker.route, tracker.candidate.model_id)

    def _outcome_of(self, record: AttemptRecord, tracker: AttemptTracker) -> Outcome:
        return build_outcome(
            record,
            tracker.route,
            tracker.candidate.model_id,
            self.call.purpose,
            tracker.error,
        )

    def _remaining(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _has_other_key(self, step: PlannedRoute) -> bool:
        """Whether a route with another key is left to try."""
        keys = {(each.place, each.route.key) for each in self.left}
        return not keys <= {(step.place, step.route.key)}

    def finish(self) -> None:
        """Count the ended request, and check the key where it may have been refused."""
        for tracker in self.refused:
            key_check.start(self.table, tracker)
        answered = (
            self.tracker
            if self.tracker and (self.answered or self.tracker.has_shown_content)
            else None
        )
        seconds = time.monotonic() - self.began
        figures = answered.figures() if answered else {}
        outcome = self._outcome(answered)
        metrics.count_later(
            partial(metrics.count_request, self.call.purpose, outcome, seconds, **figures)
        )

    def _outcome(self, answered: AttemptTracker | None) -> str:
        if answered:
            return answered.error.kind.value if answered.error else answered.outcome
        return plan.most_useful(self.errors).kind if self.errors else ErrorKind.STOPPED

    def _track(self, step: PlannedRoute) -> AttemptTracker:
        candidate = self.candidates[step.place]
        return AttemptTracker(
            candidate=candidate,
            route=step.route,
            target=self._target(candidate, step.route),
            reason=self._reason(step),
            fallback=self._is_fallback(step),
            member=self.virtual.members[step.place].name if self.virtual else "",
            position=len(self.attempts) + 1,
            request=self.request,
            # What passes beside another request's probe has no say in it.
            judged=not step.trial and not step.route.is_closed,
        )

    def _is_fallback(self, step: PlannedRoute) -> bool:
        """Whether this is not what the settings prefer."""
        if self.errors or (self.virtual and self.virtual.is_fallback):
            return True
        return step.place > 0 or step.route.method != self.plan.preferred

    def _reason(self, step: PlannedRoute) -> str:
        virtual = self.virtual
        if virtual and (reason := virtual.describe_step(step, self.failed, self.attempts)):
            return reason
        others = [a for a in self.attempts if a.route_id != step.route.route_id]
        if others:
            return plan.fallback_reason(step, others[-1])
        if not self.errors:
            return f"{step.reason}; {self.skipped}" if self.skipped else step.reason
        return f"{step.route.method}: tried again after a {reasons.words(self.errors[-1].kind)}"

    def _following(self) -> tuple[PlannedRoute, ...]:
        """The routes that may follow the attempt under way."""
        tries = len(self.attempts) - self.waits.repeats
        return self.left if tries + 1 < self.rules.max_attempts else ()

    def _target(self, candidate: Candidate, route: RouteState) -> Target:
        """Where this attempt goes, with its time-outs; the first one has all the time there is."""
        target = self.table.target(candidate, route, last=not self._following())
        if self.call.purpose == Purpose.CHAT:  # a page shows reasoning apart, whoever sent it
            target = replace(target, splits_reasoning=True)
        return (
            connection.capped_at(target, max(1.0, self._remaining())) if self.attempts else target
        )
