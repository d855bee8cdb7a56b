"""Tests that passed only on their second run: list them, and fail those that did so before.

The last ten runs are remembered in a file of the checkout, which CI carries from run to run.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from opencode_web.launcher.supervisor import Report

REMEMBERED_RUNS = 10


def report_flaky(
    tests: Sequence[str], log: Path, report: Report, given: Mapping[str, str]
) -> list[str]:
    """List the tests, also in the summary of a GitHub workflow, and return those that were flaky
    in one of the last ten runs as well: they have failed."""
    runs: list[list[str]] = json.loads(log.read_text()) if log.exists() else []
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(json.dumps([*runs, list(tests)][-REMEMBERED_RUNS:]))
    earlier_tests = {test for run in runs for test in run}
    lines = [f"{test}{_REPEATED if test in earlier_tests else ''}" for test in tests]
    if lines:
        report("\nPassed only on their second run:")
        report("\n".join(f"  {line}" for line in lines))
        if summary := given.get("GITHUB_STEP_SUMMARY"):
            _append_summary(Path(summary), lines)
    return [test for test in tests if test in earlier_tests]


_REPEATED = " (and in one of the ten runs before)"


def _append_summary(summary: Path, lines: list[str]) -> None:
    with summary.open("a") as file:
        file.write("### Passed only on their second run\n\n")
        file.writelines(f"- `{line}`\n" for line in lines)
