"""The preview of a routing method comes from the plan that requests use."""

from datetime import UTC, datetime, timedelta

import pytest

from providers.diagnosis.forecast import preview_routes
from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.policy.breaker import BreakerState, State
from providers.policy.plan import FallbackProvider, Policy
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
DIRECT = RouteState(route_id=1, method=Method.DIRECT)
GATEWAY = RouteState(route_id=2, method=Method.GATEWAY, endpoint="http://litellm:4000")
OWN = RouteState(route_id=3, method=Method.GATEWAY, is_fallback=True)
RESTING = BreakerState(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.NETWORK,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
)


def preview(
    policy: Policy, *routes: RouteState, others: tuple[FallbackProvider, ...] = ()
) -> list[str]:
    return [each.sentence for each in preview_routes(policy, routes, NOW, DAY, others)]


def test_each_method_is_previewed_with_its_fallbacks() -> None:
    """The first route, its reason, and the routes after it."""
    auto, direct, gateway = preview(Policy(), DIRECT, GATEWAY, OWN)
    assert auto == (
        "Directly (preferred); if that fails, through the gateway at litellm:4000,"
        " then through the gateway process."
    )
    assert direct.startswith("Directly (set for this provider); if that fails, through the")
    assert gateway.startswith("Through the gateway at litellm:4000 (set for this provider); if")


def test_the_one_in_force_is_marked() -> None:
    """One of three."""
    result = preview_routes(Policy(routing_method="gateway"), (DIRECT, GATEWAY), NOW, DAY)
    assert [each.name for each in result if each.chosen] == ["Gateway"]


def test_without_fallback_there_is_one_route() -> None:
    """The sentence says so."""
    policy = Policy(fallback_enabled=False)
    assert (
        preview(policy, DIRECT, GATEWAY)[1]
        == "Directly (set for this provider), without a fallback."
    )


def test_an_open_route_is_left_out_with_its_reason() -> None:
    """With the time of its next probe, as in the trace of a request."""
    resting = RouteState(route_id=1, method=Method.DIRECT, breaker=RESTING)
    sentence = preview(Policy(), resting, GATEWAY)[0]
    assert sentence.startswith("Through the gateway at litellm:4000 (direct failed 5 times")
    assert "12:00:30" in sentence
    assert preview(Policy(), resting)[0].startswith(
        "All routes to this provider are temporarily unavailable"
    )


@pytest.mark.parametrize(
    ("kind", "start"), [("legacy", "Directly (a legacy"), ("gateway-required", "Through the")]
)
def test_the_providers_type_overrules_the_method(kind: str, start: str) -> None:
    """Whatever is chosen, the sentence is the same."""
    result = preview(Policy(provider_type=kind), DIRECT, GATEWAY)
    assert len(set(result)) == 1
    assert result[0].startswith(start)
    assert preview(Policy(provider_type="gateway-required"), DIRECT)[0].startswith(
        "These settings allow no route"
    )


def test_a_fallback_provider_is_named() -> None:
    """Once, however many routes it has."""
    theirs = (
        RouteState(route_id=8, method=Method.DIRECT),
        RouteState(route_id=9, method=OWN.method),
    )
    other = FallbackProvider(name="Backup", policy=Policy(), routes=theirs)
    assert preview(Policy(), DIRECT, others=(other,))[0].endswith(
        "if that fails, Backup answers as the fallback."
    )
