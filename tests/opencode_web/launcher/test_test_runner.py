"""`./dev test` runs what failed once more, alone, and ends with all that its tests started."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from opencode_web.launcher.checks import Check, Lane
from opencode_web.launcher.test_runner import CheckRun, FailedCheck, failed_tests, forward_signals
from tests.polling import until

FAILS_ONCE = """
from pathlib import Path
def test_fails_once():
    run = Path({runs!r}) / "1"
    first = not run.exists()
    run.touch()
    assert not first
def test_broken():
    assert False
def test_fine():
    pass
"""

STARTS_A_PROGRAM = """
import subprocess, threading
from pathlib import Path
import pytest
@pytest.fixture
def program():
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()
def test_waits(program):
    Path({note!r}).write_text(f"{{program.pid}}.")
    threading.Event().wait()
"""


def test_sigterm_ends_the_programs_of_the_tests_and_begins_nothing_more(tmp_path: Path) -> None:
    """The test is interrupted, its fixtures stop what they started, the next check does not run."""
    note, later = tmp_path / "pid", tmp_path / "later"
    (tmp_path / "test_it.py").write_text(STARTS_A_PROGRAM.format(note=str(note)))
    pytest_here = (sys.executable, "-m", "pytest", "-p", "tests.termination", "-c", os.devnull)
    argv = (*pytest_here, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path))
    tests = Check(name="tests", argv=argv)
    after = Check(name="after", argv=("touch", str(later)))

    async def terminate() -> CheckRun:
        run = CheckRun(given=os.environ, max_lanes=1)
        with forward_signals(run):
            lanes = [Lane(name=each.name, checks=(each, after)) for each in (tests, after)]
            running = asyncio.create_task(run.run_lanes(lanes))
            await until(lambda: note.exists() and note.read_text().endswith("."))
            os.kill(os.getpid(), signal.SIGTERM)
            assert [each.check.name for each in await running] == ["tests"]
        return run

    assert asyncio.run(terminate()).is_terminated
    assert not Path(f"/proc/{note.read_text().rstrip('.')}").exists()
    assert not later.exists()


async def test_what_failed_runs_once_more_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A test that passes then is flaky, one that does not has failed; no check is tried twice."""
    (tmp_path / "test_it.py").write_text(FAILS_ONCE.format(runs=str(tmp_path)))
    pytest_here = (sys.executable, "-m", "pytest", "-q", "-c", os.devnull)
    cache = tmp_path / "cache"
    argv = (*pytest_here, "-o", f"cache_dir={cache}", f"--rootdir={tmp_path}", str(tmp_path))
    tests, lint = Check(name="tests", argv=argv, cache=cache), Check(name="lint", argv=("false",))
    assert not FailedCheck(check=tests, code=2).may_be_flaky
    run = CheckRun(given=os.environ, max_lanes=2)
    failed = await run.run_lanes(
        [Lane(name="lint", checks=(lint,)), Lane(name="tests", checks=(tests,))]
    )
    assert [each.check.name for each in failed] == ["lint", "tests"]
    assert set(failed[1].tests) == {"test_it.py::test_fails_once", "test_it.py::test_broken"}
    failed = await run.run_again(failed)
    assert [each.check.name for each in failed] == ["lint", "tests"]
    assert failed[1].tests == ("test_it.py::test_broken",)
    assert {"lint", "tests", "tests again"} == run.seconds.keys()
    shown = capfd.readouterr().out
    assert shown.count("Once more, alone: what failed of the tests.") == 1
    assert "2 failed, 1 passed" in shown
    assert failed_tests(lint) == ()
