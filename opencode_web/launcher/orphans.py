"""Stop the processes that a killed supervisor left behind, found by pid and start time.

A pid alone is not enough: the kernel reuses it, and its next process is not ours to kill.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

STOP_SECONDS = 5.0
"""Seconds a leftover gets to end by itself before it is killed; Postgres needs the most."""


def remember(folder: Path, name: str, pid: int) -> None:
    _path(folder, name).write_text(f"{pid} {start_time(pid)}")


def forget(folder: Path, name: str) -> None:
    _path(folder, name).unlink(missing_ok=True)


def stop_orphans(folder: Path) -> list[str]:
    """Stop what the last run left behind, and return the names of what was still alive."""
    left = {path: _alive(path) for path in folder.glob("run/*.pid")}
    names = [path.stem for path, pid in left.items() if pid]
    for path, pid in left.items():
        if pid:
            _stop(path, pid)
        path.unlink(missing_ok=True)
    return names


def start_time(pid: int) -> str:
    """When a process started, in the system's own words; empty when there is none."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[19]
    shown = subprocess.run(  # noqa: S603  # the arguments are ours
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()


def _path(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.pid"


def _alive(path: Path) -> int | None:
    pid, _, start = path.read_text().partition(" ")
    return int(pid) if pid.isdigit() and start and start_time(int(pid)) == start else None


def _stop(path: Path, pid: int) -> None:
    """Send SIGINT first: it is Postgres's fast shutdown, and ends every other part as well."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
