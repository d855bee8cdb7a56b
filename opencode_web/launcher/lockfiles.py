"""`./dev lock`: compiles the requirements into locks with a hash for every file they allow.

Nothing of the machine that compiles gets into them: no index address, no path, no file of its own.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from opencode_web.launcher.home import CannotStart

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {
    "requirements.in": "requirements.txt",
    "requirements-dev.in": "requirements-dev.txt",
    "requirements-boot.in": "requirements-boot.txt",
}
FLAGS = (
    "--universal",
    "--python-version=3.12",  # the oldest that is supported
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--custom-compile-command=./dev lock",
    "--quiet",
)


def compile_locks() -> int:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix) / "uv" / "bin"))
    if uv is None:
        raise CannotStart("./dev lock needs uv: pip install uv")
    for source, lock in LOCKS.items():
        print(f"{source} -> {lock}", flush=True)
        command = [uv, "pip", "compile", *FLAGS, source, "-o", lock]
        if code := subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603
            return code
    return 0
