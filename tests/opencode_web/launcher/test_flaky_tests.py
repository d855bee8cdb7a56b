"""Tests that passed only on their second run: listed, and failed when they repeat it."""

from pathlib import Path

from opencode_web.launcher.flaky_tests import report_flaky


def test_a_flaky_test_is_listed_and_fails_the_run_when_it_was_flaky_before(tmp_path: Path) -> None:
    """Within ten runs."""
    log, lines = tmp_path / "flaky_tests.json", list[str]()
    assert report_flaky(["a"], log, lines.append, {}) == []
    assert lines == ["\nPassed only on their second run:", "  a"]
    assert report_flaky(["a", "b"], log, lines.append, {}) == ["a"]
    assert lines[-1] == "  a (and in one of the ten runs before)\n  b"
    for _ in range(10):
        assert report_flaky([], log, lines.append, {}) == []
    assert report_flaky(["a"], log, lines.append, {}) == []


def test_the_list_is_in_the_summary_of_a_workflow(tmp_path: Path) -> None:
    """Nothing is written where no test was flaky."""
    summary = tmp_path / "summary.md"
    given = {"GITHUB_STEP_SUMMARY": str(summary)}
    report_flaky([], tmp_path / "log", print, given)
    assert not summary.exists()
    report_flaky(["tests/test_it.py::test_a"], tmp_path / "log", print, given)
    assert "- `tests/test_it.py::test_a`" in summary.read_text().splitlines()
