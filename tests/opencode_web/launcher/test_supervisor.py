"""The supervisor on real processes: what ends is started again, what is stopped is gone."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest

from opencode_web.launcher.home import prepare
from opencode_web.launcher.orphans import remember, start_time, stop_orphans
from opencode_web.launcher.supervisor import (
    RESTART_PAUSES,
    Part,
    StartFailed,
    Supervisor,
    describe_end,
    pause_before_start,
)
from tests.polling import until

Scenario = Callable[[Supervisor, list[str]], Coroutine[None, None, None]]
ROOT = Path(__file__).resolve().parents[3]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties processes together")


def shell(script: str, *, name: str = "part", grace: float = 5.0) -> Part:
    return Part(name=name, argv=("/bin/sh", "-c", script), env=dict(os.environ), grace=grace)


def supervise(folder: Path, scenario: Scenario) -> list[str]:
    """Runs a scenario and returns what the supervisor said."""
    prepare(folder)
    detail: list[str] = []

    async def run() -> None:
        supervisor = Supervisor(folder, detail.append)
        try:
            await scenario(supervisor, detail)
        finally:
            await supervisor.stop()

    asyncio.run(run())
    return detail


def is_alive(pid: int) -> bool:
    """Zombies are not: they have ended, and only their parent's look is missing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("ends", "pause"),
    [
        ([100.0], RESTART_PAUSES[0]),
        ([99.0, 100.0], RESTART_PAUSES[1]),
        ([90.0, 95.0, 100.0], RESTART_PAUSES[2]),
        ([89.0, 100.0], RESTART_PAUSES[0]),
        ([85.0, 90.0, 95.0, 100.0], RESTART_PAUSES[3]),
        ([float(second) for second in range(80, 101)], RESTART_PAUSES[-1]),
    ],
)
def test_the_pause_grows_with_each_end_and_is_forgotten_after_a_calm(
    ends: list[float], pause: float
) -> None:
    """At once the first time, later each time after that, at once again after a quiet minute."""
    assert pause == pause_before_start(ends, ends[-1])


def test_the_first_restart_is_immediate() -> None:
    """Pages are back after `kill -9` as soon as the web process has started."""
    assert RESTART_PAUSES[0] <= 0.1


def test_exit_codes_are_described() -> None:
    """A person reads what happened, not a negative number."""
    assert describe_end(3) == "ended with code 3"
    assert describe_end(-signal.SIGKILL) == "was killed (SIGKILL)"


def test_a_killed_part_is_started_again_and_said_so(tmp_path: Path) -> None:
    """kill -9 of a part costs a moment and a line."""

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        await supervisor.start(shell("exec sleep 60"))
        first = supervisor.pids["part"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pids["part"] != first)

    detail = supervise(tmp_path, scenario)
    assert detail == ["part was killed (SIGKILL); it is started again now."]


def test_a_part_that_fails_says_why(tmp_path: Path) -> None:
    """The last line of its log is what a person would look for."""

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        await supervisor.start(shell("sleep 0.1; echo no such table; exit 7"))
        await until(lambda: detail)

    detail = supervise(tmp_path, scenario)
    assert detail[0].startswith("part ended with code 7 (no such table);")


@ON_LINUX
def test_what_a_killed_part_had_started_is_ended_too(tmp_path: Path) -> None:
    """A web worker that outlives its master would keep the port."""
    note = tmp_path / "child"

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        await supervisor.start(shell(f"sleep 60 & echo $! > {note}; wait"))
        await until(lambda: note.exists() and note.read_text().strip())
        child = int(note.read_text())
        os.kill(supervisor.pids["part"], signal.SIGKILL)
        await until(lambda: not is_alive(child))

    supervise(tmp_path, scenario)


def test_what_others_use_is_stopped_after_them(tmp_path: Path) -> None:
    """As the gateway process, through which open answers come."""
    ended, lost = tmp_path / "ended", tmp_path / "lost"
    waits = "echo up; while :; do sleep 0.05; done"

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        used = shell(f"trap 'touch {ended}; exit' TERM; {waits}", name="used")
        user = f"trap 'sleep 0.5; [ -e {ended} ] && touch {lost}; exit' TERM; {waits}"
        await supervisor.start(replace(used, stops_last=True))
        await supervisor.start(shell(user, name="user"))
        for name in ("used", "user"):
            log = tmp_path / "logs" / f"{name}.log"
            await until(lambda log=log: "up" in log.read_text())  # type: ignore[misc]
        await supervisor.stop()

    supervise(tmp_path, scenario)
    assert ended.exists()
    assert not lost.exists()


def test_a_part_that_ignores_the_stop_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    """Stopping ends, whatever a part thinks of it."""

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        stubborn = shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done", grace=0.3)
        await supervisor.start(stubborn)
        log = tmp_path / "logs" / "part.log"
        await until(lambda: "deaf" in log.read_text())
        await supervisor.stop()
        assert supervisor.pids == {}

    supervise(tmp_path, scenario)


def test_a_part_that_never_becomes_ready_is_a_failed_start(tmp_path: Path) -> None:
    """The sentence carries its last words and where to read the rest."""

    async def never() -> bool:
        return False

    async def scenario(supervisor: Supervisor, detail: list[str]) -> None:
        argv = ("/bin/sh", "-c", "echo cannot bind; exec sleep 60")
        part = Part(name="web", argv=argv, env=dict(os.environ), ready=never)
        with pytest.raises(StartFailed, match=r"web was not ready after 0 s.*\n.*cannot bind"):
            await supervisor.start(part, patience=0.4)

    supervise(tmp_path, scenario)


@ON_LINUX
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the parent reaches every part."""
    prepare(tmp_path)
    program = f"""
import asyncio, os, pathlib
from opencode_web.launcher.supervisor import Part, Supervisor
async def main():
    supervisor = Supervisor(pathlib.Path({str(tmp_path)!r}), print)
    await supervisor.start(Part(name="p", argv=("/bin/sleep", "60"), env={{}}))
    print(supervisor.pids["p"], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    asyncio.run(until(lambda: not is_alive(child)))


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    """A pid that now belongs to another process is nobody's to signal."""
    prepare(tmp_path)
    with (
        subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as ours,
        subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as stranger,
    ):
        remember(tmp_path, "ours", ours.pid)
        (tmp_path / "run" / "other.pid").write_text(
            f"{stranger.pid} {int(start_time(ours.pid)) - 1}"
        )
        # A parent that looks for its child's end, as init does for orphans.
        os.posix_spawn("/bin/true", ["true"], {})
        signal.signal(signal.SIGCHLD, lambda *_: ours.poll())
        try:
            assert stop_orphans(tmp_path) == ["ours"]
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        assert stranger.poll() is None
        stranger.kill()
    assert list((tmp_path / "run").glob("*.pid")) == []
