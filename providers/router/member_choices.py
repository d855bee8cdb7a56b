"""Choose among a virtual model's members for one request, from what this event loop remembers.

It remembers how fast each model began to answer of late, which member is the fastest, and which one
answered each conversation last. All of it is bounded in number and in time.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime

from providers.domain.types import ChatRequest
from providers.policy.members import (
    READY,
    MemberList,
    MemberOrder,
    MemberState,
    Strategy,
    order_members,
)
from providers.policy.model_names import ModelKey
from providers.policy.plan import Plan
from providers.policy.reasons import cooldown_reason
from providers.policy.route_state import TTFT_WEIGHT, RouteState
from providers.protocols.request_needs import read_needs
from providers.router.affinity import Affinity
from providers.router.affinity_feed import AffinityFeed
from providers.router.limits import ConcurrencyLimiter
from providers.router.snapshot import Candidate

RECENT_SECONDS = 600.0  # in which a time to first token counts; then the route's average does
MAX_MODELS = 10_000  # whose times are remembered

type FindLimiter = Callable[[Candidate, RouteState], ConcurrencyLimiter]


class MemberChoices:
    """What one event loop knows of the members of all virtual models."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._leaders: dict[int, ModelKey] = {}
        self._times: OrderedDict[ModelKey, tuple[float, float]] = OrderedDict()
        self.affinity = Affinity(monotonic)
        self.feed = AffinityFeed(self.affinity)

    def choose(
        self,
        virtual: MemberList,
        states: Sequence[MemberState],
        request: ChatRequest,
        conversation: str,
    ) -> MemberOrder:
        """The order of one request. Raises CallError where no member can take it."""
        chosen = order_members(
            virtual,
            states,
            read_needs(request),
            random.random,
            leader=self._leaders.get(virtual.pk),
            last=self.affinity.find(conversation) if conversation else None,
        )
        if chosen.leader:
            self._leaders[virtual.pk] = chosen.leader
        return chosen

    def state(
        self,
        strategy: Strategy,
        candidate: Candidate,
        plan: Plan,
        now: datetime,
        find_limiter: FindLimiter,
    ) -> MemberState:
        """A member as it is now; of the figures only what its strategy compares."""
        if not plan.routes:
            return MemberState(cooldown=_describe_cooldown(candidate, now))
        if strategy == Strategy.FASTEST:
            return MemberState(ttft_ms=self._recent_ttft(candidate, plan))
        if strategy == Strategy.LEAST_BUSY:
            limiter = find_limiter(candidate, plan.routes[0].route)
            return MemberState(load=limiter.busy / max(1.0, limiter.limit))
        return READY

    def _recent_ttft(self, candidate: Candidate, plan: Plan) -> float | None:
        """Of this model, in milliseconds; of its route where this process has none of its own."""
        figure = self._times.get((candidate.provider_id, candidate.model_id))
        if figure and self._now() - figure[1] < RECENT_SECONDS:
            return figure[0]
        return plan.routes[0].route.ttft_ms

    def note_answer(self, key: ModelKey, ttft_ms: int | None, conversation: str = "") -> None:
        """A member has answered: remember how long it took to its first token, and to whom."""
        if conversation:
            self.feed.note(conversation, key)
        if ttft_ms is None:
            return
        now, figure = self._now(), self._times.pop(key, None)
        fresh = figure is not None and now - figure[1] < RECENT_SECONDS
        before = figure[0] if figure and fresh else float(ttft_ms)
        self._times[key] = (before + TTFT_WEIGHT * (ttft_ms - before), now)
        if len(self._times) > MAX_MODELS:
            self._times.popitem(last=False)


def _describe_cooldown(candidate: Candidate, now: datetime) -> str:
    """Why no call may go out, as a part of a sentence."""
    cooling = [cooldown_reason(each, now) for each in candidate.routes if not each.admits(now)]
    return "; ".join(cooling) or "its settings allow no route"
