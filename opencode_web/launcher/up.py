"""`./dev up`: run everything on one machine, from an empty folder to the first page, until stopped.

What the first page does not need waits until it is there, so that two cores serve it first.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opencode_web.env import Environment, EnvironmentInvalid, read
from opencode_web.launcher import preflight, services
from opencode_web.launcher.databases import databases, environment, is_given
from opencode_web.launcher.home import CannotStart, announce, clear_metrics, ensure_keys
from opencode_web.launcher.logs import Follower, cut_large, is_alarming, rotate
from opencode_web.launcher.orphans import stop_orphans
from opencode_web.launcher.services import Address
from opencode_web.launcher.supervisor import Supervisor

PLACEHOLDERS = {"DATABASE_URL": "postgresql://ours", "REDIS_URL": "unix://ours"}
"""Stand-ins for our own databases until these have an address."""
SHOWN = 6
"""Lines of one part's log shown at once; the rest is in the file."""
QUIET = {"postgres", "valkey", "initdb", "migrate", "collectstatic"}
"""Logs not shown: they list every refused query, and the programs log what matters."""


class StartProgress:
    """Lines for the person who waits, with the seconds since they began to."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start: the home, the address, and the user's environment."""

    home: Path
    address: Address
    given: Mapping[str, str]
    added: Mapping[str, str]
    settings: Environment
    report: StartProgress
    accept_lost_keys: bool = False

    def environment(self, urls: Mapping[str, str]) -> dict[str, str]:
        return environment(self.home, self.given, {**self.added, **urls})


async def up(home: Path, address: Address, *, accept_lost_keys: bool = False) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. The caller has locked the home."""
    services.require_free(address)
    rotate(home)
    clear_metrics(home)
    report, given = StartProgress(), dict(os.environ)
    if left := stop_orphans(home):
        report(f"The last run was killed; stopped what it left behind: {', '.join(left)}.")
    is_new = not (home / "encryption_keys").exists() and not (home / "postgres").exists()
    added = {**ensure_keys(home), **services.site_variables(address)}
    settings = check_environment(environment(home, given, {**PLACEHOLDERS, **added}))
    if is_new and not is_given("DATABASE_URL", given):
        preflight.accept_keys(home, settings)  # nothing is stored yet
    start = Start(
        home=home,
        address=address,
        given=given,
        added=added,
        settings=settings,
        report=report,
        accept_lost_keys=accept_lost_keys,
    )
    programs = Supervisor(home, report)
    running = asyncio.create_task(_run(start, programs))
    _stop_on_signals(running, programs, report)
    try:
        await running
    except asyncio.CancelledError:
        report("Stopped.")
    return 0


def check_environment(env: Mapping[str, str]) -> Environment:
    """The typed environment, or CannotStart with a sentence per wrong variable.

    This process's own environment becomes the parts' for that; it starts nothing with it.
    """
    os.environ.update(env)
    try:
        return read()
    except EnvironmentInvalid as exc:
        raise CannotStart(str(exc)) from None


def _stop_on_signals(
    running: asyncio.Task[None], programs: Supervisor, report: StartProgress
) -> None:
    """Stop everything in order at the first signal; a second one kills all but the databases."""

    def stop() -> None:
        if running.cancelling():
            programs.kill()
        else:
            report("Stopping ...")
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _run(start: Start, programs: Supervisor) -> None:
    static = asyncio.create_task(
        preflight.collect_static(start.home, start.environment(PLACEHOLDERS), start.report)
    )
    start.report("Starting the databases ...")
    try:
        async with databases(start.home, start.given, start.report) as urls:
            env = start.environment(urls)
            migrated = await _migrate(start, env)
            if migrated:
                await _check_keys(start, env)
            await static
            announce(start.home, "up", _joinable(env))
            try:
                await _serve(start, env, programs, migrated=migrated)
            finally:
                await programs.stop()
    finally:
        static.cancel()


async def _migrate(start: Start, env: Mapping[str, str]) -> bool:
    """Whether the database is ready; a user's own that is away holds up nothing."""
    if is_given("REDIS_URL", start.given):
        await preflight.warn_of_redis(start.settings, start.report)
    if is_given("DATABASE_URL", start.given):
        return await preflight.migrate_given(start.home, env, start.settings, start.report)
    await preflight.migrate_ours(start.home, env, start.report)
    return True


LOST_KEYS = (
    "The database holds keys that cannot be decrypted: {where} is missing a key that encrypted"
    " them, or was replaced. Restore it from your backup and start again. If it is lost for good,"
    " start with ./dev up --accept-lost-keys and enter the keys of your providers again."
)


async def _check_keys(start: Start, env: Mapping[str, str]) -> None:
    """Raises CannotStart where stored keys are lost: providers would be called without them."""
    code = await preflight.check_keys(start.home, env, start.settings)
    if code != preflight.CODE_LOST_KEYS:
        return
    if not (start.accept_lost_keys or start.settings.accept_lost_keys):
        given = is_given("ENCRYPTION_KEYS", start.given)
        where = "ENCRYPTION_KEYS" if given else start.home / "encryption_keys"
        raise CannotStart(LOST_KEYS.format(where=where))
    preflight.accept_keys(start.home, start.settings)
    start.report("Some stored keys cannot be decrypted: enter those of your providers again.")


async def _serve(
    start: Start, env: Mapping[str, str], programs: Supervisor, *, migrated: bool
) -> None:
    """Until cancelled."""
    start.report("Starting the site ...")
    # The runner beside web, for the first question; the rest, which takes longer, after it.
    stop_seconds = start.settings.stop_pause + start.settings.stop_drain
    web, runner = services.web(start.address, env, stop_seconds), services.runner(env)
    await asyncio.gather(programs.start(web), programs.start(runner))
    start.report(f"OpenCode Web is at {env['PUBLIC_URL']} - Ctrl-C stops it.")
    later = [services.worker(env), services.beat(env, start.home)]
    if not is_given("GATEWAY_URL", start.given):
        later.insert(0, services.gateway(env))
    async with asyncio.TaskGroup() as group:
        for part in later:
            group.create_task(programs.start(part))
        group.create_task(_link(start, env, migrated=migrated))
        group.create_task(_watch_logs(start.home))


async def _link(start: Start, env: Mapping[str, str], *, migrated: bool) -> None:
    """Shows the one-time link while there is no owner, as soon as the database answers."""
    if not migrated:
        await preflight.migrate_when_back(start.home, env, start.settings, start.report)
    code, link, problem = await preflight.manage(env, "signin_link")
    if code:
        last = problem.strip().rpartition("\n")[2]
        start.report(f"The sign-in link could not be made; try ./dev manage signin_link ({last}).")
    elif link.strip():
        print(
            f"\nFirst time here? This link creates the owner:\n\n    {link.strip()}\n", flush=True
        )


async def _watch_logs(home: Path) -> None:
    """Shows warnings and errors of the programs as they are logged; keeps the logs small."""
    follower = Follower(home)
    while True:
        await asyncio.sleep(0.5)
        cut_large(home)
        shown: Counter[str] = Counter()
        for name, line in follower.new_lines():
            if name not in QUIET and is_alarming(line):
                shown[name] += 1
                if shown[name] <= SHOWN:
                    print(f"{name}: {line}", flush=True)
        for name, count in shown.items():
            if count > SHOWN:
                print(f"{name}: {count - SHOWN} more such lines: ./dev logs {name}", flush=True)


def _joinable(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that other commands need to use the same site."""
    names = {field.upper() for field in Environment.model_fields}
    return {name: text for name, text in env.items() if name.removesuffix("_FILE") in names}
