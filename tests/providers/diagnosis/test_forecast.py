"""What a method would do is told from the plan that requests go by."""

from datetime import UTC, datetime, timedelta

import pytest

from providers.diagnosis.forecast import prospects
from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.policy.breaker import BreakerState, State
from providers.policy.plan import Alternative, Policy
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
DIRECT = RouteState(route_id=1, method=Method.DIRECT)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, endpoint="http://litellm:4000")
OWN = RouteState(route_id=3, method=Method.GATEWAY, spare=True)
RESTING = BreakerState(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.NETWORK,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
)


def told(policy: Policy, *routes: RouteState, others: tuple[Alternative, ...] = ()) -> list[str]:
    return [each.sentence for each in prospects(policy, routes, NOW, DAY, others)]


def test_each_method_is_told_with_what_follows() -> None:
    """First route, why, and what stands behind it."""
    auto, direct, gateway = told(Policy(), DIRECT, GATEWAY, OWN)
    assert auto == (
        "Directly (preferred); if that fails, through the gateway at litellm:4000,"
        " then through this program's gateway process."
    )
    assert direct.startswith("Directly (set for this provider); if that fails, through the")
    assert gateway.startswith("Through the gateway at litellm:4000 (set for this provider); if")


def test_the_one_in_force_is_marked() -> None:
    """One of three."""
    found = prospects(Policy(routing_method="gateway"), (DIRECT, GATEWAY), NOW, DAY)
    assert [each.name for each in found if each.chosen] == ["Gateway"]


def test_without_fallback_there_is_one_road() -> None:
    """And the page says so."""
    policy = Policy(fallback_enabled=False)
    assert (
        told(policy, DIRECT, GATEWAY)[1] == "Directly (set for this provider), and no other route."
    )


def test_a_resting_road_is_left_out_with_its_reason() -> None:
    """Until when, as the request's own trace says it."""
    resting = RouteState(route_id=1, method=Method.DIRECT, breaker=RESTING)
    sentence = told(Policy(), resting, GATEWAY)[0]
    assert sentence.startswith("Through the gateway at litellm:4000 (direct failed 5 times")
    assert "12:00:30" in sentence
    assert told(Policy(), resting)[0].startswith(
        "All routes to this provider are temporarily unavailable"
    )


@pytest.mark.parametrize(
    ("kind", "start"), [("legacy", "Directly (a legacy"), ("gateway-required", "Through the")]
)
def test_the_providers_type_overrules_the_method(kind: str, start: str) -> None:
    """Whatever is chosen, the sentence is the same."""
    found = told(Policy(provider_type=kind), DIRECT, GATEWAY)
    assert len(set(found)) == 1
    assert found[0].startswith(start)
    assert told(Policy(provider_type="gateway-required"), DIRECT)[0].startswith("No route")


def test_another_provider_stands_in_under_its_name() -> None:
    """Once, however many routes it has."""
    theirs = (
        RouteState(route_id=8, method=Method.DIRECT),
        RouteState(route_id=9, method=OWN.method),
    )
    other = Alternative(name="Backup", policy=Policy(), routes=theirs)
    assert told(Policy(), DIRECT, others=(other,))[0].endswith(
        "if that fails, Backup answers as the fallback."
    )
