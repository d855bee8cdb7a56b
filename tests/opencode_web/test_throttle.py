"""How many wrong passwords are checked: for an account, from an address, with Redis and without."""

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from opencode_web import throttle
from opencode_web.throttle import (
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    PER_BROWSER,
    WINDOW_SECONDS,
    Local,
    Throttled,
)
from tests import fakes


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    throttle._local.clear()
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        for key in client.scan_iter("throttle:*"):
            client.delete(key)


def refusals(attempts: list[tuple[str, str]]) -> list[Throttled | None]:
    """What became of each attempt, all of them with a wrong password."""
    found: list[Throttled | None] = []
    for account, address in attempts:
        try:
            throttle.begin(account, address)
            found.append(None)
        except Throttled as refused:
            found.append(refused)
    return found


@pytest.mark.parametrize("with_redis", [True, False])
def test_an_account_is_limited_wherever_the_attempts_come_from(
    with_redis: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upper case is the same account; the first refusal is marked, and each says how long."""
    monkeypatch.setattr(throttle, "_shared", throttle.Shared())
    if not with_redis:
        settings.REDIS_URL = f"redis://127.0.0.1:{fakes.refusing_port()}/0"
    names = ["Alice", "alice"] * (PER_ACCOUNT // 2) + ["alice"] * 3
    found = refusals([(name, f"192.0.2.{number}") for number, name in enumerate(names)])
    assert found[:PER_ACCOUNT] == [None] * PER_ACCOUNT
    refused = [each for each in found[PER_ACCOUNT:] if each]
    assert len(refused) == len(names) - PER_ACCOUNT
    assert [each.first for each in refused] == [True, False, False]
    assert all(each.account and 0 < each.seconds <= WINDOW_SECONDS for each in refused)
    assert refusals([("bob", "192.0.2.1")]) == [None]


def test_guesses_from_one_address_lock_the_account_there_alone() -> None:
    """Its owner is elsewhere."""
    found = refusals([("alice", "192.0.2.1")] * (PER_ACCOUNT_AND_ADDRESS + 1))
    assert [each is None for each in found] == [True] * PER_ACCOUNT_AND_ADDRESS + [False]
    assert refusals([("alice", "198.51.100.1")]) == [None]


def test_a_known_browser_has_a_limit_of_its_own() -> None:
    """Whatever others try, from its own address and from all over the world."""
    refusals([("alice", f"192.0.2.{number}") for number in range(PER_ACCOUNT + 1)])
    refusals([("name", "198.51.100.1")] * (PER_ADDRESS + 1))
    for _ in range(PER_BROWSER):
        throttle.begin("alice", "198.51.100.1", "laptop")
    with pytest.raises(Throttled):
        throttle.begin("Alice", "203.0.113.9", "laptop")
    throttle.begin("alice", "198.51.100.1", "phone")
    throttle.begin("bob", "203.0.113.9", "laptop")


@pytest.mark.parametrize(
    "addresses",
    [["192.0.2.1"], ["2001:db8::1", "2001:db8::ffff"], ["192.0.2.1", "::ffff:192.0.2.1"]],
)
def test_an_address_is_limited_whichever_accounts_it_tries(addresses: list[str]) -> None:
    """An IPv6 customer has a /64."""
    tried = [(f"name{n}", addresses[n % len(addresses)]) for n in range(PER_ADDRESS + 2)]
    assert [each is None for each in refusals(tried)] == [True] * PER_ADDRESS + [False] * 2
    assert refusals([("other", "198.51.100.1"), ("other", "2001:db8:1::1")]) == [None, None]


def test_a_locked_account_does_not_lock_the_office() -> None:
    """What is refused was not tried."""
    refusals([("alice", "192.0.2.1")] * 60)
    assert refusals([("bob", "192.0.2.1")]) == [None]


def test_a_right_password_does_not_count() -> None:
    for _ in range(60):
        throttle.begin("alice", "192.0.2.1").cancel()
    assert refusals([("alice", "192.0.2.1")]) == [None]


def test_all_processes_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a memory of its own."""
    for _ in range(PER_ACCOUNT_AND_ADDRESS):
        monkeypatch.setattr(throttle, "_local", Local())
        throttle.begin("alice", "192.0.2.1")
    monkeypatch.setattr(throttle, "_local", Local())
    assert refusals([("alice", "192.0.2.1")]) != [None]


def test_neither_names_nor_addresses_are_stored_in_clear() -> None:
    """What is typed as a name may be a password."""
    throttle.begin("hunter2", "192.0.2.1")
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        keys = b" ".join(client.scan_iter("throttle:*"))
        assert all(0 < client.ttl(key) <= WINDOW_SECONDS for key in keys.split())
    assert b"throttle:" in keys
    assert b"hunter2" not in keys
    assert b"192.0.2.1" not in keys


STEPS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, WINDOW_SECONDS)))


@given(STEPS)
def test_a_window_ends_and_never_moves(steps: list[tuple[str, int]]) -> None:
    """However many attempts come: who keeps trying does not lock an account for ever."""
    local, now, ends = Local(), 0, dict[str, int]()
    for key, pause in steps:
        now += pause
        count = local.add(key, now)
        if count.attempts == 1:
            ends[key] = now + WINDOW_SECONDS
        assert now + count.seconds == ends[key]
        assert 0 < count.seconds <= WINDOW_SECONDS


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_WINDOWS", 100)
    local = Local()
    for number in range(1000):
        local.add(str(number), float(number) / 100)
    assert len(local._windows) == 100
    assert local.add("999", 11.0).attempts == 2
