"""The breaker's table: what opens it, how long its cooldowns are, what closes it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from providers.domain.errors import ErrorKind
from providers.domain.tuning import RULES
from providers.policy import breaker
from providers.policy.breaker import BreakerState, Failure, State, Weight

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NETWORK = Failure(kind=ErrorKind.NETWORK)
PROVEN = BreakerState(proven=True)


def fail(
    state: BreakerState, kind: ErrorKind, times: int, retry_after: float | None = None
) -> BreakerState:
    for _ in range(times):
        state = breaker.on_failure(
            state, Failure(kind=kind, retry_after=retry_after), NOW, jitter=0
        )
    return state


def test_every_kind_of_error_has_a_weight() -> None:
    """A kind that is added without a decision must not slip through."""
    assert set(breaker.WEIGHTS) == set(ErrorKind)


@pytest.mark.parametrize(
    ("start", "kind", "times", "state"),
    [
        (PROVEN, ErrorKind.NETWORK, 4, State.CLOSED),
        (PROVEN, ErrorKind.NETWORK, 5, State.OPEN),
        (BreakerState(), ErrorKind.NETWORK, 1, State.CLOSED),
        (BreakerState(), ErrorKind.NETWORK, 2, State.OPEN),
        (BreakerState(), ErrorKind.PROVIDER, 4, State.CLOSED),
        (PROVEN, ErrorKind.TIMEOUT, 5, State.OPEN),
        (PROVEN, ErrorKind.OVERLOADED, 9, State.CLOSED),
        (PROVEN, ErrorKind.OVERLOADED, 10, State.OPEN),
        (PROVEN, ErrorKind.RATE_LIMIT, 50, State.CLOSED),
        (PROVEN, ErrorKind.AUTH, 1, State.OPEN),
        (PROVEN, ErrorKind.QUOTA, 1, State.OPEN),
        (PROVEN, ErrorKind.PERMISSION, 4, State.CLOSED),
        (PROVEN, ErrorKind.PERMISSION, 5, State.OPEN),
        (PROVEN, ErrorKind.REQUEST, 50, State.CLOSED),
        (PROVEN, ErrorKind.STOPPED, 50, State.CLOSED),
        (PROVEN, ErrorKind.GATEWAY, 5, State.OPEN),
        (PROVEN, ErrorKind.UNREADABLE, 5, State.OPEN),
    ],
)
def test_failures_open_it_by_their_weight(
    start: BreakerState, kind: ErrorKind, times: int, state: State
) -> None:
    """Five that count, two connects without a success before, one balance or key; a limit that
    states no wait is waited for in the queue of its key."""
    assert fail(start, kind, times).state == state


def test_a_limit_opens_it_at_once_for_as_long_as_it_says() -> None:
    """Without a time the queue of its key waits, and no breaker does."""
    state = fail(PROVEN, ErrorKind.RATE_LIMIT, 1, retry_after=20)
    assert (state.state, state.retry_at) == (State.OPEN, NOW + timedelta(seconds=20))


def test_a_success_in_between_starts_the_count_anew() -> None:
    """Failures are consecutive."""
    state = breaker.on_success(fail(PROVEN, ErrorKind.PROVIDER, 4))
    assert state == PROVEN
    assert fail(state, ErrorKind.PROVIDER, 4).state == State.CLOSED


def test_a_clean_closed_breaker_is_left_as_it_is() -> None:
    """Equal means nothing is written on the hot path."""
    assert breaker.on_success(PROVEN) == PROVEN


def test_cooldowns_are_five_eight_twelve_and_fifteen_seconds() -> None:
    """Quick recovery first."""
    cooldowns = [breaker.cooldown_seconds(BreakerState(trips=n), NOW, jitter=0) for n in range(7)]
    assert cooldowns == [5, 8, 12, 15, 15, 15, 15]


def test_cooldowns_double_after_ten_minutes_up_to_five() -> None:
    """Patience later."""

    def rest(minutes: int) -> float:
        state = BreakerState(trips=9, opened_at=NOW - timedelta(minutes=minutes))
        return breaker.cooldown_seconds(state, NOW, jitter=0)

    assert [rest(9), rest(10), rest(20), rest(600)] == [15, 30, 60, 300]


def test_a_rest_is_never_shorter_than_retry_after_and_never_cut_by_it() -> None:
    """Retry-After extends, and never shortens."""
    longer = fail(PROVEN, ErrorKind.PROVIDER, 5, retry_after=60)
    shorter = fail(PROVEN, ErrorKind.PROVIDER, 5, retry_after=1)
    assert longer.retry_at == NOW + timedelta(seconds=60)
    assert shorter.retry_at == NOW + timedelta(seconds=5)


def test_a_refused_key_is_set_aside_until_it_is_edited() -> None:
    """No clock brings it back."""
    state = fail(PROVEN, ErrorKind.AUTH, 1)
    assert state.retry_at is None
    assert not breaker.admits(state, NOW + timedelta(days=365))


def test_a_used_up_plan_comes_back_at_its_reset_time() -> None:
    """Z.ai names one with code 1308 and 1310."""
    state = fail(PROVEN, ErrorKind.QUOTA, 1, retry_after=3600)
    assert not breaker.admits(state, NOW + timedelta(minutes=59))
    assert breaker.admits(state, NOW + timedelta(minutes=60))


def test_two_good_trials_close_it() -> None:
    """One may be luck."""
    opened = fail(PROVEN, ErrorKind.PROVIDER, 5)
    once = breaker.on_success(breaker.claim_probe(opened, NOW))
    assert once.state == State.OPEN
    assert breaker.admits(once, NOW)
    twice = breaker.on_success(breaker.claim_probe(once, NOW))
    assert twice.state == State.CLOSED
    assert (twice.failures, twice.trips, twice.opened_at) == (0, 0, None)


def test_a_failed_probe_has_a_longer_cooldown() -> None:
    """The trips of one outage add up."""
    opened = fail(PROVEN, ErrorKind.PROVIDER, 5)
    again = fail(breaker.claim_probe(opened, NOW), ErrorKind.PROVIDER, 1)
    assert again.state == State.OPEN
    assert again.retry_at == NOW + timedelta(seconds=8)


def test_a_trial_without_a_verdict_frees_the_next_one() -> None:
    """The reader pressed Stop: that says nothing about the route."""
    trial = breaker.claim_probe(fail(PROVEN, ErrorKind.PROVIDER, 5), NOW)
    freed = fail(trial, ErrorKind.STOPPED, 1)
    assert freed.state == State.OPEN
    assert breaker.admits(freed, NOW)


def test_a_dead_trial_loses_its_lease() -> None:
    """A process that dies in its trial must not keep the route shut."""
    trial = breaker.claim_probe(fail(PROVEN, ErrorKind.PROVIDER, 5), NOW)
    assert not breaker.admits(trial, NOW)
    assert breaker.admits(trial, NOW + timedelta(seconds=RULES.trial_lease))


def test_late_results_change_nothing_while_it_is_open() -> None:
    """Calls that began before it opened end after it did."""
    opened = fail(PROVEN, ErrorKind.PROVIDER, 5)
    assert breaker.on_success(opened) == opened
    assert fail(opened, ErrorKind.PROVIDER, 3) == opened


OUTCOMES = st.lists(
    st.one_of(st.just("ok"), st.just("trial"), st.sampled_from(list(ErrorKind))), max_size=60
)


@given(OUTCOMES)
def test_whatever_happens_it_stays_consistent(outcomes: list[str]) -> None:
    """Closed has no rest, half-open has a lease, an epoch never goes back."""
    state, now = BreakerState(), NOW
    for outcome in outcomes:
        now += timedelta(seconds=1)
        before = state
        if outcome == "ok":
            state = breaker.on_success(state)
        elif outcome == "trial":
            if state.state != State.CLOSED and breaker.admits(state, now):
                state = breaker.claim_probe(state, now)
        else:
            state = breaker.on_failure(state, Failure(kind=ErrorKind(outcome)), now)
        assert state.epoch >= before.epoch
        assert state.state == State.CLOSED or state.opened_at is not None
        if state.state == State.CLOSED:
            assert state.retry_at is None
            assert breaker.admits(state, now)
        if state.state == State.HALF_OPEN:
            assert not breaker.admits(replace(state), now)


WAITS = st.none() | st.floats(0, 7200)
CALLS = st.lists(
    st.tuples(st.sampled_from(["ok", "lost", *ErrorKind]), WAITS, st.floats(0, 1200)),
    max_size=40,
)


def after(calls: list[tuple[str, float | None, float]]) -> tuple[BreakerState, datetime]:
    """What such calls leave behind; a `lost` one is a trial whose process died."""
    state, now = BreakerState(), NOW
    for outcome, wait, later in calls:
        now += timedelta(seconds=later)
        if state.state != State.CLOSED and breaker.admits(state, now):
            state = breaker.claim_probe(state, now)
        if outcome == "ok":
            state = breaker.on_success(state)
        elif outcome != "lost":
            state = breaker.on_failure(
                state, Failure(kind=ErrorKind(outcome), retry_after=wait), now
            )
    return state, now


@given(CALLS)
def test_no_sequence_of_calls_leaves_it_stuck(
    calls: list[tuple[str, float | None, float]],
) -> None:
    """Unless it is disabled it admits a call within the longest wait, and good ones close it."""
    state, now = after(calls)
    if state.state == State.OPEN and state.retry_at is None:
        assert state.last_kind in (ErrorKind.AUTH, ErrorKind.QUOTA)
        return
    now += timedelta(seconds=7200)
    assert breaker.admits(state, now)
    for _ in range(3):
        if state.state != State.CLOSED:
            assert breaker.admits(state, now)
            state = breaker.claim_probe(state, now)
        state = breaker.on_success(state)
    assert state == BreakerState(proven=True, epoch=state.epoch)


@given(CALLS, st.sampled_from(list(ErrorKind)), WAITS, st.floats(0, 1200))
def test_a_rest_is_never_shortened_by_what_comes_later(
    calls: list[tuple[str, float | None, float]],
    kind: ErrorKind,
    wait: float | None,
    later: float,
) -> None:
    """Late results of calls that were under way, whatever they ask for."""
    state, now = after(calls)
    assume(state.state == State.OPEN)
    failure = Failure(kind=kind, retry_after=wait)
    cooldown = breaker.on_failure(state, failure, now + timedelta(seconds=later))
    assert cooldown.state == State.OPEN
    if state.retry_at is None:
        assert cooldown.retry_at is None
    else:
        assert cooldown.retry_at is not None
        assert cooldown.retry_at >= state.retry_at


@given(CALLS, st.sampled_from([ErrorKind.NETWORK, ErrorKind.OVERLOADED]), WAITS)
def test_a_failed_probe_respects_both_the_cooldown_and_the_retry_after(
    calls: list[tuple[str, float | None, float]], kind: ErrorKind, wait: float | None
) -> None:
    """The longer of the two: its own rest, and Retry-After."""
    state, _ = after(calls)
    assume(state.retry_at)
    now = state.retry_at or NOW
    trial = breaker.claim_probe(state, now)
    cooldown = breaker.on_failure(trial, Failure(kind=kind, retry_after=wait), now, jitter=0)
    rest = breaker.cooldown_seconds(trial, now, jitter=0)
    assert cooldown.retry_at == now + timedelta(seconds=max(rest, wait or 0))


@given(st.integers(0, 40), st.floats(-1, 1))
def test_jitter_stays_within_a_fifth(trips: int, jitter: float) -> None:
    """Otherwise every process would come back in the same instant, or too late."""
    state = BreakerState(trips=trips)
    plain = breaker.cooldown_seconds(state, NOW, jitter=0)
    assert 0.8 * plain <= breaker.cooldown_seconds(state, NOW, jitter=jitter) <= 1.2 * plain


def test_weights_name_what_the_design_names() -> None:
    """Overload is half a failure: it is the vendor's load, not this route."""
    assert breaker.WEIGHTS[ErrorKind.OVERLOADED] == Weight.HALF
    assert NETWORK.kind in breaker.WEIGHTS
