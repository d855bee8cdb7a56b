"""The health of a provider or a gateway, derived from its routes: a word and why. No I/O.

It gets worse at once and better only after several good results and half a minute, so that it does
not flicker.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules
from providers.policy import plan, reasons
from providers.policy.breaker import DomainState, State
from providers.policy.route_state import RouteState

type Word = Literal["healthy", "degraded", "failing", "unknown"]


@frozen
class Health:
    """`reason` is a sentence without its full stop; empty where all is well."""

    word: Word
    reason: str = ""


def health(
    policy: plan.Policy,
    routes: Sequence[RouteState],
    now: datetime,
    fresh: timedelta,
    before: str = "unknown",
    rules: Rules = RULES,
    models: Sequence[DomainState] = (),
) -> Health:
    """What the routes together mean; `before` is the word so far, `models` are those that fail.

    One model that fails makes a provider degraded: the others are still served.
    """
    ordered = plan.in_order(policy, routes, now, fresh)
    current = _current_health(policy, ordered, now, rules)
    if problem := _failing_models(models, ordered):
        if current.word in ("healthy", "unknown"):
            return Health(word="degraded", reason=problem)
        if current.word == "failing":
            return Health(word="failing", reason=f"{problem}; {current.reason}")
    if current.word != "healthy" or before not in ("degraded", "failing"):
        return current
    return _recovering(ordered[0], now, rules) or current


def _failing_models(models: Sequence[DomainState], routes: Sequence[RouteState]) -> str:
    """Which models fail over these routes, and how; empty where none does."""
    ids, keys = {route.route_id for route in routes}, {route.key for route in routes}
    kinds = {
        each.domain.model_id: each.breaker.last_kind
        for each in models
        if each.domain.route_id in ids or (each.domain.key and each.domain.key in keys)
    }
    if not kinds:
        return ""
    first, *others = sorted(kinds)
    if not others:
        return f"{first} fails ({reasons.words(kinds[first])})"
    more = others[0] if len(others) == 1 else f"{len(others)} more models"
    return f"{first} and {more} fail"


def gateway_health(
    answers: bool | None,
    checked_at: datetime | None,
    routes: Sequence[RouteState],
) -> Word:
    """A gateway's health: `answers` is whether its last check was answered, None where that was
    long ago or never. A call through it that went well since then counts for more."""
    since = [
        r for r in routes if r.last_success_at and checked_at and r.last_success_at > checked_at
    ]
    if answers is False and not since:
        return "failing"
    cooling = [route for route in routes if route.breaker.state != State.CLOSED]
    if cooling:
        return "failing" if len(cooling) == len(routes) else "degraded"
    tried = any(route.last_outcome_at for route in routes)
    return "healthy" if answers or since or tried else "unknown"


def _current_health(
    policy: plan.Policy, ordered: list[RouteState], now: datetime, rules: Rules
) -> Health:
    if not ordered:
        return Health(word="unknown", reason="No route to it is allowed by its settings")
    conditions = [_condition(route) for route in ordered]
    down = [r for r, c in zip(ordered, conditions, strict=True) if c == "down"]
    problem = "; ".join(reasons.cooldown_reason(route, now) for route in down)
    if len(down) == len(ordered):
        return Health(word="failing", reason=problem)
    if "working" not in conditions:
        if down or "shaky" in conditions:
            return Health(word="degraded", reason=problem or _describe_failures(ordered[0]))
        return Health(word="unknown", reason="Nothing has been asked of it yet")
    return _working(policy, ordered, conditions, problem, rules)


def _working(
    policy: plan.Policy,
    ordered: list[RouteState],
    conditions: Sequence[str],
    problem: str,
    rules: Rules,
) -> Health:
    """At least one route answers: is it the one that should, and does it answer well?"""
    first = ordered[0]
    preferred = plan.preferred_method(policy)
    preferred_down = any(
        route.method == preferred and condition == "down"
        for route, condition in zip(ordered, conditions, strict=True)
    )
    if conditions[0] != "working" or preferred_down:
        return Health(word="degraded", reason=problem or _describe_failures(first))
    if problem := _find_problem(first, rules):
        return Health(word="degraded", reason=problem)
    return Health(word="healthy")


def _condition(route: RouteState) -> Literal["working", "shaky", "down", "unproven"]:
    if not route.is_closed:
        return "down"
    if route.breaker.failures:
        return "shaky"
    return "working" if route.breaker.proven else "unproven"


def _describe_failures(route: RouteState) -> str:
    if not route.breaker.failures:
        return f"{route.method} has not been tried yet"
    return f"{route.method} failed {route.breaker.failures:g} times in a row"


def _find_problem(route: RouteState, rules: Rules) -> str:
    """What is wrong with a route that answers; empty where nothing is."""
    if route.judged < rules.judged_least:
        return ""
    if route.error_share > rules.degraded_share:
        return f"{route.method} fails {100 * route.error_share:.0f} % of the time"
    slow, usual = route.ttft_p95_ms, route.ttft_baseline_ms
    if slow and usual and slow > rules.slow_factor * usual:
        return (
            f"{route.method} is slow: one answer in twenty begins after {slow / 1000:.1f} s,"
            f" usual are {usual / 1000:.1f} s"
        )
    return ""


def _recovering(route: RouteState, now: datetime, rules: Rules) -> Health | None:
    """Still degraded, as what works has not worked for long enough."""
    if route.last_failure_at is None:
        return None
    good, needed = route.good_streak, rules.good_to_recover
    if good < needed:
        return Health(word="degraded", reason=f"Recovering: {good} of {needed} good results")
    if now - route.last_failure_at < timedelta(seconds=rules.recover_after):
        return Health(word="degraded", reason="Recovering: the last failure is moments ago")
    return None
