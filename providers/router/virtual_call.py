"""Turn a call to a virtual model into the candidates that are tried, in order, with the reasons."""

from collections.abc import Sequence
from datetime import datetime

from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord, ChatRequest
from providers.policy.members import (
    Member,
    MemberList,
    MemberOrder,
    MemberState,
    describe_choice,
)
from providers.policy.plan import PlannedRoute, failed_reason
from providers.router import answer_cache
from providers.router.affinity import conversation_key
from providers.router.call import Call
from providers.router.route_table import RouteTable
from providers.router.snapshot import Candidate

GONE = MemberState(cooldown="its provider is gone or paused")


@frozen
class VirtualCall:
    """One request to a virtual model: its candidates and members by place, best first.

    `reason` says why the first one is first, and which were skipped. `is_fallback`: a member that
    is in a cooldown was skipped. `conversation`: what the answering member is remembered by.
    """

    virtual: MemberList
    candidates: list[Candidate]
    members: tuple[Member, ...]
    reason: str
    is_fallback: bool
    conversation: str

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The members' contexts, by place."""
        return tuple([member.context for member in self.members])

    def describe_step(
        self, step: PlannedRoute, failed: PlannedRoute | None, attempts: Sequence[AttemptRecord]
    ) -> str:
        """Why this member is called now; empty where the one before it is called again."""
        if failed is None:
            return "" if attempts else f"{step.reason}; {self.reason}"
        if failed.place == step.place:
            return ""
        name, before = self.members[step.place].name, self.members[failed.place].name
        problem = failed_reason(attempts[-1])
        return f"{step.route.method}: {name} answers for {self.virtual.name}; {before}: {problem}"


async def plan_virtual(
    table: RouteTable, call: Call, virtual: MemberList, request: ChatRequest, now: datetime
) -> VirtualCall:
    """Order the members from what this process has in memory.

    Raises CallError where none can take the request.
    """
    members, strategy = virtual.members, virtual.strategy
    candidates = [await table.candidate(each.provider_id, each.model_id) for each in members]
    states = [table.member_state(strategy, each, now) if each else GONE for each in candidates]
    caller = answer_cache.caller(call.user_id, call.client_key)
    conversation = conversation_key(virtual.pk, caller, call.session) if call.session else ""
    chosen = table.choices.choose(virtual, states, request, conversation)
    places = [place for place in chosen.places if candidates[place]]
    return VirtualCall(
        virtual=virtual,
        candidates=[each for place in places if (each := candidates[place])],
        members=tuple([members[place] for place in places]),
        reason=describe_choice(virtual, chosen),
        is_fallback=_skips_failed(chosen, states),
        conversation=conversation,
    )


def _skips_failed(chosen: MemberOrder, states: list[MemberState]) -> bool:
    return any(why == states[place].cooldown for place, why in chosen.skipped)
