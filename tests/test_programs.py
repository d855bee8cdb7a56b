"""What programs under test run with is what an installation has."""

import json
import re
import subprocess
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from tests.programs import PYTHON

LOCK = Path(__file__).resolve().parent.parent / "requirements.txt"
LISTED = """
import json
from importlib.metadata import distributions
print(json.dumps([each.metadata["Name"] for each in distributions()]))
"""


def test_programs_run_with_the_packages_of_the_lock_and_no_other() -> None:
    """Those of the tests, as pytest, are not among them."""
    locked = re.findall(r"^([\w.-]+)==\S+(?: ; (.+?))? \\$", LOCK.read_text(), re.M)
    wanted = {name for name, marker in locked if not marker or Marker(marker).evaluate()}
    listed = json.loads(subprocess.check_output([PYTHON, "-I", "-c", LISTED]))
    assert {canonicalize_name(name) for name in listed} == wanted
    assert "pytest" not in wanted
