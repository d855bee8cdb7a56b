"""What is shown until the first token, at any moment of the wait."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.waiting import columns, waiting
from providers.domain.types import AttemptStarted, Method

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
STARTED = AttemptStarted(
    provider_name="Acme",
    model="tiny",
    method=Method.DIRECT,
    started_at=NOW,
    first_token=10.0,
    next_route="gateway",
)


@pytest.mark.parametrize(
    ("passed", "waited", "left"), [(0, 0, 10), (3.9, 3, 7), (10, 10, 0), (60, 60, 0), (-5, 0, 10)]
)
def test_the_seconds_are_counted_from_the_call(passed: float, waited: int, left: int) -> None:
    """Also by another machine's clock, a little behind."""
    shown = waiting(columns(STARTED), NOW + timedelta(seconds=passed))
    assert (shown.waited, shown.left) == (waited, left)


def test_the_next_step_is_named() -> None:
    """Another route, or the end; and what failed before."""
    shown = waiting(columns(STARTED), NOW)
    assert (shown.route, shown.next_step) == ("tiny on Acme, direct", "gateway")
    assert shown.sentence == (
        "Waiting for tiny on Acme, direct. Without an answer in 10 s gateway is tried."
    )
    last = AttemptStarted(
        provider_name="Acme",
        model="tiny",
        method=Method.GATEWAY,
        started_at=NOW,
        first_token=60.0,
        failed="direct failed (time-out)",
    )
    shown = waiting(columns(last), NOW)
    assert (shown.next_step, shown.failed) == ("gives up", "direct failed (time-out)")
    assert shown.sentence.endswith("Without an answer in 60 s the request ends.")
