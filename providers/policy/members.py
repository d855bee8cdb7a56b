"""Order the members of a virtual model for one request, with a reason for each choice. No I/O.

A virtual model is one name that several models serve. Members that cannot take the request, or may
not be called now, are skipped:

    too small     the request does not fit into its context
    unable        it is known to lack pictures, tools or JSON output
    in a cooldown none of its routes lets a call through

The strategy orders the others, and a conversation stays with the member that answered it last. The
list is never empty by estimates or breakers alone: where nothing else is left, the largest of those
that are too small come first, then those in a cooldown.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.prices import Prices
from providers.domain.request_needs import RequestNeeds
from providers.policy.model_names import ModelKey

CLEARLY_FASTER = 0.8  # of the leader's time to first token; a smaller gain moves nobody
MAX_REASONS = 4  # of skipped members in one sentence
EXPECTED_OUTPUT = 500  # tokens of an answer, for a comparison of prices


class Strategy(StrEnum):
    """How the member that answers is chosen."""

    PRIORITY = "priority"
    WEIGHTED = "weighted"
    FASTEST = "fastest"
    CHEAPEST = "cheapest"
    LEAST_BUSY = "least_busy"


@frozen
class Member:
    """One provider's model that may answer. None where a fact is unknown. `weight`: its share of
    the requests; 0 for a member that answers only where the others fail."""

    provider_id: int
    model_id: str
    name: str
    weight: int = 1
    context: int | None = None
    vision: bool | None = None
    tools: bool | None = None
    json_output: bool | None = None
    prices: Prices = Prices()

    @property
    def key(self) -> ModelKey:
        return self.provider_id, self.model_id


@frozen
class MemberList:
    """One name, and the members that serve it, in the operator's order."""

    pk: int
    name: str
    strategy: Strategy
    members: tuple[Member, ...]


@frozen
class MemberState:
    """A member now. `cooldown`: why no call may go out; empty where one may. `ttft_ms`: its recent
    time to first token. `load`: calls under way, as a share of its key's limit."""

    cooldown: str = ""
    ttft_ms: float | None = None
    load: float = 0.0


READY = MemberState()


@frozen
class MemberOrder:
    """Places in `members`, best first; `reason` says why the first one is first, `skipped` has the
    reason of each place that is passed over. `leader`: the fastest, for the next request."""

    places: tuple[int, ...]
    reason: str
    skipped: tuple[tuple[int, str], ...] = ()
    leader: ModelKey | None = None


def order_members(
    virtual: MemberList,
    states: Sequence[MemberState],
    needs: RequestNeeds,
    draw: Callable[[], float],
    *,
    leader: ModelKey | None = None,
    last: ModelKey | None = None,
) -> MemberOrder:
    """The order in which one request tries the members.

    `draw` gives numbers from 0 to 1, for weights. `leader` was the fastest member of the request
    before; `last` answered this conversation before. Raises CallError (request) where each member
    is known to lack what the request needs.
    """
    members = virtual.members
    problems = [_problem(each, needs) for each in members]
    skipped = {
        place: problem or state.cooldown
        for place, (problem, state) in enumerate(zip(problems, states, strict=True))
        if problem or state.cooldown
    }
    places = [place for place in range(len(members)) if place not in skipped]
    if not places:
        places, skipped = _second_best(virtual, problems, skipped, needs)
    places, reason = _sort(virtual, states, needs, draw, leader, places)
    first = members[places[0]].key if virtual.strategy == Strategy.FASTEST else None
    stays = next((place for place, each in enumerate(members) if each.key == last), None)
    if stays is not None:
        places, reason = _keep(members, stays, places, reason, skipped)
    return MemberOrder(
        places=tuple(places), reason=reason, skipped=tuple(skipped.items()), leader=first
    )


def describe_choice(virtual: MemberList, chosen: MemberOrder) -> str:
    """Why the first member answers, and why others are skipped, as plans and traces show it."""
    members = virtual.members
    sentence = f"{virtual.name} is answered by {members[chosen.places[0]].name}: {chosen.reason}"
    shown, more = chosen.skipped[:MAX_REASONS], len(chosen.skipped) - MAX_REASONS
    others = [f"{members[place].name} skipped: {why}" for place, why in shown]
    return "; ".join((sentence, *others, *([f"{more} more skipped"] if more > 0 else [])))


def _problem(member: Member, needs: RequestNeeds) -> str:
    """Why a member cannot take the request; empty where it can."""
    if lack := _inability(member, needs):
        return lack
    if member.context is not None and needs.tokens > member.context:
        return f"its context of {member.context:,} tokens is too small for about {needs.tokens:,}"
    return ""


def _inability(member: Member, needs: RequestNeeds) -> str:
    if needs.vision and member.vision is False:
        return "it reads no pictures"
    if needs.tools and member.tools is False:
        return "it calls no tools"
    if needs.json_output and member.json_output is False:
        return "it has no JSON output"
    return ""


def _second_best(
    virtual: MemberList,
    problems: Sequence[str],
    skipped: dict[int, str],
    needs: RequestNeeds,
) -> tuple[list[int], dict[int, str]]:
    """Whom to try where every member is skipped: those in a cooldown, whose turn the plan decides,
    else those with the most room, because tokens are only estimated."""
    members = virtual.members
    places = [place for place in range(len(members)) if not problems[place]]
    if not places:
        able = [place for place, each in enumerate(members) if not _inability(each, needs)]
        most = max((members[place].context or 0 for place in able), default=0)
        places = [place for place in able if members[place].context == most]
    if not places:
        raise _unable(virtual, problems)
    return places, {place: why for place, why in skipped.items() if place not in places}


def _unable(virtual: MemberList, problems: Sequence[str]) -> CallError:
    reasons = "; ".join(
        f"{member.name}: {problem}"
        for member, problem in zip(virtual.members, problems, strict=True)
    )
    message = f"No member of {virtual.name} can take this request: {reasons}."
    return CallError(ErrorKind.REQUEST, message, status=400, code="no_member_fits", sent=False)


def _sort(
    virtual: MemberList,
    states: Sequence[MemberState],
    needs: RequestNeeds,
    draw: Callable[[], float],
    leader: ModelKey | None,
    places: list[int],
) -> tuple[list[int], str]:
    """The places as the strategy orders them, and why the first one is first."""
    members = virtual.members
    match virtual.strategy:
        case Strategy.WEIGHTED:
            return _by_weight(members, places, draw), "drawn by its weight"
        case Strategy.FASTEST:
            return _by_speed(members, states, places, leader)
        case Strategy.CHEAPEST:
            return _by_price(members, needs, places)
        case Strategy.LEAST_BUSY:
            ordered = sorted(places, key=lambda place: states[place].load)
            return ordered, f"least busy, at {states[ordered[0]].load:.0%} of its limit"
        case _:
            return places, "first in order" if places[0] == 0 else "next in order"


def _by_weight(
    members: Sequence[Member], places: list[int], draw: Callable[[], float]
) -> list[int]:
    """Drawn without replacement, each in proportion to its weight (Efraimidis and Spirakis, 2006);
    members without a weight come last, in order."""
    drawn = {
        place: draw() ** (1 / members[place].weight) for place in places if members[place].weight
    }
    return sorted(places, key=lambda place: -drawn.get(place, -1.0))


def _by_speed(
    members: Sequence[Member],
    states: Sequence[MemberState],
    places: list[int],
    leader: ModelKey | None,
) -> tuple[list[int], str]:
    """Fastest first. The leader stays in front of all that are not clearly faster, so that the
    choice does not flutter. A member without a recent figure is tried, to get one."""
    ordered = sorted(places, key=lambda place: states[place].ttft_ms or 0.0)
    first = states[ordered[0]].ttft_ms
    if first is None:
        return ordered, "no recent time to first token"
    ahead = next((place for place in ordered if members[place].key == leader), None)
    led = states[ahead].ttft_ms if ahead is not None else None
    if ahead is None or led is None or ahead == ordered[0] or first < led * CLEARLY_FASTER:
        return ordered, f"fastest of late, {first / 1000:.2f} s to the first token"
    ordered.remove(ahead)
    reason = f"no other is clearly faster than its {led / 1000:.2f} s to the first token"
    return [ahead, *ordered], reason


def _by_price(
    members: Sequence[Member], needs: RequestNeeds, places: list[int]
) -> tuple[list[int], str]:
    """Cheapest first, for this input and an answer of usual length; unknown prices last."""
    costs = {place: _cost(members[place].prices, needs) for place in places}
    ordered = sorted(places, key=lambda place: (costs[place] is None, costs[place] or 0))
    cost = costs[ordered[0]]
    if cost is None:
        return ordered, "no member's price is known"
    return ordered, f"cheapest, about ${cost / 1_000_000:.6f}"


def _cost(prices: Prices, needs: RequestNeeds) -> Decimal | None:
    if prices.input is None or prices.output is None:
        return None
    output = min(needs.output_tokens or EXPECTED_OUTPUT, EXPECTED_OUTPUT)
    return prices.input * needs.input_tokens + prices.output * output


def _keep(
    members: Sequence[Member],
    stays: int,
    places: list[int],
    reason: str,
    skipped: dict[int, str],
) -> tuple[list[int], str]:
    """The member that answered last first, or why another one does now."""
    if stays in places:
        others = [place for place in places if place != stays]
        return [stays, *others], "it answered this conversation last"
    why = skipped.get(stays, "it is out of use")
    return places, f"{reason} (moved from {members[stays].name}: {why})"
