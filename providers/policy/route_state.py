"""The state of one route, and what a result changes of it. No I/O.

The same function changes the state in a process's memory at once and the row in the database a
moment later, so both follow from the same results.
"""

from dataclasses import field, replace
from datetime import datetime
from typing import Any

from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules
from providers.domain.types import Method
from providers.policy import breaker
from providers.policy.breaker import BreakerState, Domain, DomainState, Scope, State, Weight

SHARE_WEIGHT = 0.02  # of the newest result in the share of errors: it looks back on about fifty
TTFT_WEIGHT = 0.2  # of the newest figure in the moving average: the last few answers
BASELINE_WEIGHT = 0.01  # what is usual changes over hundreds of answers
PERCENTILE = 0.95
MAX_COUNTED = 1000  # no rule asks for more, and a column has an end


@frozen
class RouteState:
    """One route: its breaker, and the moving figures behind its provider's health.

    `is_fallback`: for use where both of the provider's own routes have failed. `key`: fingerprint
    of the key that the upstream sees. `others`: the breakers of its key, and of the model that is
    called over it; those that have failed.
    """

    route_id: int
    method: Method
    provider_id: int = 0
    endpoint: str = ""
    breaker: BreakerState = field(default_factory=BreakerState)
    learned_at: datetime | None = None
    last_outcome: str = ""
    last_outcome_at: datetime | None = None
    last_error: str = ""
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    good_streak: int = 0
    judged: int = 0
    error_share: float = 0
    ttft_ms: float | None = None
    ttft_p95_ms: float | None = None
    ttft_baseline_ms: float | None = None
    is_fallback: bool = False
    key: str = ""
    others: tuple[DomainState, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether no breaker on its way is open."""
        return self.breaker.state == State.CLOSED and (
            not self.others or all(each.breaker.state == State.CLOSED for each in self.others)
        )

    def admits(self, now: datetime) -> bool:
        """Whether every breaker on its way lets a call through, or is due for a half-open probe."""
        return breaker.admits(self.breaker, now) and (
            not self.others or all(breaker.admits(each.breaker, now) for each in self.others)
        )

    def is_leased(self, now: datetime) -> bool:
        """Whether a half-open probe is under way on any of its breakers."""
        return any(breaker.is_leased(each, now) for each in self.breakers)

    @property
    def breakers(self) -> tuple[BreakerState, ...]:
        """Its own, and those of its key and model."""
        return (self.breaker, *(each.breaker for each in self.others))

    @property
    def epochs(self) -> tuple[tuple[Domain, int], ...]:
        """The epochs of its other breakers, as a call begins."""
        return tuple([(each.domain, each.breaker.epoch) for each in self.others])


@frozen
class Outcome:
    """What one call showed of a route. `kind` is None where it went well; `epoch` is the breaker's
    as the call began, `epochs` are those of the other domains, 0 where one had not failed yet.

    `scope` is what a failure says something about. `judges` is false where the outcome is shown and
    counts for nothing; `resets` where a person's test went well, which is as good as all probes.
    """

    route_id: int
    epoch: int
    at: datetime
    kind: ErrorKind | None = None
    message: str = ""
    retry_after: float | None = None
    half_failed: bool = False
    ttft_ms: int | None = None
    judges: bool = True
    resets: bool = False
    scope: Scope = Scope.ROUTE
    model_id: str = ""
    key: str = ""
    epochs: tuple[tuple[Domain, int], ...] = ()

    def epoch_of(self, domain: Domain) -> int:
        return next((epoch for each, epoch in self.epochs if each == domain), 0)


def apply_to_route(state: RouteState, outcome: Outcome, rules: Rules = RULES) -> RouteState:
    """The state once a result is known."""
    changes: dict[str, Any] = {}
    moved = _next_breaker(state.breaker, outcome, rules)
    if moved is not state.breaker:
        changes["breaker"] = moved
    if outcome.kind != ErrorKind.STOPPED:
        changes["last_outcome"] = outcome.kind or "ok"
        changes["last_outcome_at"] = outcome.at
        changes["last_error"] = outcome.message
        if outcome.kind is None:
            changes |= _success_changes(state, outcome)
        elif _counts(outcome):
            changes |= _failure_changes(state, outcome)
    return replace(state, **changes) if changes else state


def is_plain(state: RouteState, outcome: Outcome) -> bool:
    """Whether a good result only feeds the averages: the route is as clean as it can be."""
    clean = state.breaker.state == State.CLOSED and not state.breaker.failures
    return outcome.kind is None and clean and state.breaker.proven and not outcome.resets


def _counts(outcome: Outcome) -> bool:
    weight = breaker.WEIGHTS[outcome.kind] if outcome.kind else Weight.NOTHING
    # A refused model or prompt was answered well.
    counts = weight in (Weight.COUNTS, Weight.HALF) and outcome.kind != ErrorKind.PERMISSION
    return outcome.judges and counts


def _next_breaker(now: BreakerState, outcome: Outcome, rules: Rules) -> BreakerState:
    """A result of an earlier epoch changes nothing but the length of a cooldown; a failure that
    belongs elsewhere frees a half-open probe without a verdict."""
    own = outcome.judges and outcome.scope == Scope.ROUTE
    wait = outcome.retry_after if own else None
    if not breaker.accepts(now, outcome.epoch, retry_after=wait):
        return now
    if outcome.kind is None:
        if outcome.resets:
            return BreakerState(proven=True, epoch=now.epoch + 1)
        return breaker.on_success(now, rules) if now.epoch == outcome.epoch else now
    failure = breaker.Failure(
        kind=outcome.kind if own else ErrorKind.STOPPED,
        retry_after=wait,
        half_failed=outcome.half_failed,
    )
    return breaker.on_failure(now, failure, outcome.at, rules)


def _success_changes(state: RouteState, outcome: Outcome) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "last_success_at": outcome.at,
        "good_streak": min(state.good_streak + 1, MAX_COUNTED),
        "judged": min(state.judged + 1, MAX_COUNTED),
        "error_share": state.error_share * (1 - SHARE_WEIGHT),
    }
    return changes if outcome.ttft_ms is None else changes | _ttft_changes(state, outcome.ttft_ms)


def _failure_changes(state: RouteState, outcome: Outcome) -> dict[str, Any]:
    return {
        "last_failure_at": outcome.at,
        "good_streak": 0,
        "judged": min(state.judged + 1, MAX_COUNTED),
        "error_share": state.error_share + SHARE_WEIGHT * (1 - state.error_share),
    }


def _ttft_changes(state: RouteState, ttft_ms: float) -> dict[str, Any]:
    """The averages with one more time to first token.

    The percentile moves up by 0.95 of a step where the figure is above it and down by 0.05 where it
    is below, so it settles where a twentieth lies above (stochastic approximation, Robbins and
    Monro 1951). The baseline takes a slow answer for at most thrice what is usual.
    """
    if state.ttft_baseline_ms is None or state.ttft_ms is None or state.ttft_p95_ms is None:
        return {"ttft_ms": ttft_ms, "ttft_p95_ms": ttft_ms, "ttft_baseline_ms": ttft_ms}
    usual, percentile = state.ttft_baseline_ms, state.ttft_p95_ms
    step = max(1.0, usual / 4)
    weight = max(BASELINE_WEIGHT, 1 / (state.judged + 2))
    return {
        "ttft_ms": state.ttft_ms + TTFT_WEIGHT * (ttft_ms - state.ttft_ms),
        "ttft_p95_ms": percentile + step * (PERCENTILE - (ttft_ms <= percentile)),
        "ttft_baseline_ms": usual + weight * (min(ttft_ms, 3 * usual) - usual),
    }


class Windows:
    """The results of the last half minute of every domain that failed in it, in this process."""

    def __init__(self, rules: Rules = RULES, most: int = 2000) -> None:
        self._rules = rules
        self._most = most
        self._windows: dict[Domain, Window] = {}

    def add(self, domain: Domain, at: datetime, *, failed: bool) -> bool:
        """Count one result; True where, with it, half of at least ten have failed. A domain is
        counted from its first failure on; those that failed longest ago are forgotten."""
        window = self._windows.get(domain)
        if window is None:
            if not failed:
                return False
            if len(self._windows) >= self._most:
                del self._windows[next(iter(self._windows))]
            window = self._windows[domain] = Window(self._rules)
        elif window.is_over(at):
            del self._windows[domain]
            return self.add(domain, at, failed=failed)
        return window.add(at, failed=failed)


class Window:
    """A domain's results of the last half minute in this process, by the second."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self._seconds: dict[int, list[int]] = {}  # second: [all, failed]

    def add(self, at: datetime, *, failed: bool) -> bool:
        """Count one result; True where, with it, half of at least ten have failed."""
        second = int(at.timestamp())
        if second not in self._seconds:
            oldest = second - self._rules.window
            self._seconds = {s: c for s, c in self._seconds.items() if s > oldest}
        counted = self._seconds.setdefault(second, [0, 0])
        counted[0] += 1
        counted[1] += failed
        return failed and self._is_half_failed(second)

    def is_over(self, at: datetime) -> bool:
        """Whether its last result is older than all that it counts."""
        return max(self._seconds, default=0) <= int(at.timestamp()) - self._rules.window

    def _is_half_failed(self, second: int) -> bool:
        recent = [c for s, c in self._seconds.items() if s > second - self._rules.window]
        total, failed = sum(c[0] for c in recent), sum(c[1] for c in recent)
        return total >= self._rules.window_least and failed >= total * self._rules.window_share
