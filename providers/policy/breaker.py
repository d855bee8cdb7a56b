"""The circuit breaker of a domain, as a table: (state, outcome, now) gives the next state. No I/O.

A domain is what fails together: a route, one model of a route, a key, or one model of a key. Each
has a breaker of its own; policy/domains.py says which one a failure belongs to.

             5 failures in a row, half of 10
             in 30 s, a Retry-After, a refusal
    closed ------------------------------------> open, until `retry_at`; None: until it is edited
      ^                                          ^  |
      | second good probe     first good probe,  |  | due: one call claims the half-open probe,
      |                       no verdict: due;   |  | under a lease that ends at `retry_at`
      |                       failure: opens for |  v
      |                       longer             |
      +-------------------------------------- half-open; a lost lease: the next call claims it again

A person's good test and an edit close a breaker from any state.
Each change of state begins a new epoch, and a result carries the epoch in which its call began:

    result of           closed      open                          half-open
    ------------------  ----------  ----------------------------  --------------------
    this epoch          counts      only lengthens the cooldown   decides the probe
    the epoch before    is ignored  only lengthens the cooldown   is ignored
    any older epoch     is ignored  is ignored                    is ignored
"""

import random
from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Scope(StrEnum):
    """What a failure says something about."""

    ROUTE = "route"
    MODEL = "model"  # one model of one route
    KEY = "key"  # on every route that carries it
    KEY_AND_MODEL = "key_and_model"
    NOTHING = "nothing"  # the request alone


class Domain(NamedTuple):
    """A domain beside the route: a model of a route, a key (its fingerprint), a model of a key."""

    route_id: int
    key: str
    model_id: str

    @property
    def scope(self) -> Scope:
        if self.route_id:
            return Scope.MODEL
        return Scope.KEY_AND_MODEL if self.model_id else Scope.KEY


class Weight(StrEnum):
    """What a kind of failure means for the breaker of its domain."""

    COUNTS = "counts"
    HALF = "half"
    COOLDOWN = "cooldown"  # for as long as the provider states; the key's queue does the rest
    DISABLES = "disables"  # until its key or address is edited, or its reset time comes
    NOTHING = "nothing"


WEIGHTS: dict[ErrorKind, Weight] = {
    ErrorKind.NETWORK: Weight.COUNTS,
    ErrorKind.TIMEOUT: Weight.COUNTS,
    ErrorKind.PROVIDER: Weight.COUNTS,
    ErrorKind.OVERLOADED: Weight.HALF,
    ErrorKind.RATE_LIMIT: Weight.COOLDOWN,
    ErrorKind.QUOTA: Weight.DISABLES,
    ErrorKind.AUTH: Weight.DISABLES,
    ErrorKind.PERMISSION: Weight.COUNTS,
    ErrorKind.REQUEST: Weight.NOTHING,
    ErrorKind.GATEWAY: Weight.COUNTS,
    # Tried again now and then: the key may be readable after the next start.
    ErrorKind.UNREADABLE: Weight.COUNTS,
    ErrorKind.STOPPED: Weight.NOTHING,
}


@frozen
class BreakerState:
    """A domain's breaker: consecutive `failures`, which may be halves; `trips` since it closed."""

    state: State = State.CLOSED
    failures: float = 0
    successes: int = 0
    trips: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    last_kind: ErrorKind | None = None
    proven: bool = False
    epoch: int = 0


@frozen
class DomainState:
    """What is known of a domain beside the route: its breaker and its last failure."""

    domain: Domain
    breaker: BreakerState = field(default_factory=BreakerState)
    last_error: str = ""
    last_failure_at: datetime | None = None


@frozen
class Failure:
    """A failed call as the breaker sees it. `retry_after` in seconds; `weight` None is its kind's.

    `half_failed`: with this one, at least half of the domain's calls of the last half minute did.
    """

    kind: ErrorKind
    retry_after: float | None = None
    half_failed: bool = False
    weight: Weight | None = None


def admits(breaker: BreakerState, now: datetime) -> bool:
    """Whether a call may go out now: closed, or due for a half-open probe."""
    if breaker.state == State.CLOSED:
        return True
    return breaker.retry_at is not None and breaker.retry_at <= now


def is_leased(breaker: BreakerState, now: datetime) -> bool:
    """Whether its half-open probe is under way: no other call goes out before the lease ends."""
    return breaker.state == State.HALF_OPEN and not admits(breaker, now)


def accepts(breaker: BreakerState, epoch: int, *, retry_after: float | None = None) -> bool:
    """Whether a failure that began in that epoch still counts: the table of late results."""
    late = breaker.state == State.OPEN and breaker.epoch == epoch + 1 and retry_after
    return breaker.epoch == epoch or bool(late)


def claim_probe(breaker: BreakerState, now: datetime, rules: Rules = RULES) -> BreakerState:
    """The breaker with its half-open probe claimed, under a lease."""
    lease_ends = _after(now, rules.trial_lease)
    return replace(breaker, state=State.HALF_OPEN, retry_at=lease_ends, epoch=breaker.epoch + 1)


def on_success(breaker: BreakerState, rules: Rules = RULES) -> BreakerState:
    """The breaker after a good call; a clean, proven, closed one comes back equal, so that nothing
    needs to be written."""
    if breaker.state == State.OPEN:
        return breaker
    closing = breaker.state == State.HALF_OPEN and breaker.successes + 1 < rules.trials_to_close
    if closing:
        # Due at once: the next call is the second probe.
        return replace(
            breaker,
            state=State.OPEN,
            successes=breaker.successes + 1,
            retry_at=breaker.opened_at,
            epoch=breaker.epoch + 1,
        )
    return BreakerState(
        proven=True, epoch=breaker.epoch + (1 if breaker.state != State.CLOSED else 0)
    )


def on_failure(
    breaker: BreakerState,
    failure: Failure,
    now: datetime,
    rules: Rules = RULES,
    jitter: float | None = None,
) -> BreakerState:
    """The breaker after a failed call; `jitter` in -1..1 is drawn where it is not given."""
    weight = failure.weight or WEIGHTS[failure.kind]
    if breaker.state == State.OPEN:
        return _extend_cooldown(breaker, failure, now)
    if weight == Weight.NOTHING:
        return _release_probe(breaker, now)
    if weight == Weight.DISABLES:
        until = _after(now, failure.retry_after) if failure.retry_after else None
        return _open(breaker, failure.kind, now, until)
    if weight == Weight.COOLDOWN:
        if not failure.retry_after:
            return _release_probe(breaker, now)
        return _open(breaker, failure.kind, now, _after(now, failure.retry_after))
    cooldown = cooldown_seconds(breaker, now, rules, jitter)
    failures = breaker.failures + (0.5 if weight == Weight.HALF else 1)
    counted = replace(breaker, failures=failures, last_kind=failure.kind)
    if breaker.state == State.CLOSED and not _trips(counted, failure, rules):
        return counted
    until = _after(now, max(cooldown, failure.retry_after or 0))
    return replace(_open(counted, failure.kind, now, until), trips=breaker.trips + 1)


def trip(
    breaker: BreakerState, kind: ErrorKind, now: datetime, rules: Rules = RULES
) -> BreakerState:
    """Open a closed breaker, for failures that were counted elsewhere."""
    until = _after(now, cooldown_seconds(breaker, now, rules))
    return replace(_open(breaker, kind, now, until), trips=breaker.trips + 1)


def cooldown_seconds(
    breaker: BreakerState, now: datetime, rules: Rules = RULES, jitter: float | None = None
) -> float:
    """The length of the next cooldown, for a breaker that has tripped `breaker.trips` times."""
    outage = (now - breaker.opened_at).total_seconds() if breaker.opened_at else 0.0
    seconds = rules.rests[min(breaker.trips, len(rules.rests) - 1)]
    if outage >= rules.patient_after:
        doublings = outage / rules.patient_after - 1
        seconds = min(rules.longest_rest, seconds * 2 ** (1 + min(doublings, 16)))
    drawn = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311 - not a secret
    return seconds * (1 + rules.jitter * drawn)


def _trips(breaker: BreakerState, failure: Failure, rules: Rules) -> bool:
    if not breaker.proven and breaker.last_kind == ErrorKind.NETWORK:
        return breaker.failures >= rules.connect_failures_to_open
    return failure.half_failed or breaker.failures >= rules.failures_to_open


def _open(
    breaker: BreakerState, kind: ErrorKind, now: datetime, retry_at: datetime | None
) -> BreakerState:
    return replace(
        breaker,
        state=State.OPEN,
        successes=0,
        opened_at=breaker.opened_at or now,
        retry_at=retry_at,
        last_kind=kind,
        epoch=breaker.epoch + 1,
    )


def _extend_cooldown(breaker: BreakerState, failure: Failure, now: datetime) -> BreakerState:
    """Make the cooldown longer by a Retry-After that comes during it, never shorter.

    Only an overload or a limit states how long; a disabled route stays disabled.
    """
    if not failure.retry_after or breaker.retry_at is None:
        return breaker
    return replace(breaker, retry_at=max(breaker.retry_at, _after(now, failure.retry_after)))


def _release_probe(breaker: BreakerState, now: datetime) -> BreakerState:
    """Release a half-open probe without a verdict: the next call may be one at once."""
    if breaker.state != State.HALF_OPEN:
        return breaker
    return replace(breaker, state=State.OPEN, retry_at=now, epoch=breaker.epoch + 1)


def _after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
