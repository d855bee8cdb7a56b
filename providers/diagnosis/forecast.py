"""Preview in a sentence what each routing method would do with the next request. No I/O.

The sentence comes from the plan that requests use, so that the page never promises another route.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from providers.domain import base_url
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.policy import plan as planning
from providers.policy.route_state import RouteState

_NAMES = {"auto": "Automatic", "direct": "Direct", "gateway": "Gateway"}


@frozen
class RoutePreview:
    """One routing method; `chosen` is the one in force."""

    method: str
    name: str
    sentence: str
    chosen: bool


def preview_routes(
    policy: planning.Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
    alternatives: tuple[planning.FallbackProvider, ...] = (),
) -> tuple[RoutePreview, ...]:
    """Preview each method with the rest of the policy unchanged."""
    own = {route.route_id for route in routes}
    return tuple(
        RoutePreview(
            method=method,
            name=name,
            sentence=_describe_plan(
                planning.plan(
                    replace(policy, routing_method=method), routes, now, fresh, alternatives
                ),
                own,
            ),
            chosen=method == policy.routing_method,
        )
        for method, name in _NAMES.items()
    )


def _describe_plan(plan: planning.Plan, own: set[int]) -> str:
    if not plan.routes:
        return _describe_no_route(plan)
    first, *others = plan.routes
    reason = first.reason.removeprefix(f"{first.route.method}: ")
    start = f"{_capitalize(_describe_route(first, own))} ({reason})"
    if others:
        return f"{start}; if that fails, {_describe_fallbacks(others, own)}."
    return f"{start}, without a fallback."


def _describe_no_route(plan: planning.Plan) -> str:
    if plan.refusal is None:
        return "These settings allow no route."
    return plan.refusal.message


def _describe_fallbacks(routes: Iterable[planning.PlannedRoute], own: set[int]) -> str:
    return ", then ".join(dict.fromkeys(_describe_route(route, own) for route in routes))


def _describe_route(planned: planning.PlannedRoute, own: set[int]) -> str:
    """A route in a few words; one of another provider by that provider's name."""
    route = planned.route
    if route.route_id not in own:
        return planned.reason
    if route.method == Method.DIRECT:
        return "directly"
    if not route.endpoint:
        return "through the gateway process"
    return f"through the gateway at {base_url.host(route.endpoint)}"


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
