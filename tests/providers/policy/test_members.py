"""The order of a virtual model's members: strategies, skips, affinity."""

import random
import sys
from dataclasses import replace
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind
from providers.domain.prices import Prices
from providers.domain.request_needs import RequestNeeds
from providers.policy import members as policy
from providers.policy.members import READY, Member, MemberList, MemberOrder, MemberState, Strategy

SEEDED = random.Random  # draws of a test, not secrets
COOLING = MemberState(cooldown="direct failed 5 times")


def member(number: int, **facts: Any) -> Member:
    return Member(provider_id=number, model_id="m", name=f"p{number}/m", **facts)


def virtual(*members: Member, strategy: Strategy = Strategy.PRIORITY) -> MemberList:
    return MemberList(pk=1, name="fast", strategy=strategy, members=members)


def order(
    model: MemberList, *states: MemberState, needs: RequestNeeds | None = None, **given: Any
) -> MemberOrder:
    states = states or (READY,) * len(model.members)
    draw = given.pop("draw", SEEDED(0).random)
    return policy.order_members(model, states, needs or RequestNeeds(), draw, **given)


def price(cost: str) -> Prices:
    return Prices(input=Decimal(cost), output=Decimal(cost))


LIMITED = {"vision": False, "tools": False, "json_output": False, "context": 100}


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (RequestNeeds(vision=True), "it reads no pictures"),
        (RequestNeeds(tools=True), "it calls no tools"),
        (RequestNeeds(json_output=True), "it has no JSON output"),
        (
            RequestNeeds(input_tokens=60, output_tokens=41),
            "its context of 100 tokens is too small for about 101",
        ),
    ],
)
def test_a_member_that_lacks_what_the_request_needs_is_skipped(
    needs: RequestNeeds, reason: str
) -> None:
    """What is unknown of a member is not held against it."""
    model = virtual(member(1, **LIMITED), member(2))
    chosen = order(model, needs=needs)
    assert (chosen.places, chosen.skipped) == ((1,), ((0, reason),))
    assert policy.describe_choice(model, chosen) == (
        f"fast is answered by p2/m: next in order; p1/m skipped: {reason}"
    )


def test_a_member_that_has_exactly_enough_room_is_not_skipped() -> None:
    """The limit itself fits."""
    needs = RequestNeeds(input_tokens=60, output_tokens=40)
    assert order(virtual(member(1, **LIMITED)), needs=needs).places == (0,)


def test_a_member_in_a_cooldown_is_skipped_while_another_is_free() -> None:
    """Where all are in one, the plan of the first decides whether it waits or is refused."""
    model = virtual(member(1), member(2))
    assert order(model, COOLING, READY).places == (1,)
    assert order(model, COOLING, READY).skipped == ((0, COOLING.cooldown),)
    assert order(model, COOLING, COOLING) == MemberOrder(places=(0, 1), reason="first in order")


def test_a_member_in_a_cooldown_comes_before_one_that_cannot_answer() -> None:
    """A wait may help; a request that does not fit never will."""
    model = virtual(member(1, context=10), member(2, context=1000))
    chosen = order(model, READY, COOLING, needs=RequestNeeds(input_tokens=50))
    assert chosen.places == (1,)


def test_where_no_context_is_large_enough_the_largest_is_tried() -> None:
    """Tokens are estimates: the provider counts them."""
    model = virtual(member(1, context=10), member(2, context=90), member(3, context=90))
    chosen = order(model, needs=RequestNeeds(input_tokens=100))
    assert chosen.places == (1, 2)
    assert [place for place, _ in chosen.skipped] == [0]


def test_a_request_that_no_member_can_take_is_refused_with_each_reason() -> None:
    """It is the caller's to change, so it is a 400."""
    model = virtual(member(1, vision=False), member(2, vision=False, context=10))
    with pytest.raises(CallError) as refused:
        order(model, needs=RequestNeeds(vision=True, input_tokens=50))
    error = refused.value
    assert (error.kind, error.status, error.code) == (ErrorKind.REQUEST, 400, "no_member_fits")
    assert "p1/m: it reads no pictures; p2/m: it reads no pictures" in error.message


def test_priority_keeps_the_operators_order() -> None:
    """The one name that needs no figures."""
    assert order(virtual(member(1), member(2), member(3))).places == (0, 1, 2)


def test_weights_are_shares_of_the_requests() -> None:
    """Three to one, within what chance allows; weight 0 is never first."""
    model = virtual(
        member(1, weight=3), member(2, weight=1), member(3, weight=0), strategy=Strategy.WEIGHTED
    )
    draw = SEEDED(1).random
    firsts = [order(model, draw=draw).places for _ in range(2000)]
    assert 0.71 < sum(places[0] == 0 for places in firsts) / 2000 < 0.79
    assert {places[-1] for places in firsts} == {2}


def test_the_cheapest_is_first_and_unknown_prices_last() -> None:
    """Of equal prices the first in order."""
    model = virtual(
        member(1),
        member(2, prices=price("3")),
        member(3, prices=price("1")),
        member(4, prices=price("1")),
        strategy=Strategy.CHEAPEST,
    )
    chosen = order(model, needs=RequestNeeds(input_tokens=500))
    assert chosen.places == (2, 3, 1, 0)
    assert chosen.reason == "cheapest, about $0.001000"


def test_a_long_input_changes_which_member_is_cheapest() -> None:
    """The price of the request counts, not that of a token."""
    input_heavy = Prices(input=Decimal(5), output=Decimal(1))
    output_heavy = Prices(input=Decimal(1), output=Decimal(5))
    model = virtual(
        member(1, prices=input_heavy),
        member(2, prices=output_heavy),
        strategy=Strategy.CHEAPEST,
    )
    assert order(model, needs=RequestNeeds(input_tokens=10)).places == (0, 1)
    assert order(model, needs=RequestNeeds(input_tokens=10_000)).places == (1, 0)


def test_the_least_busy_is_first() -> None:
    """By the share of its own limit."""
    model = virtual(member(1), member(2), member(3), strategy=Strategy.LEAST_BUSY)
    states = [MemberState(load=load) for load in (0.5, 0.25, 0.25)]
    assert order(model, *states).places == (1, 2, 0)
    assert order(model, *states).reason == "least busy, at 25% of its limit"


@pytest.mark.parametrize(
    ("times", "leader", "first"),
    [
        ((500, 400), None, 1),
        ((500, 400), (1, "m"), 0),  # 0.8 of the leader's is not below it
        ((500, 399), (1, "m"), 1),
        ((400, 500), (2, "m"), 1),
        ((None, 400), (2, "m"), 0),  # no figure: it is tried, to get one
        ((500, 400), (9, "gone"), 1),
    ],
)
def test_the_fastest_is_first_once_it_is_clearly_faster(
    times: tuple[float | None, float | None], leader: tuple[int, str] | None, first: int
) -> None:
    """A leader stays until another takes less than 0.8 of its time."""
    model = virtual(member(1), member(2), strategy=Strategy.FASTEST)
    chosen = order(model, *(MemberState(ttft_ms=each) for each in times), leader=leader)
    assert chosen.places[0] == first
    assert chosen.leader == model.members[first].key


def test_members_of_much_the_same_speed_do_not_take_turns() -> None:
    """With noise of a tenth around the same figure the leader never changes."""
    model, rng = virtual(member(1), member(2), strategy=Strategy.FASTEST), SEEDED(2)
    leader, changes = None, 0
    for _ in range(500):
        states = [MemberState(ttft_ms=400 * rng.uniform(0.9, 1.1)) for _ in model.members]
        now = order(model, *states, leader=leader).leader
        changes += leader is not None and now != leader
        leader = now
    assert changes == 0


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_conversation_stays_with_the_member_that_answered_it_last(strategy: Strategy) -> None:
    """Its provider has the conversation in its cache."""
    model = virtual(member(1), member(2), member(3), strategy=strategy)
    chosen = order(model, last=(3, "m"))
    assert (chosen.places[0], chosen.reason) == (2, "it answered this conversation last")
    assert sorted(chosen.places) == [0, 1, 2]


def test_a_conversation_that_moves_says_why() -> None:
    """Its member is in a cooldown, or no longer a member."""
    model = virtual(member(1), member(2))
    moved = order(model, READY, COOLING, last=(2, "m"))
    assert moved.reason == "first in order (moved from p2/m: direct failed 5 times)"
    assert order(model, last=(7, "m")).reason == "first in order"


MEMBERS = st.builds(
    member,
    st.integers(1, 6),
    weight=st.integers(0, 5),
    context=st.none() | st.integers(1, 200),
    vision=st.sampled_from([None, True, False]),
    tools=st.sampled_from([None, True, False]),
    prices=st.sampled_from([Prices(), price("1"), price("2")]),
)
STATES = st.builds(
    MemberState,
    cooldown=st.sampled_from(["", "direct failed"]),
    ttft_ms=st.none() | st.floats(1, 5000),
    load=st.floats(0, 1),
)


@given(
    st.lists(st.tuples(MEMBERS, STATES), min_size=1, max_size=8),
    st.sampled_from(Strategy),
    st.builds(
        RequestNeeds, input_tokens=st.integers(0, 300), vision=st.booleans(), tools=st.booleans()
    ),
    st.none() | st.tuples(st.integers(1, 6), st.just("m")),
)
def test_every_member_is_placed_once_or_skipped_with_a_reason(
    rows: list[tuple[Member, MemberState]],
    strategy: Strategy,
    needs: RequestNeeds,
    last: tuple[int, str] | None,
) -> None:
    """Whatever the figures: nobody is lost or doubled, and a free, able member is never passed
    over for one that is not."""
    model = replace(virtual(*(each for each, _ in rows)), strategy=strategy)
    states = [state for _, state in rows]
    able = [
        not (needs.vision and m.vision is False) and not (needs.tools and m.tools is False)
        for m in model.members
    ]
    if not any(able):
        with pytest.raises(CallError):
            order(model, *states, needs=needs)
        return
    chosen = order(model, *states, needs=needs, last=last)
    assert sorted([*chosen.places, *(place for place, _ in chosen.skipped)]) == list(
        range(len(rows))
    )
    assert all(why for _, why in chosen.skipped)
    assert all(able[place] for place in chosen.places)
    fits = [m.context is None or needs.tokens <= m.context for m in model.members]
    free = {p for p in range(len(rows)) if able[p] and fits[p] and not states[p].cooldown}
    assert not free or set(chosen.places) == free


def _count_calls(model: MemberList, states: list[MemberState]) -> int:
    """Python function calls of one order: a cost that no other load on the machine changes."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        policy.order_members(model, states, RequestNeeds(input_tokens=50), random.random)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("strategy", list(Strategy))
def test_fifty_members_take_a_few_calls_each(strategy: Strategy) -> None:
    """benchmarks/plan.py has the microseconds."""
    model = virtual(
        *(member(n, context=100 + n, prices=price("1")) for n in range(50)), strategy=strategy
    )
    assert _count_calls(model, [READY] * 50) < 50 * 8
