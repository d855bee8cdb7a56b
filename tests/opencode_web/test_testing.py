"""What `./dev test` runs, and the browser it gives to the tests."""

import os
import sys
from pathlib import Path

import pytest

from opencode_web.home import CannotStart
from opencode_web.testing import ROOT, Check, Failed, alone, checks, find_browser, lanes, run


def test_every_check_is_named_once() -> None:
    """The list of what failed is read by a person."""
    names = [check.name for check in checks()]
    assert len(names) == len(set(names))
    assert {"lint", "format", "types", "templates", "import contracts", "migrations"} == {*names}


def test_no_test_is_in_two_lanes_or_in_none() -> None:
    """What two lanes run, the third leaves out."""
    *apart, others = lanes()
    words = [word for lane in apart for check in lane.checks for word in check.argv]
    folders = [word for word in words if (ROOT / word).is_dir() and word.startswith("tests/")]
    given = [word.partition("--ignore=") for word in others.checks[0].argv]
    ignored = {folder for _, option, folder in given if option}
    assert len(folders) == len(set(folders)) > 2
    assert set(folders) == ignored


async def test_what_fails_beside_others_runs_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A test that passes then has passed; one that does not has failed; no lint is tried twice."""
    (tmp_path / "test_it.py").write_text(
        "import os\n"
        "def test_slow_beside_others():\n    assert 'SIDE_BY_SIDE' not in os.environ\n"
        "def test_broken():\n    assert os.environ.get('MENDED')\n"
        "def test_fine():\n    pass\n"
    )
    pytest_here = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path))
    assert not Failed(check=Check(name="t", argv=pytest_here), code=2).may_pass
    argv = (*pytest_here[:4], "-c", os.devnull, "-o", f"cache_dir={tmp_path / 'c'}", str(tmp_path))
    tests, lint = Check(name="tests", argv=argv), Check(name="lint", argv=("false",))
    given = dict(os.environ)
    for mended, left in (("", ["lint", "tests"]), ("1", ["lint"])):
        given["MENDED"] = mended
        told: list[str] = []
        code = await run(tests, given | {"SIDE_BY_SIDE": "1"}, set(), told)
        failed = [Failed(check=lint, code=1), Failed(check=tests, code=code)]
        found = await alone(failed, given | {"SIDE_BY_SIDE": "1"}, set())
        assert [each.check.name for each in found] == left
    shown = capfd.readouterr().out
    assert shown.count("Once more, alone: what failed of the tests.") == 2
    assert "1 failed, 1 passed" in shown
    assert "1 passed in" in shown


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
