"""What `./dev test` runs, and the browser it gives to the tests."""

from pathlib import Path

import pytest

from opencode_web.home import CannotStart
from opencode_web.testing import ROOT, checks, find_browser, lanes


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
    ignored = {word.removeprefix("--ignore=") for word in others.checks[0].argv if "=" in word}
    assert len(folders) == len(set(folders)) > 2
    assert set(folders) == ignored


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
