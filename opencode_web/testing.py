"""`./dev test`: every check of the project, on databases that are gone afterwards.

Three lanes run side by side, each on databases of its own: the checks and what kills whole
programs, the tests in a browser, and all others. All of it runs, whatever has failed before; each
lane is shown when it ends, so that a summary of tests is the last thing printed. A test that fails
beside two other lanes may have missed a limit in time that is theirs: it runs once more, alone, and
with the limits of a machine that does nothing else. With arguments only the tests run, as they are
watched. In CI nothing may be left out.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from opencode_web.databases import foreground, is_given, throw_away
from opencode_web.home import CannotStart
from opencode_web.preparing import collect_static

ROOT = Path(__file__).resolve().parent.parent
# Not its script, which is bound to where the environment was made: the checkout may have moved.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
STOPPED = 130
"""The exit code of a command that Ctrl-C ended."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAC_BROWSERS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to run, and the name to show for it."""

    name: str
    argv: tuple[str, ...]

    @property
    def again(self) -> "Check":
        """The tests of it that failed."""
        return replace(self, argv=(*self.argv, "--last-failed", "--last-failed-no-failures=none"))


def checks() -> list[Check]:
    """Everything but the tests."""
    python = (sys.executable, "-m")
    templates = tuple(str(path) for path in sorted(ROOT.glob("templates/**/*.html")))
    found = [
        Check(name="lint", argv=(*python, "ruff", "check", ".")),
        Check(name="format", argv=(*python, "ruff", "format", "--check", ".")),
        Check(name="types", argv=(*python, "mypy", ".")),
        Check(name="import contracts", argv=(sys.executable, "-c", LINT_IMPORTS)),
        Check(
            name="migrations",
            argv=(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"),
        ),
    ]
    if templates:
        djade = (str(Path(sys.executable).parent / "djade"), "--check", *templates)
        found.insert(2, Check(name="templates", argv=djade))
    return found


# Tests that start servers, runners and browsers, and wait for them more than they compute.
STARTED = ("tests/opencode_web", "tests/faults")
BROWSED = ("tests/e2e",)


TESTS_FAILED = 1  # pytest's exit code, and no other one is a matter of time


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A check that did, and its exit code."""

    check: Check
    code: int

    @property
    def may_pass(self) -> bool:
        """Whether alone it may do better."""
        return self.code == TESTS_FAILED and "pytest" in self.check.argv


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Checks that run one after the other."""

    name: str
    checks: tuple[Check, ...]


def lanes() -> list[Lane]:
    """All there is to run, in parts that take about as long as one another."""
    pytest = (sys.executable, "-m", "pytest", "-o")
    apart = (*STARTED, *BROWSED)
    started = Check(name="tests of whole programs", argv=(*pytest, _cache("started"), *STARTED))
    browsed = Check(name="tests in a browser", argv=(*pytest, _cache("browsed"), *BROWSED))
    ignored = (f"--ignore={folder}" for folder in apart)
    others = Check(name="tests", argv=(*pytest, _cache("others"), *ignored))
    return [
        Lane(name="checks", checks=(*checks(), started)),
        Lane(name=browsed.name, checks=(browsed,)),
        Lane(name=others.name, checks=(others,)),
    ]


def _cache(name: str) -> str:
    """Where a lane remembers what failed, apart from the others."""
    return f"cache_dir=.pytest_cache/{name}"


async def test(arguments: list[str]) -> int:
    """0 when every check and every test passed."""
    given = os.environ | await browser_variables(os.environ)
    if arguments:
        async with throw_away(given, say) as env:
            await lend_static(env)
            argv = [sys.executable, "-m", "pytest", *arguments]
            return await foreground(argv, env, ROOT)
    async with throw_away(given, say) as env:
        await lend_static(env)
    # Databases that were given cannot be used by two lanes at once.
    shared = is_given("DATABASE_URL", given) or is_given("REDIS_URL", given)
    if not shared:
        # Read by tests whose limits are of a machine that does nothing else.
        given |= {"SIDE_BY_SIDE": "1"}
        say("Three lanes run side by side; each is shown when it ends.")
    with handing_on() as running:
        gate = asyncio.Semaphore(1 if shared else len(lanes()))
        driven = await asyncio.gather(*(drive(lane, given, gate, running) for lane in lanes()))
        failed = [each for lane in driven for each in lane]
        if not shared:
            failed = await alone(failed, given, running)
    names = [each.check.name for each in failed]
    if names:
        say(f"\nFailed: {', '.join(names)}.")
    return int(bool(names))


async def alone(
    failed: list[Failed], given: Mapping[str, str], running: set[Process]
) -> list[Failed]:
    """What has failed for good: tests that failed run once more, one lane after the other."""
    quiet = {name: value for name, value in given.items() if name != "SIDE_BY_SIDE"}
    left = [each for each in failed if not each.may_pass]
    for each in failed:
        if each.may_pass:
            say(f"\nOnce more, alone: what failed of the {each.check.name}.")
            lane = Lane(name=each.check.name, checks=(each.check.again,))
            left += await drive(lane, quiet, asyncio.Semaphore(1), running)
    return left


async def drive(
    lane: Lane, given: Mapping[str, str], gate: asyncio.Semaphore, running: set[Process]
) -> list[Failed]:
    """The lane's checks that failed."""
    told: list[str] = []
    failed: list[Failed] = []
    async with gate, throw_away(given, told.append) as env:
        await lend_static(env)
        for check in lane.checks:
            if code := await run(check, env, running, told):
                failed.append(Failed(check=check, code=code))
    say("\n".join(told))
    return failed


async def run(check: Check, env: Mapping[str, str], running: set[Process], told: list[str]) -> int:
    """Runs one check, its output kept for the lane's end."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *check.argv, env=dict(env), cwd=ROOT, stdout=PIPE, stderr=STDOUT
    )
    running.add(process)
    printed, _ = await process.communicate()
    running.discard(process)
    code = process.returncode or 0
    if code in (-signal.SIGINT, STOPPED):
        raise KeyboardInterrupt
    word = "failed" if code else "good"
    told.append(f"== {check.name}: {word} after {time.monotonic() - began:.1f} s")
    told.append(printed.decode("utf-8", "replace").rstrip())
    return code


@contextmanager
def handing_on() -> Iterator[set[Process]]:
    """While it lasts Ctrl-C is the checks' own to handle, and SIGTERM is handed on to them."""
    loop = asyncio.get_running_loop()
    running: set[Process] = set()

    def hand_on() -> None:
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()

    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, hand_on)
    try:
        yield running
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


async def lend_static(env: Mapping[str, str]) -> None:
    """The static files of the run before, where they are the same: preparing them takes seconds."""
    kept = ROOT / ".venv" / "tests"
    (kept / "stamps").mkdir(parents=True, exist_ok=True)
    (kept / "logs").mkdir(exist_ok=True)
    await collect_static(kept, {**env, "OPENCODE_WEB_HOME": str(kept)}, say)
    (Path(env["OPENCODE_WEB_HOME"]) / "static").symlink_to(kept / "static")


async def browser_variables(given: Mapping[str, str]) -> dict[str, str]:
    """CHROMIUM, the browser the tests drive; without one they say that they are skipped."""
    found = find_browser(given)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing Chromium for the browser tests ...")
        for arguments in (("update", "-qq"), ("install", "-y", "-qq", "chromium")):
            await foreground(
                ["apt-get", *arguments], {**given, "DEBIAN_FRONTEND": "noninteractive"}, ROOT
            )
        found = find_browser(given)
    if found:
        return {"CHROMIUM": found}
    if given.get("CI"):
        raise CannotStart(
            "No Chromium was found, and CI skips nothing. Install it or set CHROMIUM."
        )
    say(
        "The browser tests are skipped: no Chromium was found. To run them, install it"
        " (Debian: apt-get install chromium) or set CHROMIUM to its path."
    )
    return {}


def find_browser(given: Mapping[str, str]) -> str | None:
    if named := given.get("CHROMIUM"):
        if not shutil.which(named):
            raise CannotStart(f"CHROMIUM names {named}, which is no program that can be run.")
        return named
    found = (shutil.which(name, path=given.get("PATH")) for name in BROWSERS)
    installed = (str(path) for path in MAC_BROWSERS if path.exists())
    return next((path for path in (*found, *installed) if path), None)


def say(text: str) -> None:
    print(text, flush=True)
