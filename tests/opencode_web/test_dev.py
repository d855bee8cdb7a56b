"""`./dev` as a person meets it: what starts, what survives, and what is said when it cannot."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings

from opencode_web import __version__
from opencode_web.launcher.databases import throw_away_home
from opencode_web.launcher.preflight import static_stamp
from tests.polling import wait_until
from tests.programs import PYTHON

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (PYTHON, "-m", "opencode_web")
PARTS = {"beat", "gateway", "postgres", "runner", "valkey", "web", "worker"}
NEW_OWNER = ("manage", "createsuperuser", "--noinput", "--username=alice", "--email=a@b.example")
OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEYS", "GATEWAY_URL", "PUBLIC_URL")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A person's: none of the variables that `./dev test` made."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    return kept | {"OPENCODE_WEB_HOME": str(home), **more}


def dev(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=environment(home, **more),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Up:
    """One `./dev up` and what it printed."""

    def __init__(self, home: Path, *options: str, **more: str) -> None:
        self.home, self.port = home, free_port()
        self._printed = home / "printed"
        with self._printed.open("w") as output:
            self.process = subprocess.Popen(
                [*PROGRAM, "up", "--port", str(self.port), *options],
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=environment(home, **more),
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text()

    def says(self, text: str, seconds: float = 90.0) -> None:
        wait_until(lambda: text in self.printed or self.process.poll() is not None, seconds)
        assert text in self.printed

    def page(self) -> int:
        """The status of the liveness page; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def seconds_until_back(self, name: str) -> float:
        """How long a part that was killed was away, as the supervisor reports it."""
        self.says(f"{name} is back after")
        return float(self.printed.rpartition(f"{name} is back after ")[2].split()[0])

    def pids(self) -> dict[str, int]:
        return {
            path.stem: int(path.read_text().split()[0])
            for path in (self.home / "run").glob("*.pid")
            if path.read_text()
        }

    def new_pid_after(self, name: str, pid: int) -> None:
        wait_until(lambda: self.pids().get(name, pid) != pid)


@contextmanager
def up(home: Path, *options: str, **more: str) -> Iterator[Up]:
    run = Up(home, *options, **more)
    try:
        run.says("OpenCode Web is at")
        yield run
    finally:
        run.process.terminate()
        try:
            run.process.wait(30)
        except subprocess.TimeoutExpired:
            run.process.kill()
            raise


@pytest.fixture
def home() -> Iterator[Path]:
    """One in which the static files are prepared already, which takes seconds."""
    with throw_away_home() as folder:
        shutil.copytree(settings.STATIC_ROOT, folder / "static")
        static_stamp(folder).set()
        yield folder


@pytest.mark.stack
def test_one_home_from_its_first_start_over_kill_9_of_everything_to_down(home: Path) -> None:
    """What is killed comes back, what was written stays, what is stopped is gone."""
    with up(home) as run:
        assert run.page() == 200
        run.says(f"http://127.0.0.1:{run.port}/setup/?token=")
        refused = dev(home, "up", "--port", str(free_port()))
        assert refused.returncode == 1
        assert f"{home} is in use by `./dev up` (process {run.process.pid})" in refused.stderr
        made = dev(home, *NEW_OWNER, DJANGO_SUPERUSER_PASSWORD="a-long-pass-phrase")
        assert made.returncode == 0, made.stderr

        wait_until(lambda: run.pids().keys() == PARTS)
        before = run.pids()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in before.items():
            run.says(f"{name} was killed (SIGKILL); it is started again now.")
            run.new_pid_after(name, pid)
        for name in ("postgres", "valkey", "web"):
            run.says(f"{name} is back after")
        assert run.page() == 200

        pids = run.pids().values()
        run.process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in pids))

    with up(home) as run:
        assert dev(home, "manage", "signin_link").stdout.strip() == ""
        assert "token=" not in run.printed, "the owner was made before kill -9"
        os.kill(run.pids()["web"], signal.SIGKILL)
        assert run.seconds_until_back("web") < 10, "1.6 s on an idle machine"
        assert run.page() == 200
        wait_until(lambda: run.pids().keys() == PARTS)
        pids = run.pids().values()
        assert dev(home, "down").returncode == 0
        assert run.process.wait(30) == 0
        assert run.pids() == {}
        assert not any(is_alive(pid) for pid in pids)
        assert run.page() == 0


STORE_A_KEY = """
from providers.models import Provider
Provider.objects.create(name="Acme", slug="acme", base_url="http://a.example/v1", api_key="sk-1")
"""


@pytest.mark.stack
def test_lost_encryption_keys_stop_the_start_until_that_is_accepted(home: Path) -> None:
    """Removed or replaced, with keys in the database; the old file brings everything back."""
    with up(home):
        done = dev(home, "manage", "shell", "-c", STORE_A_KEY)
        assert done.returncode == 0, done.stderr
    keys = home / "encryption_keys"
    kept = keys.read_text()
    keys.unlink()
    for _ in range(2):  # a new file is made, and is as wrong the next time
        refused = dev(home, "up", "--port", str(free_port()))
        assert refused.returncode == 1
        assert f"{keys} is missing a key" in refused.stderr
        assert "--accept-lost-keys" in refused.stderr
        assert keys.read_text() != kept
    replaced = keys.read_text()
    keys.write_text(kept)
    with up(home) as run:
        assert run.page() == 200
    keys.write_text(replaced)
    with up(home, "--accept-lost-keys") as run:
        run.says("enter those of your providers again")
        assert run.page() == 200
    with up(home) as run:  # once is enough
        assert run.page() == 200


@pytest.mark.stack
def test_unreachable_servers_hold_up_nothing_and_are_used_when_they_are_back(home: Path) -> None:
    """A sentence each, a site that answers, and a migrated database as soon as there is one."""
    with throw_away_home() as elsewhere:
        sockets = quote(f"{elsewhere}/run/postgres", safe="")
        given = {
            "DATABASE_URL": f"postgresql://postgres@{sockets}/opencode_web",
            "REDIS_URL": f"unix://{elsewhere}/run/valkey/valkey.sock",
        }
        with up(home, **given) as run:
            assert "(DATABASE_URL) cannot be used: nobody answers there." in run.printed
            assert "(REDIS_URL) cannot be reached." in run.printed
            assert run.page() == 200
            program = [PYTHON, "-c", SERVERS, str(elsewhere)]
            with subprocess.Popen(program, cwd=ROOT) as servers:
                run.says("The database answers and is migrated.")
                run.says("/setup/?token=")
                servers.terminate()


SERVERS = """
import asyncio, contextlib, pathlib, signal, sys
from opencode_web.launcher.databases import databases
from tests.polling import wait_until
async def main():
    async with databases(pathlib.Path(sys.argv[1]), {}, print):
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
asyncio.run(main())
"""


def test_a_taken_port_is_a_sentence_with_the_way_out(home: Path) -> None:
    """It names the port and the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = dev(home, "up", "--port", str(port))
    assert refused.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used (Address already in use)." in refused.stderr
    assert f"./dev up --port {port + 1}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_LEVEL", "LOUD"), ("DATABASE_URL", "mysql://somewhere"), ("ENCRYPTION_KEYS", "short")],
)
def test_a_wrong_variable_is_a_sentence_and_starts_nothing(
    home: Path, name: str, value: str
) -> None:
    """It names the variable and an example, and not the value, which may be a secret."""
    refused = dev(home, "up", "--port", str(free_port()), **{name: value})
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{name} is wrong: ")
    assert "Example: " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list((home / "run").glob("*.pid")) == []


def test_without_a_verb_the_verbs_are_listed() -> None:
    """`./dev` alone needs no Python and installs nothing."""
    bare = {"PATH": "/nowhere", "HOME": "/nowhere"}
    listed = subprocess.run(
        ["/bin/sh", "dev"], capture_output=True, text=True, env=bare, cwd=ROOT, check=False
    )
    for verb in ("up", "test", "down", "logs", "shell", "manage", "run", "lock"):
        assert f"./dev {verb}" in listed.stdout


def test_the_version_needs_no_python() -> None:
    """It is what the program itself reports."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "PYTHON": "/nowhere"}
    printed = subprocess.run(
        ["/bin/sh", "dev", "--version"],
        capture_output=True,
        text=True,
        env=bare,
        cwd=ROOT,
        check=True,
    )
    assert printed.stdout == f"OpenCode Web {__version__}\n"


def test_an_unknown_verb_lists_the_verbs_and_fails() -> None:
    """A typing error costs nothing."""
    refused = subprocess.run(
        ["/bin/sh", "dev", "pu"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert refused.returncode == 2
    assert "knows no 'pu'" in refused.stderr


def test_no_python_is_a_sentence(tmp_path: Path) -> None:
    """Candidates that cannot be run, as dead shims, are no Python."""
    if [*Path("/usr").glob("bin/python3.1[2-9]"), *Path("/usr/local").glob("bin/python3.1[2-9]")]:
        pytest.skip("this machine has a Python where every machine is looked at")
    dead = tmp_path / "python3.13"
    dead.write_text("#!/bin/sh\necho pyenv: python3.13: command not found >&2\nexit 127\n")
    dead.chmod(0o755)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "dev", checkout)
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    refused = subprocess.run(
        ["/bin/sh", str(checkout / "dev"), "up"],
        capture_output=True,
        text=True,
        env=bare,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("No Python 3.12 or newer was found. Install one")
