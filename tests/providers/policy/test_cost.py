"""What a decision costs, counted in calls of functions: the same whatever else is loaded."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.domain.errors import ErrorKind
from providers.domain.types import Method
from providers.policy import plan as planning
from providers.policy.breaker import BreakerState, Domain, DomainState, State
from providers.policy.domains import Domains
from providers.policy.next_step import Progress, Try, next_step
from providers.policy.plan import Plan, Policy
from providers.policy.route_state import RouteState

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
COOLING = BreakerState(
    state=State.OPEN,
    failures=5,
    last_kind=ErrorKind.PROVIDER,
    opened_at=NOW,
    retry_at=NOW + timedelta(seconds=30),
)
MOST_CALLS, MOST_CALLS_IN_AN_OUTAGE = 100, 400


class Site:
    """So many providers of two routes each; of every one but the first a model and the key fail."""

    def __init__(self, providers: int, opened: BreakerState | None = None) -> None:
        self.routes = {
            number: (
                RouteState(route_id=2 * number, method=Method.DIRECT, key=f"k{number}"),
                RouteState(route_id=2 * number + 1, method=Method.GATEWAY, key=f"k{number}"),
            )
            for number in range(1, providers + 1)
        }
        self.domains = Domains()
        for number in range(1 if opened else 2, providers + 1):
            for domain in (Domain(2 * number, "", "m"), Domain(0, f"k{number}", "")):
                self.domains.put(DomainState(domain=domain, breaker=opened or COOLING))

    def decide(self) -> Plan:
        """What a request for the first provider goes through until its first call goes out."""
        routes = tuple(self.domains.attach_breakers(route, "m") for route in self.routes[1])
        plan = planning.plan(Policy(), routes, NOW, DAY)
        progress = Progress(
            plan=plan, policy=Policy(), fresh=DAY, routes=routes, left=plan.routes, wait_left=30
        )
        next_step(progress, NOW)
        return plan


def count_calls(work: Callable[[], object]) -> int:
    """The functions that this calls, built-in ones too."""
    calls = 0

    def profile(frame: object, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    ("opened", "most"), [(None, MOST_CALLS), (COOLING, MOST_CALLS_IN_AN_OUTAGE)]
)
def test_a_decision_costs_the_same_however_many_providers_are_loaded(
    opened: BreakerState | None, most: int
) -> None:
    """Neither the others' routes nor their failed models and keys are looked at."""
    few, many = Site(2, opened), Site(5_000, opened)
    assert few.decide().routes or opened
    calls = count_calls(few.decide)
    assert count_calls(many.decide) == calls
    assert calls <= most


def test_no_breaker_is_looked_up_of_a_route_that_never_failed() -> None:
    """The route itself comes back: nothing is made for it."""
    site = Site(1_000)
    for route in site.routes[1]:
        assert site.domains.attach_breakers(route, "m") is route
        assert count_calls(lambda route=route: site.domains.attach_breakers(route, "m")) <= 3  # type: ignore[misc]


def test_a_plan_grows_by_its_own_routes_alone() -> None:
    """Each further route costs the same: none is compared with all the others."""

    def calls(gateways: int) -> int:
        gateway = RouteState(route_id=0, method=Method.GATEWAY, is_fallback=True)
        routes = tuple(replace(gateway, route_id=number) for number in range(gateways))
        return count_calls(lambda: planning.plan(Policy(), routes, NOW, DAY))

    first, second, third = calls(10), calls(20), calls(30)
    assert third - second == second - first


def test_the_first_step_takes_the_first_route_and_makes_no_new_plan() -> None:
    """A request that meets no failure goes through the table's first rows."""
    site = Site(1)
    plan = site.decide()
    progress = Progress(plan=plan, policy=Policy(), fresh=DAY, left=plan.routes)
    step = next_step(progress, NOW)
    assert isinstance(step, Try)
    assert step.route is plan.routes[0]
    assert count_calls(lambda: next_step(progress, NOW)) <= 12
