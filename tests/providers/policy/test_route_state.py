"""What a result changes of a route: the breaker by its epoch, the averages by their weights."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.policy import route_state
from providers.policy.breaker import BreakerState, State
from providers.policy.route_state import Outcome, RouteState, Window

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ROUTE = RouteState(route_id=1, method=Method.DIRECT, breaker=BreakerState(proven=True))


def seen(kind: ErrorKind | None = None, epoch: int = 0, **fields: object) -> Outcome:
    return replace(Outcome(route_id=1, epoch=epoch, at=NOW, kind=kind), **fields)  # type: ignore[arg-type]


def test_a_good_result_is_remembered() -> None:
    """With its time to first token, and nothing moved of a clean breaker."""
    state = route_state.apply_to_route(ROUTE, seen(ttft_ms=400))
    assert state.breaker == ROUTE.breaker
    assert (state.last_outcome, state.last_success_at, state.good_streak) == ("ok", NOW, 1)
    assert state.ttft_ms == state.ttft_p95_ms == state.ttft_baseline_ms == 400


@pytest.mark.parametrize(
    ("kind", "streak", "share"),
    [
        (ErrorKind.NETWORK, 0, 0.02),
        (ErrorKind.OVERLOADED, 0, 0.02),
        (ErrorKind.REQUEST, 4, 0.0),
        (ErrorKind.AUTH, 4, 0.0),
        (ErrorKind.STOPPED, 4, 0.0),
    ],
)
def test_only_the_routes_own_failures_count_against_it(
    kind: ErrorKind, streak: int, share: float
) -> None:
    """A bad request or a refused key says nothing about how well it answers."""
    state = route_state.apply_to_route(replace(ROUTE, good_streak=4), seen(kind))
    assert state.good_streak == streak
    assert state.error_share == pytest.approx(share)


def test_a_reader_who_leaves_shows_nothing() -> None:
    """Neither an outcome nor a time."""
    assert route_state.apply_to_route(ROUTE, seen(ErrorKind.STOPPED, message="x")) == ROUTE


def test_a_late_success_does_not_close_and_a_late_failure_does_not_open_again() -> None:
    """They began in an epoch that is over."""
    resting = BreakerState(state=State.OPEN, epoch=2, retry_at=NOW + timedelta(seconds=5))
    state = replace(ROUTE, breaker=resting)
    assert route_state.apply_to_route(state, seen(epoch=1)).breaker == resting
    assert route_state.apply_to_route(state, seen(ErrorKind.NETWORK, epoch=1)).breaker == resting
    closed = replace(ROUTE, breaker=BreakerState(proven=True, epoch=3))
    assert (
        route_state.apply_to_route(closed, seen(ErrorKind.AUTH, epoch=1)).breaker == closed.breaker
    )


def test_a_retry_after_that_comes_late_makes_the_rest_longer_and_never_shorter() -> None:
    """Ten calls were under way when the first one was refused."""
    resting = BreakerState(state=State.OPEN, epoch=2, retry_at=NOW + timedelta(seconds=30))
    state = replace(ROUTE, breaker=resting)
    longer = route_state.apply_to_route(
        state, seen(ErrorKind.RATE_LIMIT, epoch=1, retry_after=60.0)
    )
    assert longer.breaker.retry_at == NOW + timedelta(seconds=60)
    shorter = route_state.apply_to_route(
        state, seen(ErrorKind.RATE_LIMIT, epoch=1, retry_after=1.0)
    )
    assert shorter.breaker == resting


def test_what_a_probe_may_not_judge_is_still_shown() -> None:
    """A listing that is refused moves no breaker; the page shows that it was."""
    state = route_state.apply_to_route(
        ROUTE, seen(ErrorKind.AUTH, judges=False, message="Refused.")
    )
    assert state.breaker == ROUTE.breaker
    assert (state.last_outcome, state.last_error) == ("auth", "Refused.")


def test_a_persons_good_test_makes_a_dead_route_new() -> None:
    """It is as good as all the trials."""
    dead = BreakerState(state=State.OPEN, epoch=4, last_kind=ErrorKind.AUTH)
    state = route_state.apply_to_route(replace(ROUTE, breaker=dead), seen(epoch=4, resets=True))
    assert state.breaker == BreakerState(proven=True, epoch=5)


def test_the_percentile_settles_where_a_twentieth_lies_above() -> None:
    """Of a thousand answers, 5 % slow ones."""
    state = ROUTE
    for number in range(1000):
        state = route_state.apply_to_route(state, seen(ttft_ms=100 if number % 20 else 5000))
    assert state.ttft_baseline_ms is not None
    assert 95 < state.ttft_baseline_ms < 140
    for _ in range(100):
        state = route_state.apply_to_route(state, seen(ttft_ms=5000))
    assert state.ttft_p95_ms is not None
    assert state.ttft_baseline_ms is not None
    assert state.ttft_p95_ms > 3 * state.ttft_baseline_ms


@given(st.lists(st.sampled_from([None, *ErrorKind]), max_size=200))
def test_the_share_of_errors_is_a_share(kinds: list[ErrorKind | None]) -> None:
    """Whatever comes in whatever order."""
    state = ROUTE
    for kind in kinds:
        state = route_state.apply_to_route(state, seen(kind, epoch=state.breaker.epoch))
    assert 0 <= state.error_share <= 1


def test_half_of_ten_in_half_a_minute_is_reported() -> None:
    """Every other call fails: never five in a row, and no route to rely on."""
    window = Window()
    reported = [window.add(NOW, failed=number % 2 == 1) for number in range(12)]
    assert reported.index(True) == 9
    window = Window()
    spread = [window.add(NOW + timedelta(seconds=40 * n), failed=True) for n in range(20)]
    assert not any(spread)
