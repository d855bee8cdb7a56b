"""Copies of rows in a process: kept in step by news and by looking; they outlive the database."""

import asyncio
from collections.abc import Callable

import django.db
import pytest
import redis
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.infra import redis_client, replicas
from providers.infra.redis_client import SyncRedis
from providers.infra.replicas import Replica
from providers.models import Provider
from tests.polling import until

pytestmark = pytest.mark.django_db(transaction=True)
NOWHERE = "redis://127.0.0.1:1/0"


def names() -> list[str]:
    return list(Provider.objects.values_list("name", flat=True))


async def test_a_change_is_seen_within_moments(
    make_provider: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Announced over Redis once it is committed, long before the next look."""
    monkeypatch.setattr(replicas, "CHECK_SECONDS", 600)
    seen: list[list[str]] = []
    replica = Replica(names, {"providers"}, on_read=seen.append)
    assert await replica.get() == []
    await until(lambda: len(seen) == 2)  # it has subscribed
    await sync_to_async(make_provider)()
    await until(lambda: ["Acme"] in seen)
    assert await replica.get() == ["Acme"]
    await replica.close()


async def test_without_redis_a_change_is_seen_by_looking(
    make_provider: Callable[..., Provider], settings: Settings
) -> None:
    """Later, and without a word to anybody."""
    settings.REDIS_URL = NOWHERE
    seen: list[list[str]] = []
    replica = Replica(names, {"providers"}, on_read=seen.append)
    await replica.get()
    await sync_to_async(make_provider)()
    await until(lambda: ["Acme"] in seen)
    await replica.close()


async def test_what_changed_while_redis_was_away_is_seen_as_it_comes_back(
    make_provider: Callable[..., Provider], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon that is: nobody announced it, and the next look may be far off."""
    monkeypatch.setattr(replicas, "CHECK_SECONDS", 600)
    seen: list[list[str]] = []
    replica = Replica(names, {"providers"}, on_read=seen.append)
    await replica.get()
    await until(lambda: len(seen) == 2)  # it has subscribed
    monkeypatch.setattr(replicas, "publish", lambda topic: None)
    await sync_to_async(make_provider)()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.client_kill_filter(_type="pubsub")
    await until(lambda: ["Acme"] in seen)
    await replica.close()


async def test_a_reading_that_hung_once_puts_off_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for an hour, and is back: the next readings come as ever."""
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(replicas, "CHECK_SECONDS", 0.01)
    clock, read = [0.0], [0]

    def load() -> int:
        read[0] += 1
        if read[0] == 2:
            clock[0] += 3600
        return 7

    replica = Replica(load, {"providers"}, now=lambda: clock[0])
    await replica.get()
    await until(lambda: read[0] >= 4)
    await replica.close()


async def test_a_copy_serves_on_while_the_database_is_away() -> None:
    """It says that it is stale, and catches up."""
    away = False

    def load() -> int:
        if away:
            raise django.db.OperationalError("away")
        return 7

    replica = Replica(load, {"providers"})
    assert await replica.get() == 7
    away = True
    replica.refresh_soon()
    await until(lambda: replica.stale)
    assert await replica.get() == 7
    away = False
    replica.refresh_soon()
    await until(lambda: not replica.stale)
    await replica.close()


async def test_what_was_never_read_is_an_error() -> None:
    """Nothing is made up."""

    def load() -> int:
        raise django.db.OperationalError("away")

    with pytest.raises(django.db.OperationalError):
        await Replica(load, {"providers"}).get()


def test_publishing_tries_a_redis_that_is_away_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is left alone for a while, so that requests lose next to nothing."""
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(replicas, "_avoidance", redis_client.Avoidance())
    tries: list[SyncRedis] = []

    def connect() -> SyncRedis:
        tries.append(redis_client.patient_client())
        return tries[-1]

    monkeypatch.setattr(redis_client, "fast_client", connect)
    for _ in range(100):
        replicas.publish("providers")
    assert len(tries) == 1


async def test_what_is_missing_is_looked_for_once_a_second(
    make_provider: Callable[..., Provider], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many miss something at once, and however often."""
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(replicas, "CHECK_SECONDS", 600)
    clock = [100.0]
    read: list[int] = []

    def load() -> list[str]:
        read.append(1)
        return names()

    replica = Replica(load, {"providers"}, now=lambda: clock[0])
    assert await replica.get() == []
    await sync_to_async(make_provider)()
    clock[0] += 60
    found = await asyncio.gather(*(replica.reread() for _ in range(200)))
    assert found == [["Acme"]] * 200
    assert len(read) == 2
    for _ in range(50):
        await replica.reread()
    assert len(read) == 2
    clock[0] += 60
    await replica.reread()
    assert len(read) == 3
    await replica.close()


async def test_a_look_for_what_is_missing_survives_a_database_that_is_away() -> None:
    """The copy serves on."""
    away = False

    def load() -> int:
        if away:
            raise django.db.OperationalError("away")
        return 7

    replica = Replica(load, {"providers"})
    await replica.get()
    away = True
    assert await replica.reread() == 7
    await replica.close()
