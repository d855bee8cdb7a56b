"""The benchmarks run: with next to nothing to do, and no look at their figures."""

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


@pytest.mark.parametrize("name", sorted(LITTLE))
@pytest.mark.usefixtures("transactional_db")
def test_it_prints_a_row_for_each_and_its_goals(name: str) -> None:
    """A benchmark that nobody starts for a while would rot."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *LITTLE[name].split()],
        env={**os.environ, "DATABASE_URL": database_url()},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for row in ROWS[name]:
        assert re.search(rf"^{row} +[0-9.]+", done.stdout, re.MULTILINE), row
    assert re.search(r"^(reached|MISSED )  .*goal: ", done.stdout, re.MULTILINE)
