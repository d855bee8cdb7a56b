"""The sentence about the next request to a virtual model."""

import pytest

from providers.diagnosis.member_forecast import describe_next_request
from providers.policy.members import READY, Member, MemberList, MemberState, Strategy

COOLING = MemberState(cooldown="direct failed")


def members(strategy: Strategy, *weights: int) -> MemberList:
    rows = tuple(
        Member(provider_id=place, model_id="m", name=f"p{place}/m", weight=weight)
        for place, weight in enumerate(weights)
    )
    return MemberList(pk=1, name="fast", strategy=strategy, members=rows)


@pytest.mark.parametrize(
    ("strategy", "weights", "states", "sentence"),
    [
        ("priority", (1,), [READY], "p0/m answers; no other member can take its place."),
        (
            "priority",
            (1, 1, 1),
            [READY, COOLING, READY],
            "p0/m answers (first in order); if it fails, p2/m. p1/m is skipped: direct failed.",
        ),
        ("weighted", (3, 1, 0), [READY] * 3, "Drawn by weight: p0/m 75%, p1/m 25%."),
        (
            "weighted",
            (0, 0),
            [READY] * 2,
            "Drawn by weight: no member has a weight, so p0/m answers.",
        ),
        ("least_busy", (1, 1), [READY] * 2, "The least busy of p0/m and p1/m answers."),
        (
            "fastest",
            (1, 1),
            [MemberState(ttft_ms=900), MemberState(ttft_ms=400)],
            "p1/m answers (fastest of late, 0.40 s to the first token); if it fails, p0/m.",
        ),
        (
            "least_busy",
            (1,) * 6,
            [READY] * 6,
            "The least busy of p0/m, p1/m, p2/m, p3/m and 2 more answers.",
        ),
    ],
)
def test_each_strategy_is_described(
    strategy: str, weights: tuple[int, ...], states: list[MemberState], sentence: str
) -> None:
    """Who answers, who follows, who is skipped and why."""
    virtual = members(Strategy(strategy), *weights)
    assert describe_next_request(virtual, states) == sentence
