"""The circuit breaker of one route, as a table: (state, outcome, now) gives the next state. No I/O.

closed     answers flow; five failures in a row that count, or two that never reached a route
           which has not worked yet, open it
open       rests until `retry_at`; with `retry_at` None it rests until the provider is edited
half-open  one trial is under way, under a lease that ends at `retry_at`; two good trials close
           it, a bad one opens it again for longer

A result carries the epoch in which its call began: results of an earlier epoch change nothing.
"""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from providers.errors import ErrorKind
from providers.rules import RULES, Rules
from providers.values import value


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Weight(StrEnum):
    """What a kind of failure means for the breaker of the route it came over."""

    COUNTS = "counts"
    HALF = "half"
    RESTS = "rests"  # waits as long as the provider states, else changes nothing: limits.Gate waits
    SET_ASIDE = "set_aside"  # dead until its key or address is edited, or its reset time comes
    NOTHING = "nothing"


WEIGHTS: dict[ErrorKind, Weight] = {
    ErrorKind.NETWORK: Weight.COUNTS,
    ErrorKind.TIMEOUT: Weight.COUNTS,
    ErrorKind.PROVIDER: Weight.COUNTS,
    ErrorKind.OVERLOADED: Weight.HALF,
    ErrorKind.RATE_LIMIT: Weight.RESTS,
    ErrorKind.QUOTA: Weight.SET_ASIDE,
    ErrorKind.AUTH: Weight.SET_ASIDE,
    ErrorKind.PERMISSION: Weight.NOTHING,
    ErrorKind.REQUEST: Weight.NOTHING,
    ErrorKind.GATEWAY: Weight.COUNTS,
    # Tried again now and then: the key may be readable after the next start.
    ErrorKind.UNREADABLE: Weight.COUNTS,
    ErrorKind.STOPPED: Weight.NOTHING,
}


@value
class Breaker:
    """A route's breaker: consecutive `failures`, which may be halves; `trips` since it closed."""

    state: State = State.CLOSED
    failures: float = 0
    successes: int = 0
    trips: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    last_kind: ErrorKind | None = None
    proven: bool = False
    epoch: int = 0


@value
class Failure:
    """A failed call as the breaker sees it. `retry_after` in seconds.

    `half_failed`: with this one, at least half of the route's calls of the last half minute did.
    """

    kind: ErrorKind
    retry_after: float | None = None
    half_failed: bool = False


def admits(breaker: Breaker, now: datetime) -> bool:
    """Whether a call may go out now: closed, or due for a trial."""
    if breaker.state == State.CLOSED:
        return True
    return breaker.retry_at is not None and breaker.retry_at <= now


def is_leased(breaker: Breaker, now: datetime) -> bool:
    """Whether its one trial is under way: nobody else may try before the lease has ended."""
    return breaker.state == State.HALF_OPEN and not admits(breaker, now)


def on_trial(breaker: Breaker, now: datetime, rules: Rules = RULES) -> Breaker:
    """The breaker of an open route whose one trial is claimed, under a lease."""
    lease_ends = _after(now, rules.trial_lease)
    return replace(breaker, state=State.HALF_OPEN, retry_at=lease_ends, epoch=breaker.epoch + 1)


def on_success(breaker: Breaker, rules: Rules = RULES) -> Breaker:
    """A clean, proven, closed breaker comes back equal: nothing needs to be written."""
    if breaker.state == State.OPEN:
        return breaker
    closing = breaker.state == State.HALF_OPEN and breaker.successes + 1 < rules.trials_to_close
    if closing:
        # Due at once: the next call is the second trial.
        return replace(
            breaker,
            state=State.OPEN,
            successes=breaker.successes + 1,
            retry_at=breaker.opened_at,
            epoch=breaker.epoch + 1,
        )
    return Breaker(proven=True, epoch=breaker.epoch + (1 if breaker.state != State.CLOSED else 0))


def on_failure(
    breaker: Breaker,
    failure: Failure,
    now: datetime,
    rules: Rules = RULES,
    jitter: float | None = None,
) -> Breaker:
    """`jitter` in -1..1 is drawn where it is not given."""
    weight = WEIGHTS[failure.kind]
    if breaker.state == State.OPEN:
        return _extended(breaker, failure, now)
    if weight == Weight.NOTHING:
        return _freed(breaker, now)
    if weight == Weight.SET_ASIDE:
        until = _after(now, failure.retry_after) if failure.retry_after else None
        return _opened(breaker, failure.kind, now, until)
    if weight == Weight.RESTS:
        if not failure.retry_after:
            return _freed(breaker, now)
        return _opened(breaker, failure.kind, now, _after(now, failure.retry_after))
    rest = rest_seconds(breaker, now, rules, jitter)
    failures = breaker.failures + (0.5 if weight == Weight.HALF else 1)
    counted = replace(breaker, failures=failures, last_kind=failure.kind)
    if breaker.state == State.CLOSED and not _trips(counted, failure, rules):
        return counted
    until = _after(now, max(rest, failure.retry_after or 0))
    return replace(_opened(counted, failure.kind, now, until), trips=breaker.trips + 1)


def rest_seconds(
    breaker: Breaker, now: datetime, rules: Rules = RULES, jitter: float | None = None
) -> float:
    """How long the next rest is, for a breaker that has tripped `breaker.trips` times so far."""
    outage = (now - breaker.opened_at).total_seconds() if breaker.opened_at else 0.0
    rest = rules.rests[min(breaker.trips, len(rules.rests) - 1)]
    if outage >= rules.patient_after:
        doublings = outage / rules.patient_after - 1
        rest = min(rules.longest_rest, rest * 2 ** (1 + min(doublings, 16)))
    drawn = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311 - not a secret
    return rest * (1 + rules.jitter * drawn)


def _trips(breaker: Breaker, failure: Failure, rules: Rules) -> bool:
    if not breaker.proven and breaker.last_kind == ErrorKind.NETWORK:
        return breaker.failures >= rules.connect_failures_to_open
    return failure.half_failed or breaker.failures >= rules.failures_to_open


def _opened(breaker: Breaker, kind: ErrorKind, now: datetime, retry_at: datetime | None) -> Breaker:
    return replace(
        breaker,
        state=State.OPEN,
        successes=0,
        opened_at=breaker.opened_at or now,
        retry_at=retry_at,
        last_kind=kind,
        epoch=breaker.epoch + 1,
    )


def _extended(breaker: Breaker, failure: Failure, now: datetime) -> Breaker:
    """A Retry-After that comes while the route already rests makes the rest longer, never shorter.

    Only an overload or a limit says how long; a route that is set aside stays so.
    """
    if not failure.retry_after or breaker.retry_at is None:
        return breaker
    return replace(breaker, retry_at=max(breaker.retry_at, _after(now, failure.retry_after)))


def _freed(breaker: Breaker, now: datetime) -> Breaker:
    """A trial that ended without a verdict: the next call may try again at once."""
    if breaker.state != State.HALF_OPEN:
        return breaker
    return replace(breaker, state=State.OPEN, retry_at=now, epoch=breaker.epoch + 1)


def _after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
