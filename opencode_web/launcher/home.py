"""The home folder: everything `./dev up` stores, used by one run at a time.

Layout: `lock` (held while something runs here), `state.json` (how to join what runs), `secret_key`
and `encryption_keys` (made once), `logs/`, `run/` (sockets, pids), `postgres/`, `valkey/`,
`static/`, `stamps/` (what need not be done again), `metrics/` (what the processes have counted).
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SMALLEST_DISK = 300 * 1024 * 1024
"""Free bytes below which nothing is started: a new database takes 60 MB and writes ahead."""


class CannotStart(Exception):
    """Why nothing was started, as a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs on a home: its verb, its process, and the environment of its parts."""

    verb: str
    pid: int
    environment: Mapping[str, str]


def prepare(home: Path) -> None:
    """Create the folder and its subfolders; only its own user can read secrets."""
    try:
        # Others may pass through (root's PostgreSQL runs as another user) but not look around.
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        for name in ("logs", "metrics", "stamps"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
        (home / "run").mkdir(mode=0o711, exist_ok=True)
    except OSError as exc:
        raise CannotStart(
            f"The folder {home} cannot be written ({exc.strerror})."
            " Set OPENCODE_WEB_HOME to a folder that can."
        ) from exc
    if shutil.disk_usage(home).free < SMALLEST_DISK:
        raise CannotStart(
            f"Less than 300 MB are free where {home} is: free some space,"
            " or set OPENCODE_WEB_HOME to a folder on another disk."
        )


def clear_metrics(home: Path) -> None:
    """Delete the files in which the processes of the last run counted."""
    for file in (home / "metrics").glob("*.db"):
        file.unlink()


@contextlib.contextmanager
def occupy(home: Path, verb: str) -> Iterator[None]:
    """Lock the folder for one run. The kernel releases the lock however the process ends."""
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(_in_use(home)) from None
        lock.truncate(0)
        lock.write(f"{verb} {os.getpid()}")
        lock.flush()
        try:
            yield
        finally:
            (home / "state.json").unlink(missing_ok=True)


def is_occupied(home: Path) -> bool:
    try:
        with (home / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def running(home: Path) -> Running | None:
    """The state of what runs on this home, once it can be joined."""
    if not is_occupied(home):
        return None
    try:
        return Running(**json.loads((home / "state.json").read_text()))
    except (OSError, ValueError):
        return None


def announce(home: Path, verb: str, environment: Mapping[str, str]) -> None:
    """Store how `./dev manage`, `shell` and `down` join this run."""
    state = {"verb": verb, "pid": os.getpid(), "environment": dict(environment)}
    write_secret(home / "state.json", json.dumps(state))


def ensure_keys(home: Path) -> dict[str, str]:
    """The variables that name the key files; a missing file is created."""
    made = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ENCRYPTION_KEYS": generate_encryption_key(),
    }
    for name, value in made.items():
        path = home / name.lower()
        if not path.exists():
            write_secret(path, value)
    return {f"{name}_FILE": str(home / name.lower()) for name in made}


def generate_encryption_key() -> str:
    """A key for cryptography's Fernet, made without importing it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can ever read, and that is never half written."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _in_use(home: Path) -> str:
    verb, _, pid = (home / "lock").read_text().partition(" ")
    return (
        f"{home} is in use by `./dev {verb or 'up'}` (process {pid or 'unknown'})."
        " Stop it with `./dev down`, or set OPENCODE_WEB_HOME to another folder."
    )
