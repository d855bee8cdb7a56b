"""What each choice of a routing method would do with the next request, in a sentence. No I/O.

It asks the very plan that requests go by, so that the page never promises another route.
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
    """One choice; `chosen` is the one in force."""

    method: str
    name: str
    sentence: str
    chosen: bool


def prospects(
    policy: planning.Policy,
    routes: tuple[RouteState, ...],
    now: datetime,
    fresh: timedelta,
    alternatives: tuple[planning.Alternative, ...] = (),
) -> tuple[RoutePreview, ...]:
    """What would happen now under each method, the rest of the policy as it is."""
    own = {route.route_id for route in routes}
    return tuple(
        RoutePreview(
            method=method,
            name=name,
            sentence=_sentence(
                planning.plan(
                    replace(policy, routing_method=method), routes, now, fresh, alternatives
                ),
                own,
            ),
            chosen=method == policy.routing_method,
        )
        for method, name in _NAMES.items()
    )


def _sentence(plan: planning.Plan, own: set[int]) -> str:
    if not plan.routes:
        return _nothing(plan)
    first, *others = plan.routes
    why = first.reason.removeprefix(f"{first.route.method}: ")
    if others:
        return f"{_upper(_road(first, own))} ({why}); if that fails, {_then(others, own)}."
    return f"{_upper(_road(first, own))} ({why}), and no other route."


def _nothing(plan: planning.Plan) -> str:
    if plan.resting is None:
        return "No route is allowed by these settings."
    return plan.resting.message


def _then(steps: Iterable[planning.PlannedRoute], own: set[int]) -> str:
    roads = dict.fromkeys(_road(step, own) for step in steps)
    return ", then ".join(roads)


def _road(step: planning.PlannedRoute, own: set[int]) -> str:
    """The route of a step in a few words; one of another provider's by its name."""
    route = step.route
    if route.route_id not in own:
        return step.reason
    if route.method == Method.DIRECT:
        return "directly"
    if not route.endpoint:
        return "through this program's gateway process"
    return f"through the gateway at {base_url.host(route.endpoint)}"


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]
