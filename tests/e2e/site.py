"""The site as it runs in production, on the test database: real web, runner, gateway and worker.

Each part can be killed and started again by a test. Only processes started here are ever ended.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from django.conf import settings
from django.db import connection

from providers.models import Attempt
from providers.router import write_queue
from tests.polling import wait_until
from tests.programs import PYTHON
from tests.upstreams.tethered import tethered

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_writes() -> None:
    """Until the processes under test have written their last results: emptying the tables under a
    write is a deadlock. Nothing outside a process shows what its queue still holds."""
    gathering = write_queue.gather_seconds(Attempt.objects.count())
    time.sleep(3 * write_queue.WRITE_DELAY_SECONDS + gathering)


def database_url() -> str:
    """The test database's address: the environment's server, pytest-django's database name."""
    name = connection.settings_dict["NAME"]
    base, _, query = settings.ENV.database_url.get_secret_value().partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


class Site:
    """Web, runner, gateway and worker; `url` is where a browser goes."""

    def __init__(self, logs: Path, **environment: str) -> None:
        self.logs = logs
        self.port = free_port()
        self.gateway_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "GATEWAY_URL": f"http://127.0.0.1:{self.gateway_port}",
            "GATEWAY_TOKEN": "e2e-gateway-token-0123456789abcdef",
            "PUBLIC_URL": self.url,
            "STOP_PAUSE": "0",
            "STOP_DRAIN": "2",
            **environment,
        }

    def commands(self) -> Mapping[str, list[str]]:
        python = PYTHON
        return {
            "web": [python, "-m", "opencode_web.serve", "--port", str(self.port)],
            "runner": [python, "manage.py", "runner"],
            "gateway": [python, "manage.py", "gateway"],
            "worker": [
                python,
                "-m",
                "celery",
                "-A",
                "opencode_web.celery",
                "worker",
                "-l",
                "WARNING",
            ],
        }

    def start(self, part: str, name: str = "") -> subprocess.Popen[bytes]:
        """Starts a part (a second runner needs a name of its own)."""
        log = (self.logs / f"{name or part}.log").open("ab")
        process = subprocess.Popen(
            tethered(self.commands()[part]),
            env=self.environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.parts[name or part] = process
        return process

    def start_all(self) -> None:
        for part in self.commands():
            self.start(part)
        self.wait_ready()

    def wait_ready(self, seconds: float = 120) -> None:
        self._wait(f"{self.url}/healthz", seconds)

    def wait_gateway(self, seconds: float = 180) -> None:
        """Until the gateway process has imported LiteLLM."""
        address = f"http://127.0.0.1:{self.gateway_port}/healthz"

        def is_ready() -> bool:
            try:
                return bool(httpx.get(address, timeout=2).json().get("status") == "ready")
            except (httpx.HTTPError, ValueError):
                return False

        wait_until(is_ready, seconds)

    @staticmethod
    def _wait(address: str, seconds: float) -> None:
        def answers() -> bool:
            try:
                return httpx.get(address, timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(answers, seconds)

    def kill(self, name: str) -> None:
        """kill -9, as a crash or the kernel would do it, workers of the part included."""
        process = self.parts.pop(name)
        os.killpg(process.pid, 9)
        process.wait()

    def stop(self) -> None:
        for process in self.parts.values():
            process.terminate()
        for process in self.parts.values():
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
        self.parts.clear()
