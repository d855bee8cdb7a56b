"""What `./dev test` runs: every check once, every test in one lane."""

from opencode_web.launcher.checks import ROOT, pytest_lanes, static_checks, static_lanes


def test_every_check_is_named_once() -> None:
    """A person reads the list of what failed."""
    names = [check.name for check in static_checks()]
    assert len(names) == len(set(names))
    assert {"lint", "format", "types", "templates", "import contracts", "migrations"} == {*names}
    assert sorted(names) == sorted(each.name for lane in static_lanes() for each in lane.checks)


def test_no_test_is_in_two_lanes_or_in_none() -> None:
    """The third lane leaves out what the first two run."""
    *apart, others = pytest_lanes()
    words = [word for lane in apart for check in lane.checks for word in check.argv]
    folders = [word for word in words if (ROOT / word).is_dir() and word.startswith("tests/")]
    given = [word.partition("--ignore=") for word in others.checks[0].argv]
    ignored = {folder for _, option, folder in given if option}
    assert len(folders) == len(set(folders)) > 2
    assert set(folders) == ignored
