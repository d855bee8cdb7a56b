"""The Python that programs under test run with: an environment made of requirements.txt alone.

The tests themselves have more packages. A program started with theirs would not miss one that an
installation lacks; so whatever a user starts, tests start with this one.
"""

import sys
from pathlib import Path

from opencode_web.launcher.install import PROGRAMS

PYTHON = str(Path(sys.prefix) / PROGRAMS / "bin" / "python")
