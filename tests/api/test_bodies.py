"""Bodies on their way in: how long, how large, and how much of them together."""

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from api import bodies
from api.bodies import (
    FREE_BYTES,
    MIN_BYTES_PER_SECOND,
    SILENCE_SECONDS,
    Body,
    BodyRefused,
    Budget,
)

MB = 2**20


def sender(pieces: Iterable[bytes | None], *, ends: bool = True) -> Receive:
    """A server's `receive`: these pieces, then the end or silence; None is one who has left."""
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}

    return receive


async def read(receive: Receive, budget: Budget, limit: int = 32 * MB) -> bytes:
    found = b""
    with Body(receive, budget, "alice", limit) as body:
        while not body.complete:
            found += (await body.next())["body"]
    return found


@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"a", b"", b"bc"], [b"x" * MB] * 3])
async def test_a_body_arrives_as_it_was_sent(pieces: list[bytes]) -> None:
    budget = Budget(8 * MB, 4 * MB)
    assert await read(sender(pieces), budget) == b"".join(pieces)
    assert budget.held == 0


@pytest.mark.parametrize(
    ("pieces", "ends", "status"),
    [
        ([b"x" * MB] * 3, True, 413),
        ([b"x", None], True, 400),
        ([None], True, 400),
        ([b"x"], False, 408),
        ([], False, 408),
    ],
)
async def test_a_refused_body_holds_no_budget(
    pieces: list[bytes | None], ends: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large, broken off, or silent."""
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.01)
    budget = Budget(8 * MB, 4 * MB)
    with pytest.raises(BodyRefused) as refused:
        await read(sender(pieces, ends=ends), budget, limit=2 * MB)
    assert refused.value.status == status
    assert budget.held == 0


async def test_unfinished_bodies_share_a_budget() -> None:
    """One owner has a share; a short body always gets in; what ends gives its part back."""
    budget = Budget(4 * MB, 2 * MB)
    piece = b"x" * MB

    async def begin(owner: str, pieces: int) -> tuple[Body, int]:
        body = Body(sender([piece] * pieces, ends=False), budget, owner, 32 * MB)
        body.__enter__()
        try:
            for _ in range(pieces):
                await body.next()
        except BodyRefused as refused:
            body.__exit__()
            return body, refused.status
        return body, 0

    first, status = await begin("alice", 2)
    assert status == 0
    assert (await begin("alice", 2))[1] == 503
    assert (await begin("bob", 2))[1] == 0
    assert (await begin("carol", 2))[1] == 503
    short = Body(sender([b"x" * FREE_BYTES]), budget, "carol", 32 * MB)
    await short.next()
    assert short.complete
    first.__exit__()
    assert (await begin("carol", 2))[1] == 0
    assert budget.held <= budget.total


def test_a_declared_oversized_body_is_refused_unread() -> None:
    body = Body(sender([]), Budget(MB, MB), "alice", MB)
    for good in ("", "0", str(MB), "nonsense"):
        body.declare(good)
    for bad in (str(MB + 1), "9" * 5000):
        with pytest.raises(BodyRefused):
            body.declare(bad)


@given(st.floats(0, 10_000), st.integers(0, 2**40))
def test_a_wait_is_never_longer_than_the_silence(elapsed: float, received: int) -> None:
    """And it is over for who is slower than the least rate."""
    seconds = bodies.wait_seconds(elapsed, received)
    assert 0 <= seconds <= SILENCE_SECONDS
    if received < (elapsed - SILENCE_SECONDS) * MIN_BYTES_PER_SECOND:
        assert seconds == 0


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=40)


@given(STEPS)
def test_a_budget_is_never_exceeded_and_is_released(steps: list[tuple[str, int]]) -> None:
    budget, taken = Budget(100, 60), list[tuple[str, int]]()
    for owner, count in steps:
        before = budget.held
        if budget.take(owner, count):
            taken.append((owner, count))
        else:
            assert budget.held == before
        assert budget.held == sum(count for _, count in taken) <= 100
        for each in "abc":
            assert sum(count for name, count in taken if name == each) <= 60
    for owner, count in taken:
        budget.release(owner, count)
    assert budget.held == 0
    assert not budget._owners
