"""What `./dev test` runs, and the browser it gives to the tests."""

import os
import sys
from pathlib import Path

import pytest

from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.test_runner import (
    ROOT,
    Check,
    Failed,
    Lane,
    Run,
    checks,
    find_browser,
    lanes,
    last_failed,
    report_flaky,
    static_lanes,
)


def test_every_check_is_named_once() -> None:
    """The list of what failed is read by a person."""
    names = [check.name for check in checks()]
    assert len(names) == len(set(names))
    assert {"lint", "format", "types", "templates", "import contracts", "migrations"} == {*names}
    assert sorted(names) == sorted(each.name for lane in static_lanes() for each in lane.checks)


def test_no_test_is_in_two_lanes_or_in_none() -> None:
    """What two lanes run, the third leaves out."""
    *apart, others = lanes()
    words = [word for lane in apart for check in lane.checks for word in check.argv]
    folders = [word for word in words if (ROOT / word).is_dir() and word.startswith("tests/")]
    given = [word.partition("--ignore=") for word in others.checks[0].argv]
    ignored = {folder for _, option, folder in given if option}
    assert len(folders) == len(set(folders)) > 2
    assert set(folders) == ignored


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
    assert not Failed(check=tests, code=2).may_pass
    whole = Run(given=os.environ, running=set(), at_once=2)
    failed = await whole.drive_all(
        [Lane(name="lint", checks=(lint,)), Lane(name="tests", checks=(tests,))]
    )
    assert [each.check.name for each in failed] == ["lint", "tests"]
    assert set(failed[1].tests) == {"test_it.py::test_fails_once", "test_it.py::test_broken"}
    failed = await whole.repeat(failed)
    assert [each.check.name for each in failed] == ["lint", "tests"]
    assert failed[1].tests == ("test_it.py::test_broken",)
    assert {"lint", "tests", "tests again"} == whole.seconds.keys()
    shown = capfd.readouterr().out
    assert shown.count("Once more, alone: what failed of the tests.") == 1
    assert "2 failed, 1 passed" in shown
    assert last_failed(lint) == ()


def test_a_flaky_test_is_listed_and_fails_the_run_when_it_was_flaky_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within ten runs."""
    log = tmp_path / "second_runs.json"
    assert report_flaky(["a"], log) == []
    assert "Passed only on their second run:\n  a\n" in capsys.readouterr().out
    assert report_flaky(["a", "b"], log) == ["a"]
    assert "  a (and in one of the ten runs before)\n  b\n" in capsys.readouterr().out
    for _ in range(10):
        assert report_flaky([], log) == []
    assert report_flaky(["a"], log) == []


def test_the_browser_is_the_named_one_or_the_first_on_the_path(tmp_path: Path) -> None:
    """Debian's chromium comes before a Chrome."""
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    named = str(tmp_path / "google-chrome")
    assert find_browser({"PATH": str(tmp_path)}) == str(tmp_path / "chromium")
    assert find_browser({"PATH": str(tmp_path), "CHROMIUM": named}) == named


def test_a_named_browser_that_is_not_there_is_a_sentence() -> None:
    """Another browser than the one asked for would be a surprise."""
    with pytest.raises(CannotStart, match=r"CHROMIUM names /nowhere/chromium"):
        find_browser({"PATH": "", "CHROMIUM": "/nowhere/chromium"})
