"""`./dev test` runs what failed once more, alone."""

import os
import sys
from pathlib import Path

import pytest

from opencode_web.launcher.checks import Check, Lane
from opencode_web.launcher.test_runner import CheckRun, FailedCheck, failed_tests

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
    run = CheckRun(given=os.environ, processes=set(), max_lanes=2)
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
