"""`./dev test`: every check of the project, on databases that are gone afterwards.

The static checks run first: a type checker beside tests takes several times as long. Then three
lanes of tests run side by side, each on databases of its own: what kills whole programs, the tests
in a browser, and all others. All of it runs, whatever has failed before; each lane is shown when it
ends. A test that failed runs once more, alone; one that passes then is listed at the end, and fails
the run when it did the same in one of the ten runs before. With arguments only the tests run, as
they are watched. In CI nothing may be left out.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from opencode_web.launcher.databases import foreground, is_given, throw_away
from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.preflight import collect_static

ROOT = Path(__file__).resolve().parents[2]
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

    cache: Path | None = None
    """Where its tests that failed are remembered."""

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


# Tests that start servers, runners and browsers.
STARTED = ("tests/opencode_web", "tests/faults")
BROWSED = ("tests/e2e",)


REMEMBERED = 10  # runs whose flaky tests are remembered
TESTS_FAILED = 1  # pytest's exit code, and no other one is a matter of time


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A check that did, and its exit code."""

    check: Check
    code: int
    tests: tuple[str, ...] = ()

    @property
    def may_pass(self) -> bool:
        """Whether alone it may do better."""
        return self.code == TESTS_FAILED and "pytest" in self.check.argv


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Checks that run one after the other."""

    name: str
    checks: tuple[Check, ...]


def static_lanes() -> list[Lane]:
    """The checks in two halves: the type checker, which takes as long as all others together."""
    types = tuple(check for check in checks() if check.name == "types")
    others = tuple(check for check in checks() if check.name != "types")
    return [Lane(name="types", checks=types), Lane(name="static checks", checks=others)]


def lanes() -> list[Lane]:
    """All tests, in parts that take about as long as one another."""
    ignored = tuple(f"--ignore={folder}" for folder in (*STARTED, *BROWSED))
    parts = (
        _tests("tests of whole programs", *STARTED),
        _tests("tests in a browser", *BROWSED),
        _tests("tests", *ignored),
    )
    return [Lane(name=part.name, checks=(part,)) for part in parts]


def _tests(name: str, *arguments: str) -> Check:
    """Each part remembers what failed in a folder of its own."""
    cache = ROOT / ".pytest_cache" / name.replace(" ", "-")
    argv = (sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments)
    return Check(name=name, argv=argv, cache=cache)


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
    began = time.monotonic()
    with handing_on() as running:
        whole = Run(given=given, running=running, at_once=1 if shared else 3)
        failed = await whole.drive_all(static_lanes())
        say("The static checks are done. Three lanes of tests run; each is shown when it ends.")
        forget_failures()
        failed += await whole.drive_all(lanes())
        before = {test for each in failed for test in each.tests}
        failed = await whole.repeat(failed)
    flaky = sorted(before - {test for each in failed for test in each.tests})
    names = [each.check.name for each in failed]
    names += report_flaky(flaky, ROOT / ".venv" / "tests" / "second_runs.json")
    say(f"\n{whole.durations()}; {time.monotonic() - began:.0f} s in all.")
    if names:
        say(f"Failed: {', '.join(names)}.")
    return int(bool(names))


def report_flaky(tests: list[str], log: Path) -> list[str]:
    """Lists the tests that passed on their second run alone; those that did so in one of the ten
    runs before as well are failures, and returned."""
    runs: list[list[str]] = json.loads(log.read_text()) if log.exists() else []
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(json.dumps([*runs, tests][-REMEMBERED:]))
    if tests:
        say("\nPassed only on their second run:")
    again = {test for run in runs for test in run}
    for test in tests:
        say(f"  {test}{' (and in one of the ten runs before)' if test in again else ''}")
    return [test for test in tests if test in again]


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of everything: what is under way, and how long each part took."""

    given: Mapping[str, str]
    running: set[Process]
    at_once: int
    seconds: dict[str, float] = field(default_factory=dict)

    async def drive_all(self, lanes: list[Lane]) -> list[Failed]:
        gate = asyncio.Semaphore(self.at_once)
        driven = await asyncio.gather(*(self.drive(lane, gate) for lane in lanes))
        return [each for lane in driven for each in lane]

    async def repeat(self, failed: list[Failed]) -> list[Failed]:
        """What fails for good: tests that failed run once more, one lane after the other."""
        left = [each for each in failed if not each.may_pass]
        for each in failed:
            if each.may_pass:
                say(f"\nOnce more, alone: what failed of the {each.check.name}.")
                lane = Lane(name=f"{each.check.name} again", checks=(each.check.again,))
                left += await self.drive(lane, asyncio.Semaphore(1))
        return left

    async def drive(self, lane: Lane, gate: asyncio.Semaphore) -> list[Failed]:
        """The lane's checks that failed."""
        told: list[str] = []
        failed: list[Failed] = []
        async with gate, throw_away(self.given, told.append) as env:
            began = time.monotonic()
            await lend_static(env)
            for check in lane.checks:
                if code := await run(check, env, self.running, told):
                    failed.append(Failed(check=check, code=code, tests=last_failed(check)))
        self.seconds[lane.name] = time.monotonic() - began
        say("\n".join(told))
        return failed

    def durations(self) -> str:
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())


def forget_failures() -> None:
    """Of earlier runs: a test that is gone would be among those that fail."""
    for lane in lanes():
        for check in lane.checks:
            if check.cache:
                shutil.rmtree(check.cache, ignore_errors=True)


def last_failed(check: Check) -> tuple[str, ...]:
    """The names of the tests that failed, as pytest remembers them."""
    try:
        kept = ((check.cache or ROOT) / "v" / "cache" / "lastfailed").read_text()
    except OSError:
        return ()
    return tuple(json.loads(kept))


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
