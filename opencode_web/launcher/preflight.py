"""Prepare a start: gather the static files, migrate the database, check the stored keys.

Both take a second or two of Django, so for databases of our own a stamp in the home folder says
that they are done for the files as they are. A database of the user's own is always migrated, and
one that cannot be reached holds up nothing: the site starts, says so, and is migrated later.
"""

import asyncio
import hashlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opencode_web.env import Environment
from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.logs import log_path
from opencode_web.launcher.supervisor import Report

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.txt"
MANAGE = (sys.executable, "manage.py")
RETRY_SECONDS = 3.0
"""Seconds between two looks whether a database that could not be reached is back."""
CODE_LOST_KEYS = 3  # the exit code of `check_keys` where stored secrets cannot be decrypted
CONNECT_SECONDS = 3.0
"""Seconds to wait for a connection before a server counts as unreachable."""


class Stamp:
    """Remembers in the home folder that something was done for these files as they are."""

    def __init__(self, home: Path, name: str, files: Iterable[Path], text: str = "") -> None:
        self._path = home / "stamps" / name
        digest = hashlib.sha256(text.encode())
        for file in sorted(files):
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        self._text = digest.hexdigest()

    @property
    def is_current(self) -> bool:
        return self._path.exists() and self._path.read_text() == self._text

    def set(self) -> None:
        self._path.write_text(self._text)


def static_stamp(home: Path) -> Stamp:
    files = [path for path in ROOT.glob("static/**/*") if path.is_file()]
    return Stamp(home, "static", [LOCK, ROOT / "opencode_web" / "settings.py", *files])


async def collect_static(home: Path, env: Mapping[str, str], report: Report) -> None:
    stamp = static_stamp(home)
    if stamp.is_current and (home / "static" / "staticfiles.json").exists():
        return
    report("Preparing the static files ...")
    code, _, errors = await manage(env, "collectstatic", "--noinput", "-v0")
    if code:
        raise _failure("The static files could not be prepared", "collectstatic", home, errors)
    stamp.set()


async def migrate_ours(home: Path, env: Mapping[str, str], report: Report) -> None:
    # The lock is among the files because Django's own migrations come with Django.
    stamp = Stamp(home, "migrations", [LOCK, *ROOT.glob("*/migrations/*.py")])
    if stamp.is_current:
        return
    report("Migrating the database ...")
    if problem := await _migrate(home, env):
        raise CannotStart(f"The database could not be migrated: {problem}.")
    stamp.set()


async def migrate_given(
    home: Path, env: Mapping[str, str], settings: Environment, report: Report
) -> bool:
    """Check that the user's database has the schema of the code; report why it cannot be used."""
    where = settings.database_url.get_secret_value()
    report("Migrating the database ...")
    problem = (
        await _migrate(home, env) if await is_reachable(where, 5432) else "nobody answers there"
    )
    if problem:
        report(
            f"The database at {describe_address(where)} (DATABASE_URL) cannot be used: {problem}."
            " The site starts and says so, and the database is migrated as soon as it answers."
        )
    return not problem


async def check_keys(home: Path, env: Mapping[str, str], settings: Environment) -> int:
    """How the check of the stored secrets ended: 0 where all can be decrypted.

    It is left out where nothing has changed since it went well, or was accepted.
    """
    if _keys_stamp(home, settings).is_current:
        return 0
    code, _, _ = await manage(env, "check_keys")
    if not code:
        accept_keys(home, settings)
    return code


def accept_keys(home: Path, settings: Environment) -> None:
    """Takes the stored secrets as they are, with these keys, from now on."""
    _keys_stamp(home, settings).set()


def _keys_stamp(home: Path, settings: Environment) -> Stamp:
    secrets = [settings.database_url, *settings.encryption_keys]
    return Stamp(home, "keys", (), text="\0".join(each.get_secret_value() for each in secrets))


async def migrate_when_back(
    home: Path, env: Mapping[str, str], settings: Environment, report: Report
) -> None:
    where = settings.database_url.get_secret_value()
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        if await is_reachable(where, 5432) and not await _migrate(home, env):
            report("The database answers and is migrated.")
            return


async def warn_of_redis(settings: Environment, report: Report) -> None:
    where = settings.redis_url.get_secret_value()
    if not await is_reachable(where, 6379):
        report(
            f"Redis at {describe_address(where)} (REDIS_URL) cannot be reached."
            " The site starts and says so; answers come with a delay and health checks wait until"
            " it is back."
        )


async def manage(env: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Runs a management command; returns its exit code and both outputs."""
    process = await asyncio.create_subprocess_exec(
        *MANAGE,
        *arguments,
        env=dict(env),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


async def is_reachable(url: str, port: int) -> bool:
    """Whether somebody listens there; whether they let us in shows when they are used."""
    where = urlsplit(url)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            host = unquote(where.hostname or "")
            if where.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(unquote(where.path))
            elif host.startswith("/"):  # a folder of PostgreSQL's sockets
                name = f"{host}/.s.PGSQL.{where.port or port}"
                _, writer = await asyncio.open_unix_connection(name)
            elif not host:
                return True  # libpq's own default, which only it knows
            else:
                _, writer = await asyncio.open_connection(where.hostname, where.port or port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def describe_address(url: str) -> str:
    """The address without what is secret in it."""
    where = urlsplit(url)
    return f"{where.hostname or where.path}{f':{where.port}' if where.port else ''}"


async def _migrate(home: Path, env: Mapping[str, str]) -> str:
    """Empty when done; the reason where the database is away; raises where the code is wrong."""
    code, _, errors = await manage(env, "migrate", "--noinput", "-v0")
    if not code:
        return ""
    if "OperationalError" not in errors:
        raise _failure("The database could not be migrated", "migrate", home, errors)
    return _last_line(errors)


def _failure(what: str, command: str, home: Path, errors: str) -> CannotStart:
    log = log_path(home, command)
    log.write_text(errors)
    return CannotStart(f"{what}: {_last_line(errors)}\nThe whole message is in {log}.")


def _last_line(errors: str) -> str:
    return (errors.strip().splitlines() or ["no reason was given"])[-1]
