"""Commands that end with the test run, however it ends: a killed pytest runs no teardown."""

import os
import signal
import sys
from pathlib import Path

from opencode_web import launcher

TETHER = Path(launcher.__file__).with_name("parent_death.py")


def tethered(command: list[str]) -> list[str]:
    """The command, killed by the kernel when this process dies (Linux)."""
    who = [str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1"]
    return [sys.executable, "-I", "-S", str(TETHER), *who, *command]
