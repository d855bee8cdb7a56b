"""The verbs for a home where something may run already: down, logs, manage, shell, run."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from opencode_web.launcher.databases import environment, foreground, own, throw_away
from opencode_web.launcher.home import (
    CannotStart,
    announce,
    is_occupied,
    occupy,
    prepare,
    running,
)
from opencode_web.launcher.logs import Follower

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 40.0
"""Seconds `down` waits: the programs' grace and the database's, and a little."""


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def down(home: Path) -> int:
    """Stops what runs on this home and returns when it has stopped."""
    if not is_occupied(home):
        report(f"Nothing runs on {home}.")
        return 0
    _, _, pid = (home / "lock").read_text().partition(" ")
    os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_occupied(home):
        if time.monotonic() > deadline:
            report(
                f"Process {pid} has not stopped after {STOP_SECONDS:.0f} s."
                f" To kill it: kill -9 {pid}"
            )
            return 1
        time.sleep(0.05)
    report("Stopped.")
    return 0


def logs(home: Path, name: str) -> int:
    """Shows the end of each log and follows them while something runs."""
    if not list((home / "logs").glob(f"{name}.log")):
        raise CannotStart(f"There is no log {name} in {home / 'logs'}.")
    follower = Follower(home, name, backlog=20)
    while True:
        for part, line in follower.new_lines():
            print(f"{part:8} | {line}", flush=True)
        if not is_occupied(home):
            return 0
        time.sleep(0.3)


def manage(home: Path, arguments: list[str], *, verb: str = "manage") -> int:
    """Django's manage.py on the databases that run, or on our own for as long as it takes."""
    argv = [sys.executable, "manage.py", *arguments]
    if arguments[:1] == ["migrate"]:  # the next start must look for itself
        (home / "stamps" / "migrations").unlink(missing_ok=True)
    if state := running(home):
        env = environment(home, os.environ, {}) | dict(state.environment)
        return asyncio.run(foreground(argv, env, ROOT))
    prepare(home)
    with occupy(home, verb):
        return asyncio.run(_manage_alone(home, argv, verb))


def run(argv: list[str]) -> int:
    """Any command on databases that are gone afterwards."""
    if not argv:
        raise CannotStart("Say what to run: ./dev run COMMAND ...")
    return asyncio.run(_run(argv))


async def _manage_alone(home: Path, argv: list[str], verb: str) -> int:
    async with own(home, os.environ, report) as env:
        announce(home, verb, {name: env[name] for name in env if name not in os.environ})
        return await foreground(argv, env, ROOT)


async def _run(argv: list[str]) -> int:
    async with throw_away(os.environ, report) as env:
        return await foreground(argv, env, ROOT)
