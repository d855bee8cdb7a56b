"""Which method is remembered, and when the preferred one comes back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind, GatewayError
from providers.domain.tuning import RULES
from providers.domain.types import Method
from providers.policy import preference
from providers.policy.breaker import BreakerState, State
from providers.policy.preference import Learned
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
PROVEN = BreakerState(proven=True)
DOWN = BreakerState(state=State.OPEN, opened_at=NOW, retry_at=NOW + timedelta(seconds=5))
DIRECT = RouteState(route_id=1, method=Method.DIRECT, breaker=PROVEN, last_success_at=NOW)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, breaker=PROVEN, last_success_at=NOW)
BROKEN = replace(DIRECT, breaker=DOWN)
LEARNED = Learned(method=Method.GATEWAY, at=NOW, switched_at=NOW)


def learn(known: Learned, *states: RouteState, after: float = 0) -> Learned:
    return preference.learn(known, Method.DIRECT, states, NOW + timedelta(seconds=after))


def test_the_other_method_is_remembered_when_the_preferred_one_trips() -> None:
    """And when it was."""
    assert learn(Learned(), BROKEN, GATEWAY) == LEARNED


@pytest.mark.parametrize(
    "gateway",
    [
        replace(GATEWAY, last_success_at=None),
        replace(GATEWAY, last_success_at=NOW - timedelta(minutes=1)),
        replace(GATEWAY, breaker=DOWN),
    ],
    ids=["never answered", "answered before the outage", "is down too"],
)
def test_nothing_is_learned_from_a_method_that_does_not_answer(gateway: RouteState) -> None:
    """It has to have answered since the other one tripped."""
    assert learn(Learned(), BROKEN, gateway) == Learned()


def test_the_preferred_method_returns_after_good_results_and_a_hold_down() -> None:
    """Neither alone is enough."""
    back = replace(DIRECT, good_streak=RULES.good_to_return)
    shy = replace(DIRECT, good_streak=RULES.good_to_return - 1)
    assert learn(LEARNED, shy, GATEWAY, after=700).method == Method.GATEWAY
    assert learn(LEARNED, back, GATEWAY, after=29).method == Method.GATEWAY
    returned = learn(LEARNED, back, GATEWAY, after=30)
    assert returned == Learned(switched_at=NOW + timedelta(seconds=30))


def test_a_return_that_fails_again_doubles_the_hold_down() -> None:
    """Within ten minutes of it; after a return that held for longer it starts again."""
    returned = Learned(switched_at=NOW, flaps=1)
    later = replace(GATEWAY, last_success_at=NOW + timedelta(seconds=900))
    flapped = learn(returned, BROKEN, later, after=599)
    assert (flapped.method, flapped.flaps) == (Method.GATEWAY, 2)
    calm = learn(returned, BROKEN, later, after=600)
    assert (calm.method, calm.flaps) == (Method.GATEWAY, 0)


@pytest.mark.parametrize(
    ("flaps", "seconds"), [(0, 30), (1, 60), (2, 120), (3, 240), (4, 480), (5, 600), (99, 600)]
)
def test_the_hold_down_ends_at_ten_minutes(flaps: int, seconds: int) -> None:
    """However often it flaps."""
    assert preference.hold_down(flaps) == timedelta(seconds=seconds)


def test_the_hold_down_counts_from_when_the_preferred_method_went_down() -> None:
    """Not from when another one was seen to answer: both may have been down at first."""
    later = replace(GATEWAY, last_success_at=NOW + timedelta(seconds=8))
    left = learn(Learned(), BROKEN, later, after=8)
    assert (left.method, left.at, left.switched_at) == (
        Method.GATEWAY,
        NOW + timedelta(seconds=8),
        NOW,
    )


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMIT, ErrorKind.QUOTA, ErrorKind.AUTH])
def test_what_an_account_may_not_says_nothing_of_a_method(kind: ErrorKind) -> None:
    """It is over at a known time, or by an edit: nothing is learned, so nothing is held down."""
    limited = replace(DIRECT, breaker=replace(DOWN, last_kind=kind))
    assert learn(Learned(), limited, GATEWAY) == Learned()


def replay(*outages: tuple[float, float], seconds: int = 3000) -> list[tuple[int, Learned]]:
    """What is learned each second while the preferred method is down during these outages; only
    what changes. The breaker closes and opens with them: its own cooldown is not the question."""
    known, found = Learned(), []
    for second in range(seconds):
        now = NOW + timedelta(seconds=second)
        down = [(a, b) for a, b in outages if a <= second < b]
        direct = replace(DIRECT, good_streak=9)
        if down:
            opened = NOW + timedelta(seconds=down[0][0])
            direct = replace(DIRECT, breaker=replace(DOWN, opened_at=opened), good_streak=0)
        new = preference.learn(
            known, Method.DIRECT, [direct, replace(GATEWAY, last_success_at=now)], now
        )
        if (new.method, new.flaps) != (known.method, known.flaps):
            found.append((second, new))
        known = new
    return found


def test_after_a_first_outage_the_preferred_method_is_back_within_half_a_minute() -> None:
    """Of its healing: an outage of 19 s once kept it away for ten minutes."""
    (left, _), (back, learned) = replay((10, 29))
    assert (left, back) == (10, 40)
    assert learned.method is None


def test_a_method_that_flaps_is_held_down_for_longer_each_time_and_forgiven_later() -> None:
    """Twice as long each time; after ten good minutes it is as if it had never failed."""
    changes = replay((10, 20), (60, 65), (130, 135), (1000, 1010))
    left = [(second, new.flaps) for second, new in changes if new.method]
    back = [second for second, new in changes if not new.method]
    assert left == [(10, 0), (60, 1), (130, 2), (1000, 0)]
    assert back == [40, 120, 250, 1030]


def test_a_method_in_use_is_remembered_for_longer() -> None:
    """A day counts from its last use, written down every few minutes at most."""
    used = replace(GATEWAY, last_success_at=NOW + timedelta(minutes=6))
    assert learn(LEARNED, BROKEN, used, after=60) == LEARNED
    assert learn(LEARNED, BROKEN, used, after=400).at == NOW + timedelta(seconds=400)


NO_PAGE = CallError(ErrorKind.PROVIDER, "x", status=200, code="html")
REFUSED = CallError(ErrorKind.NETWORK, "x", code="connect_refused")
UNKNOWN = GatewayError("x", status=404, code="model_not_found")


@pytest.mark.parametrize(
    ("known", "direct", "gateway", "found"),
    [
        ("gateway-required", None, None, "hybrid"),
        ("hybrid", None, UNKNOWN, "direct-api"),
        ("hybrid", NO_PAGE, None, "gateway-required"),
        ("hybrid", REFUSED, None, "hybrid"),
        ("hybrid", None, GatewayError("x", code="connect_refused"), "hybrid"),
        ("direct-api", REFUSED, REFUSED, "direct-api"),
        ("legacy", None, None, "legacy"),
    ],
)
def test_a_test_of_both_methods_shows_the_provider_type(
    known: str, direct: CallError | None, gateway: CallError | None, found: str
) -> None:
    """By failures that last, not by those of a bad day."""
    assert preference.provider_type(known, direct, gateway) == found


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 900)), max_size=60))
def test_however_the_methods_flap_each_return_waits_for_its_hold_down(
    steps: list[tuple[bool, bool, int]],
) -> None:
    """And the hold-down has doubled exactly where the last return held for less than ten
    minutes."""
    known, now, returned_at = Learned(), NOW, None
    for direct_up, gateway_up, seconds in steps:
        now += timedelta(seconds=seconds)
        states = [
            replace(
                route,
                breaker=PROVEN if up else replace(DOWN, opened_at=now),
                last_success_at=now,
                good_streak=9 if up else 0,
            )
            for route, up in ((DIRECT, direct_up), (GATEWAY, gateway_up))
        ]
        new = preference.learn(known, Method.DIRECT, states, now)
        if known.method is None and new.method:
            flaps = returned_at is not None and now - returned_at < timedelta(minutes=10)
            assert new.flaps == (known.flaps + 1 if flaps else 0)
            assert not direct_up
            assert gateway_up
        elif known.method and new.method is None:
            assert known.switched_at is not None
            assert now - known.switched_at >= preference.hold_down(known.flaps)
            assert direct_up
            returned_at = now
        known = new
    assert preference.hold_down(known.flaps) <= timedelta(seconds=RULES.longest_hold_down)
