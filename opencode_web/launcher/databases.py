"""The databases a command needs: those the environment names, else our own for its duration."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from opencode_web.launcher.embedded import THROW_AWAY, start_postgres, start_valkey
from opencode_web.launcher.home import ensure_keys, prepare
from opencode_web.launcher.orphans import stop_orphans
from opencode_web.launcher.supervisor import Report, Supervisor


def is_given(name: str, environment: Mapping[str, str]) -> bool:
    """Whether a variable has a value, itself or in the file that NAME_FILE names."""
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def environment(home: Path, given: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: the given variables, then the missing ones."""
    # The environment is ours to write byte code into, and a start without it takes seconds longer.
    env = {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {
        "DJANGO_SETTINGS_MODULE": "opencode_web.settings",
        "OPENCODE_WEB_HOME": str(home),
        "PROMETHEUS_MULTIPROC_DIR": str(home / "metrics"),
        "PYTHONUNBUFFERED": "1",
        # Else importing litellm fetches a price list from the network.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    for name, value in added.items():
        if not is_given(name.removesuffix("_FILE"), given):
            env[name] = value
    return env


@asynccontextmanager
async def databases(
    home: Path, given: Mapping[str, str], report: Report, *, settings: tuple[str, ...] = ()
) -> AsyncIterator[dict[str, str]]:
    """Starts what `given` does not name, at the same time; yields the addresses; stops it all."""
    supervisor = Supervisor(home, report)
    try:
        async with asyncio.TaskGroup() as group:
            starts = {}
            if not is_given("DATABASE_URL", given):
                postgres = start_postgres(home, supervisor, settings=settings)
                starts["DATABASE_URL"] = group.create_task(postgres)
            if not is_given("REDIS_URL", given):
                starts["REDIS_URL"] = group.create_task(start_valkey(home, supervisor))
        yield {name: task.result().url for name, task in starts.items()}
    finally:
        await supervisor.stop()


@contextlib.contextmanager
def throw_away_home() -> Iterator[Path]:
    """A home that is gone afterwards; its path is short, for sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="ocw-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        prepare(home)
        yield home


@asynccontextmanager
async def throw_away(given: Mapping[str, str], report: Report) -> AsyncIterator[dict[str, str]]:
    """The environment of a test run: new databases and keys in a temporary folder."""
    with throw_away_home() as home:
        async with databases(home, given, report, settings=THROW_AWAY) as urls:
            yield environment(home, given, {**ensure_keys(home), **urls})


@asynccontextmanager
async def own(
    home: Path, given: Mapping[str, str], report: Report
) -> AsyncIterator[dict[str, str]]:
    """The environment of a command on the home's data, while nothing else runs there."""
    stop_orphans(home)
    async with databases(home, given, report) as urls:
        yield environment(home, given, {**ensure_keys(home), **urls})


async def foreground(argv: list[str], env: Mapping[str, str], cwd: Path) -> int:
    """Runs a command with our terminal; Ctrl-C is its to handle, SIGTERM is handed on."""
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(*argv, env=dict(env), cwd=cwd)

    def terminate() -> None:
        with suppress(ProcessLookupError):
            process.terminate()

    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await process.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
