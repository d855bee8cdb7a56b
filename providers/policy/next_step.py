"""What a request does next: call a route, wait and decide again, or give up. No I/O.

All rules of fallback, retry and waiting are in this one function, so that they can be read in order
and tested without a socket or a clock. The executor calls it after every attempt, every refused
claim and every wait, and only carries out the answer. The first rule that applies decides:

    the attempts are used up                               give up
    the last call never left, and once more may help       the same route, at once
    a planned route is left that may help                  that route
    the last error is a 429 with a wait                    wait for it, then the provider's routes
    the last error is a 429 without one                    the same route, in the queue of its key
    the last error passes by itself (500, overload)        the same route once more, a moment later
    nothing was called, as every route is in a cooldown    the last resort, where it has its turn
    nothing was called, and the cooldown is a short limit  wait for it, then plan again
    nothing was called, and a half-open probe is near      wait for it, then plan again
    nothing was called, and no wait helps                  the first due route, if the rows allow it
    else                                                   give up

A half-open probe is near where it is under way, or a cooldown ends within the request's patience;
in the first seconds of an outage also the next call of the last resort. So a restart of an upstream
is not noticed, and in a long outage a caller hears of it at once. No wait ends before a stated
Retry-After: a key that is limited has no probe to wait for but the end of that time.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules
from providers.domain.types import RESENT_CODES, AttemptRecord
from providers.policy import retries
from providers.policy.plan import (
    Plan,
    PlannedRoute,
    Policy,
    in_order,
    may_help,
    most_useful,
    no_route_error,
)
from providers.policy.route_state import RouteState


@frozen
class Progress:
    """What one request has done so far, and what it can see now.

    `left`: the planned routes that are neither called nor passed over. `failed`: the one called
    last, None before the first call and after a new plan; `failed_route` is its route as it is now.
    `routes`: the provider's, as they are now. `unclaimed`: routes whose half-open probe another
    request has. `retry_budget`: retries that the process has left. `last_resort_in`: seconds until
    a call may go out although all routes are in a cooldown. `seconds_left`: until the deadline.
    `waited`: seconds in queues and cooldowns; `wait_left`: how many more it may wait there.
    `key_pause`: seconds until the key called last may be used again, infinite where waiting is
    hopeless. `repeats`: calls that were sent again after a 429. `jitter`: seconds, drawn for each
    wait. `windows`: the contexts of a virtual model's members, by the place of their routes.
    """

    plan: Plan
    policy: Policy
    fresh: timedelta
    routes: tuple[RouteState, ...] = ()
    left: tuple[PlannedRoute, ...] = ()
    attempts: Sequence[AttemptRecord] = ()
    errors: Sequence[CallError] = ()
    failed: PlannedRoute | None = None
    failed_route: RouteState | None = None
    failed_at: datetime | None = None
    unclaimed: Set[int] = frozenset()
    retry_budget: float = 0.0
    last_resort_in: float = 0.0
    seconds_left: float = 0.0
    waited: float = 0.0
    wait_left: float = 0.0
    key_pause: float = 0.0
    repeats: int = 0
    jitter: float = 0.0
    windows: Sequence[int | None] | None = None

    @property
    def tries(self) -> int:
        """Attempts that count: calls sent again after a 429 are paced by their key's queue."""
        return len(self.attempts) - self.repeats


@frozen
class Try:
    """Call this route, once its half-open probe is claimed where it is a trial.

    `left`: the planned routes after it. `early`: the probe may be claimed before the cooldown is
    over. `is_retry`: it takes one from the retry budget. `is_repeat`: it was limited before.
    """

    route: PlannedRoute
    left: tuple[PlannedRoute, ...] = ()
    early: bool = False
    is_retry: bool = False
    is_repeat: bool = False


@frozen
class RetryAfter:
    """Wait so many seconds, then decide again: with a new plan after the wait for `cooldown`, the
    route whose key's queue bounds how many may wait."""

    seconds: float
    cooldown: RouteState | None = None


@frozen
class GiveUp:
    """No route is left to call; `error` is what the caller gets."""

    error: CallError


type Step = Try | RetryAfter | GiveUp


def next_step(progress: Progress, now: datetime, rules: Rules = RULES) -> Step:
    """The next step of a request: the table above, row by row."""
    if progress.tries >= rules.max_attempts:
        return _give_up(progress)
    further = _repeat if progress.attempts else _without_plan
    step = _resend(progress, now) or _next_planned(progress) or further(progress, now, rules)
    return step or _give_up(progress)


def _give_up(progress: Progress) -> GiveUp:
    if progress.errors:
        return GiveUp(error=most_useful(progress.errors))
    return GiveUp(error=progress.plan.refusal or no_route_error(progress.plan))


def _resend(progress: Progress, now: datetime) -> Step | None:
    """The same route before any other one, where the upstream never had the request."""
    first = bool(progress.errors) and retries.repeats_first(progress.errors[-1])
    return _same_route(progress, now, is_retry=True) if first and _may_retry(progress) else None


def _next_planned(progress: Progress) -> Step | None:
    """The next planned route that may help after the last error; those before it are dropped."""
    failed, errors = progress.failed, progress.errors
    for place, step in enumerate(progress.left):
        if failed is None or may_help(errors[-1], failed, step, progress.windows):
            after = progress.left[place + 1 :]
            return Try(route=step, left=after, is_repeat=failed is None and bool(errors))
    return None


def _repeat(progress: Progress, now: datetime, rules: Rules) -> Step | None:
    """The same provider once more, where no other route can help."""
    error = progress.errors[-1]
    if error.kind == ErrorKind.RATE_LIMIT and error.sent:
        if error.retry_after:
            return _wait_for_limit(progress, _allowed_routes(progress, now), now, rules)
        has_turn = progress.repeats + 1 < rules.throttles
        may_queue = has_turn and progress.key_pause <= progress.wait_left
        return _same_route(progress, now, is_repeat=True) if may_queue else None
    wait = retries.repeat_after(error, rules)
    if wait is None or wait >= progress.seconds_left or not _may_retry(progress):
        return None
    elapsed = (now - progress.failed_at).total_seconds() if progress.failed_at else 0.0
    if elapsed < wait + progress.jitter:
        return RetryAfter(seconds=wait + progress.jitter - elapsed)
    return _same_route(progress, now, is_retry=True)


def _may_retry(progress: Progress) -> bool:
    """Whether the failed route was called only once, and a retry is left in the budget."""
    failed = progress.failed
    if failed is None or failed.trial or progress.retry_budget < 1:
        return False
    calls = [each for each in progress.attempts if each.error_code not in RESENT_CODES]
    return sum(each.route_id == failed.route.route_id for each in calls) < 2


def _same_route(
    progress: Progress, now: datetime, *, is_retry: bool = False, is_repeat: bool = False
) -> Step | None:
    """The failed route as it is now: it may be in a cooldown, or due for its half-open probe."""
    failed = progress.failed
    if failed is None or failed.route.route_id in progress.unclaimed:
        return None
    route = progress.failed_route or failed.route
    if not route.admits(now):
        return None
    again = replace(failed, route=route, trial=not route.is_closed)
    return Try(route=again, left=progress.left, is_retry=is_retry, is_repeat=is_repeat)


def _without_plan(progress: Progress, now: datetime, rules: Rules) -> Step | None:
    """Every route is in a cooldown, or another request has its half-open probe: one call a second
    goes out as the last resort, the others wait or give up. Before that the first due route is
    claimed, in case this process's copy of the routes is behind the rows; those who wait do not
    look at the rows again and again, as that would keep the last resort from its claim."""
    last_resort, soonest = progress.plan.last_resort, progress.plan.soonest
    if last_resort and not progress.last_resort_in and _is_free(progress, last_resort):
        return Try(route=last_resort, early=True)
    routes = _allowed_routes(progress, now)
    limit = _wait_for_limit(progress, routes, now, rules)
    if wait := limit or _wait_for_probe(progress, routes, now, rules):
        return wait
    return Try(route=soonest) if soonest and _is_free(progress, soonest) else None


def _is_free(progress: Progress, step: PlannedRoute) -> bool:
    return step.route.route_id not in progress.unclaimed


def _allowed_routes(progress: Progress, now: datetime) -> list[RouteState]:
    return in_order(progress.policy, progress.routes, now, progress.fresh)


def _wait_for_limit(
    progress: Progress, routes: Sequence[RouteState], now: datetime, rules: Rules
) -> Step | None:
    """A wait for the end of a rate limit's cooldown, where it is short and alone in the way."""
    limited = retries.next_limited(routes, now)
    if limited is None or progress.repeats + 1 >= rules.throttles:
        return None
    route, seconds = limited
    wait = seconds + progress.jitter
    if seconds > rules.longest_wait or wait > progress.wait_left:
        return None
    return RetryAfter(seconds=wait, cooldown=route)


def _wait_for_probe(
    progress: Progress, routes: Sequence[RouteState], now: datetime, rules: Rules
) -> Step | None:
    """A wait until a half-open probe may be claimed, or has shown something; not longer than a
    moment at once, as another request's probe may close the route before."""
    near = retries.next_probe(routes, now, progress.last_resort_in, rules)
    if near is None:
        return None
    route, seconds = near
    patience = min(rules.cooldown_patience - progress.waited, progress.seconds_left)
    if seconds > patience:
        return None
    return RetryAfter(seconds=min(seconds, retries.RECHECK_SECONDS), cooldown=route)
