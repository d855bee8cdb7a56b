"""The benchmarks run: with next to nothing to do, and no look at their times.

What they count, unlike times, is the same on every machine, so a test holds it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.site import database_url

ROOT = Path(__file__).resolve().parent.parent
LITTLE = {
    "completions": "--requests 32 --alone 5 --rounds 1 --no-litellm",
    "streams": "--requests 32 --rounds 1 --streams 5 --chunks 5 --apart 5",
    "plan": "--providers 20 --calls 10 --rounds 1",
    "models": "--models 200 --providers 3 --rounds 1",
    "failover": "--requests 40 --scale 80 --start 1",
}
ROWS = {
    "completions": ("upstream", "bare proxy", "/v1"),
    "streams": ("upstream", "bare proxy", "/v1"),
    "plan": ("routing.plan", "route_table.candidate"),
    "models": ("everything", "one word", "no match"),
    "failover": ("failed requests", "upstream calls a request", "p99, s", "outage", "4 s flaps"),
}


# Of one request: the most modules and calls of ours. A request enters some more where another task
# happens to run amid each of those that were counted.
MOST_ENTERED = {
    "non-streaming, upstream streams": (61, 409),
    "non-streaming, upstream sends one JSON": (61, 337),
    "streaming": (60, 397),
}


def run(name: str, *arguments: str) -> str:
    """What a benchmark prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        env={**os.environ, "DATABASE_URL": database_url()},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(LITTLE))
@pytest.mark.usefixtures("transactional_db")
def test_it_prints_a_row_for_each_and_its_goals(name: str) -> None:
    """A benchmark that nobody starts for a while would rot."""
    printed = run(name, *LITTLE[name].split())
    for row in ROWS[name]:
        assert re.search(rf"^{row} +[0-9.]+", printed, re.MULTILINE), row
    assert re.search(r"^(reached|MISSED )  .*goal: ", printed, re.MULTILINE)


@pytest.mark.usefixtures("transactional_db")
def test_a_request_enters_no_more_modules_and_calls_than_it_did() -> None:
    """Each call is small, and they add up to most of what a request costs."""
    printed = run("calls")
    for row, most in MOST_ENTERED.items():
        counted = re.search(rf"^{row} +(\d+) +\d+ +(\d+)$", printed, re.MULTILINE)
        assert counted, printed
        assert int(counted[1]) <= most[0], row
        assert int(counted[2]) <= most[1], row
