"""Which method works: what is remembered of it, and when the preferred one comes back. No I/O.

Breakers decide about one request; this decides about the next day. The preferred method is left
when it opens while another one answers. It returns once its breaker is closed by good results in a
row and a hold-down is over, which doubles only where it failed again soon after a return:

    left for the first time, or after a return that held for `flap_within`    `hold_down`
    left again within `flap_within` of a return                               twice the last one
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, cast

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.tuning import RULES, Rules
from providers.domain.types import Method
from providers.policy.breaker import State
from providers.policy.route_state import RouteState

REMEMBER_EVERY = timedelta(minutes=5)  # a method in use is written again at most so often


@frozen
class Learned:
    """The method remembered in the place of the preferred one; None where that one is used."""

    method: Method | None = None
    at: datetime | None = None
    switched_at: datetime | None = None
    flaps: int = 0


def hold_down(flaps: int, rules: Rules = RULES) -> timedelta:
    """How long after it went down the preferred method may return."""
    return timedelta(seconds=min(rules.longest_hold_down, rules.hold_down * 2 ** min(flaps, 16)))


def learn(
    learned: Learned,
    preferred: Method,
    states: Iterable[RouteState],
    now: datetime,
    rules: Rules = RULES,
) -> Learned:
    """What to remember after the results in the states; `learned` itself if nothing changes."""
    routes = list(states)
    ours = [state for state in routes if state.method == preferred]
    others = [state for state in routes if state.method != preferred]
    if learned.method is None:
        return _leave_preferred(learned, ours, others, now, rules)
    if _is_back(ours, rules) and _hold_down_is_over(learned, now, rules):
        return Learned(switched_at=now, flaps=learned.flaps)
    in_use = [state for state in others if _answered_after(state, learned.at)]
    if in_use and learned.at and now - learned.at >= REMEMBER_EVERY:
        return replace(learned, at=now)
    return learned


# Codes of failures that are so tomorrow as well.
_LASTING = frozenset({"html", "json", "redirect", "model_not_found", "not_found"})


def provider_type(
    current: str, direct: CallError | None, gateway: CallError | None
) -> Literal["direct-api", "gateway-required", "hybrid", "legacy"]:
    """What a test of both routes shows of a provider; None is a route that works.

    A route that is down today is no reason to give it up: only a lasting failure is. `legacy` is
    left by the operator alone.
    """
    before = cast(Literal["direct-api", "gateway-required", "hybrid", "legacy"], current)
    if before == "legacy":
        return before
    if direct is None and gateway is None:
        return "hybrid"
    if direct is None and gateway and _lasts(gateway):
        return "direct-api"
    if gateway is None and direct and _lasts(direct):
        return "gateway-required"
    return before


def _lasts(error: CallError) -> bool:
    return error.code in _LASTING or error.status in (404, 405)


def _leave_preferred(
    learned: Learned,
    ours: list[RouteState],
    others: list[RouteState],
    now: datetime,
    rules: Rules,
) -> Learned:
    """Remember a method that answers while the preferred one is down."""
    down = bool(ours) and all(_is_down(state) for state in ours)
    since = max((s.breaker.opened_at for s in ours if s.breaker.opened_at), default=None)
    answering = [state for state in others if since and _answered_after(state, since)]
    if not (down and answering):
        return learned
    again = learned.switched_at and (now - learned.switched_at).total_seconds() < rules.flap_within
    return Learned(
        method=answering[0].method,
        at=now,
        switched_at=since,
        flaps=learned.flaps + 1 if again else 0,
    )


# What an account may not or must not do now says nothing about the method that carries it.
_OF_THE_ACCOUNT = frozenset({ErrorKind.RATE_LIMIT, ErrorKind.QUOTA, ErrorKind.AUTH})


def _is_down(state: RouteState) -> bool:
    return state.breaker.state != State.CLOSED and state.breaker.last_kind not in _OF_THE_ACCOUNT


def _answered_after(state: RouteState, moment: datetime | None) -> bool:
    closed, last = state.breaker.state == State.CLOSED, state.last_success_at
    return closed and last is not None and (moment is None or last >= moment)


def _is_back(ours: list[RouteState], rules: Rules) -> bool:
    return any(
        state.breaker.state == State.CLOSED and state.good_streak >= rules.good_to_return
        for state in ours
    )


def _hold_down_is_over(learned: Learned, now: datetime, rules: Rules) -> bool:
    return learned.switched_at is None or now - learned.switched_at >= hold_down(
        learned.flaps, rules
    )
