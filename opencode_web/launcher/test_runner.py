"""`./dev test`: every check of the project, on databases that are gone afterwards.

The static checks run first: a type checker beside tests takes several times as long. Then three
lanes of tests run side by side. All of it runs, whatever has failed before; each lane is shown when
it ends. A test that failed runs once more, alone; one that passes then is listed at the end, and
fails the run when it did the same in one of the ten runs before. With arguments only the tests run,
and their output is shown as it comes. In CI nothing may be left out.
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
from dataclasses import dataclass, field
from pathlib import Path

from opencode_web.launcher.browser import browser_variables
from opencode_web.launcher.checks import ROOT, Check, Lane, pytest_lanes, static_lanes
from opencode_web.launcher.databases import foreground, is_given, throw_away
from opencode_web.launcher.flaky_tests import report_flaky
from opencode_web.launcher.preflight import collect_static

FLAKY_TESTS_LOG = ROOT / ".pytest_cache" / "flaky_tests.json"
CODE_STOPPED = 130  # the exit code of a command that Ctrl-C ended
CODE_TERMINATED = 143  # and of one that SIGTERM ended
CODE_TESTS_FAILED = 1  # pytest's; with any other one a second run does not help


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCheck:
    """A check that failed, its exit code, and the tests of it that failed."""

    check: Check
    code: int
    tests: tuple[str, ...] = ()

    @property
    def may_be_flaky(self) -> bool:
        """Whether a second run may pass."""
        return self.code == CODE_TESTS_FAILED and "pytest" in self.check.argv


async def test(arguments: list[str]) -> int:
    """Run everything, or pytest with arguments. Returns 0 when all of it passed."""
    given = os.environ | await browser_variables(os.environ, report)
    async with throw_away(given, report) as env:
        await link_static(env)
        if arguments:
            return await foreground([sys.executable, "-m", "pytest", *arguments], env, ROOT)
    # Databases that were given cannot be used by two lanes at once.
    shared = is_given("DATABASE_URL", given) or is_given("REDIS_URL", given)
    run = CheckRun(given=given, max_lanes=1 if shared else 3)
    with forward_signals(run):
        return await run_everything(run)


async def run_everything(run: "CheckRun") -> int:
    began = time.monotonic()
    failed = await run.run_lanes(static_lanes())
    report("The static checks are done. Three lanes of tests run; each is shown when it ends.")
    clear_caches()
    failed += await run.run_lanes(pytest_lanes())
    if run.is_terminated:
        return CODE_TERMINATED
    first = {test for each in failed for test in each.tests}
    failed = await run.run_again(failed)
    flaky = sorted(first - {test for each in failed for test in each.tests})
    names = [each.check.name for each in failed]
    names += report_flaky(flaky, FLAKY_TESTS_LOG, report, run.given)
    report(f"\n{run.describe_durations()}; {time.monotonic() - began:.0f} s in all.")
    if names:
        report(f"Failed: {', '.join(names)}.")
    return int(bool(names))


@dataclass(slots=True, kw_only=True)
class CheckRun:
    """One run of checks: its processes, and how long each lane took.

    `is_terminated`: SIGTERM came. What runs is ended, and nothing else begins.
    """

    given: Mapping[str, str]
    max_lanes: int
    processes: set[Process] = field(default_factory=set)
    is_terminated: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def terminate(self) -> None:
        """Pass SIGTERM on. pytest then stops the programs of its tests, as `tests/termination.py`
        has it, and ends."""
        self.is_terminated = True
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.terminate()

    async def run_lanes(self, lanes: list[Lane]) -> list[FailedCheck]:
        """Run lanes side by side, and return the checks that failed."""
        gate = asyncio.Semaphore(self.max_lanes)
        results = await asyncio.gather(*(self._run_lane(lane, gate) for lane in lanes))
        return [each for failed in results for each in failed]

    async def run_again(self, failed: list[FailedCheck]) -> list[FailedCheck]:
        """Run the tests that failed once more, a lane at a time. Returns what still fails."""
        still_failed = [each for each in failed if not each.may_be_flaky]
        for each in failed:
            if each.may_be_flaky:
                report(f"\nOnce more, alone: what failed of the {each.check.name}.")
                lane = Lane(name=f"{each.check.name} again", checks=(each.check.second_run,))
                still_failed += await self._run_lane(lane, asyncio.Semaphore(1))
        return still_failed

    async def _run_lane(self, lane: Lane, gate: asyncio.Semaphore) -> list[FailedCheck]:
        output: list[str] = []
        failed: list[FailedCheck] = []
        async with gate, throw_away(self.given, output.append) as env:
            began = time.monotonic()
            await link_static(env)
            for check in lane.checks:
                if self.is_terminated:
                    break
                if code := await run_check(check, env, self.processes, output):
                    failed.append(FailedCheck(check=check, code=code, tests=failed_tests(check)))
        self.seconds[lane.name] = time.monotonic() - began
        report("\n".join(output))
        return failed

    def describe_durations(self) -> str:
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())


def clear_caches() -> None:
    """Forget the failures of earlier runs, which may name tests that are gone."""
    for lane in pytest_lanes():
        for check in lane.checks:
            if check.cache:
                shutil.rmtree(check.cache, ignore_errors=True)


def failed_tests(check: Check) -> tuple[str, ...]:
    """The names of the tests that failed, as pytest stores them."""
    try:
        stored = ((check.cache or ROOT) / "v" / "cache" / "lastfailed").read_text()
    except OSError:
        return ()
    return tuple(json.loads(stored))


async def run_check(
    check: Check, env: Mapping[str, str], processes: set[Process], output: list[str]
) -> int:
    """Run one check, add what it printed to `output`, and return its exit code."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *check.argv, env=dict(env), cwd=ROOT, stdout=PIPE, stderr=STDOUT
    )
    processes.add(process)
    printed, _ = await process.communicate()
    processes.discard(process)
    code = process.returncode or 0
    if code in (-signal.SIGINT, CODE_STOPPED):
        raise KeyboardInterrupt
    result = "failed" if code else "passed"
    output.append(f"== {check.name}: {result} after {time.monotonic() - began:.1f} s")
    output.append(printed.decode("utf-8", "replace").rstrip())
    return code


@contextmanager
def forward_signals(run: CheckRun) -> Iterator[None]:
    """Leave Ctrl-C to the checks, which the terminal sends it to, and forward SIGTERM to them."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, run.terminate)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


async def link_static(env: Mapping[str, str]) -> None:
    """Use the static files of the run before while they are current: preparing them takes
    seconds."""
    prepared = ROOT / ".venv" / "tests"
    (prepared / "stamps").mkdir(parents=True, exist_ok=True)
    (prepared / "logs").mkdir(exist_ok=True)
    await collect_static(prepared, {**env, "OPENCODE_WEB_HOME": str(prepared)}, report)
    (Path(env["OPENCODE_WEB_HOME"]) / "static").symlink_to(prepared / "static")


def report(text: str) -> None:
    print(text, flush=True)
