"""The embedded databases: real ones, killed and started again without a loss."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from opencode_web.launcher import postgres_paths
from opencode_web.launcher.databases import databases, throw_away_home
from opencode_web.launcher.embedded import start_postgres
from opencode_web.launcher.supervisor import Supervisor
from tests.polling import until


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, and open to the user PostgreSQL runs as: unlike pytest's own."""
    with throw_away_home() as folder:
        yield folder


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True


def test_both_survive_kill_9_and_lose_nothing(home: Path) -> None:
    """They are started again by themselves; what was written is there."""
    detail: list[str] = []

    async def scenario() -> None:
        async with databases(home, {}, detail.append) as urls:
            with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            valkey = redis.Redis.from_url(urls["REDIS_URL"])
            valkey.set("kept", "42")
            for name in ("postgres", "valkey"):
                os.kill(int((home / "run" / f"{name}.pid").read_text().split()[0]), signal.SIGKILL)
            await until(lambda: sum("is back" in line for line in detail) == 2)
            with psycopg.connect(urls["DATABASE_URL"]) as connection:
                assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
            assert valkey.get("kept") == b"42"

    asyncio.run(scenario())
    assert {"postgres", "valkey"} == {line.split()[0] for line in detail}
    assert list((home / "run").glob("*.pid")) == []


def test_a_given_address_starts_nothing(home: Path) -> None:
    """DATABASE_URL and REDIS_URL, or files that hold them, take over."""

    async def scenario() -> dict[str, str]:
        given = {"DATABASE_URL": "postgresql://elsewhere", "REDIS_URL_FILE": "/run/secrets/redis"}
        async with databases(home, given, print) as urls:
            return urls

    assert asyncio.run(scenario()) == {}


def test_postgres_starts_where_its_owner_cannot_reach_and_sockets_would_be_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A closed home keeps its permissions: what must be reached is put elsewhere, and linked."""
    outside = Path(tempfile.mkdtemp(prefix="ocw-"))
    outside.chmod(0o755)
    monkeypatch.setattr(postgres_paths, "ROOT_FOLDER", outside / "place")
    closed = outside / "closed"
    home = closed / ("long" * 25)
    for folder in (closed, home, *(home / name for name in ("logs", "run", "stamps"))):
        folder.mkdir(mode=0o700)

    async def scenario() -> str:
        supervisor = Supervisor(home, print)
        try:
            server = await start_postgres(home, supervisor)
            await until(lambda: answers(server.url))
            return server.url
        finally:
            await supervisor.stop()

    try:
        assert "long" not in asyncio.run(scenario())
        assert closed.stat().st_mode & 0o777 == 0o700
        assert (os.geteuid() == 0) == (home / "postgres").is_symlink()
        assert (home / "postgres" / "PG_VERSION").exists()
        sockets = Path((home / "run" / "postgres.elsewhere").read_text())
        asyncio.run(scenario())
        assert not sockets.exists(), "the second start removes the first one's socket folder"
    finally:
        shutil.rmtree((home / "run" / "postgres.elsewhere").read_text())
        shutil.rmtree(outside)


def test_a_half_made_data_folder_is_made_anew(home: Path) -> None:
    """kill -9 in the middle of the first start costs nothing but the time."""
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").touch()

    async def scenario() -> None:
        supervisor = Supervisor(home, print)
        try:
            server = await start_postgres(home, supervisor)
            await until(lambda: answers(server.url))
        finally:
            await supervisor.stop()

    asyncio.run(scenario())
    assert not (home / "postgres.new").exists()
