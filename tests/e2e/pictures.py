"""`python -m tests.e2e.pictures`: take all the pictures that README and docs show.

They are those of the tests that look at every page, so they show what the program shows.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "docs" / "images"
STYLE = "light-1280"


def shown() -> set[str]:
    """The pictures that pages refer to, by their file's name."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    return {
        name for page in pages for name in re.findall(r"images/([\w-]+\.png)", page.read_text())
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / "dev"), "test", "tests/e2e/test_look.py", "-q", "-k", STYLE]
        done = subprocess.run(command, env={**os.environ, "SCREENSHOTS": folder}, check=False)
        if done.returncode:
            return done.returncode
        for old in IMAGES.glob("*.png"):
            old.unlink()
        for name in sorted(shown()):
            shutil.copyfile(Path(folder) / name.replace(".png", f"-{STYLE}.png"), IMAGES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
