"""Preview in a sentence which member of a virtual model would answer the next request. No I/O.

The sentence comes from the order that requests use; what a request needs is not known before it
comes, and how busy each key is only the process that sends the calls knows.
"""

from collections.abc import Sequence

from providers.domain.request_needs import RequestNeeds
from providers.policy.members import (
    MemberList,
    MemberOrder,
    MemberState,
    Strategy,
    order_members,
)

NO_MEMBER = "No member is in use, so this name cannot be requested."
MAX_NAMED = 4  # members in one sentence


def describe_next_request(virtual: MemberList, states: Sequence[MemberState]) -> str:
    """What would happen to a plain request now, and which members would be skipped."""
    chosen = order_members(virtual, states, RequestNeeds(), _middle)
    sentences = [_describe_order(virtual, chosen), *_describe_skipped(virtual, chosen)]
    return " ".join(sentences)


def _middle() -> float:
    """A draw for a preview, in which no weight is drawn."""
    return 0.5


def _describe_order(virtual: MemberList, chosen: MemberOrder) -> str:
    names = [virtual.members[place].name for place in chosen.places]
    if virtual.strategy == Strategy.WEIGHTED and len(names) > 1:
        return f"Drawn by weight: {_describe_shares(virtual, chosen)}."
    if virtual.strategy == Strategy.LEAST_BUSY and len(names) > 1:
        return f"The least busy of {_join(names)} answers."
    first, *others = names
    if not others:
        return f"{first} answers; no other member can take its place."
    return f"{first} answers ({chosen.reason}); if it fails, {', then '.join(_shorten(others))}."


def _describe_shares(virtual: MemberList, chosen: MemberOrder) -> str:
    members = [virtual.members[place] for place in sorted(chosen.places)]
    total = sum(member.weight for member in members)
    if not total:
        return f"no member has a weight, so {members[0].name} answers"
    shares = [f"{m.name} {m.weight / total:.0%}" for m in members if m.weight]
    return ", ".join(_shorten(shares))


def _describe_skipped(virtual: MemberList, chosen: MemberOrder) -> list[str]:
    skipped = [f"{virtual.members[place].name} is skipped: {why}." for place, why in chosen.skipped]
    return skipped[:MAX_NAMED]


def _join(names: Sequence[str]) -> str:
    *first, last = _shorten(names)
    return f"{', '.join(first)} and {last}"


def _shorten(names: Sequence[str]) -> list[str]:
    more = len(names) - MAX_NAMED
    return [*names[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])]
