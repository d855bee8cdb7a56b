"""Become another program that ends when its parent does, as another user if one is given.

Run as a script on a bare Python, never imported: the few lines between fork and exec run here, in a
process of their own, because Python code in a forked child of a program with threads can hang. Only
Linux can tie a process to its parent; elsewhere the next start stops what is left over.

    python -I parent_death.py PARENT_PID SIGNAL UID GID PROGRAM [ARGUMENT...]

UID -1 keeps the user.
"""

import os
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def kernel_call() -> Callable[..., int] | None:
    """prctl(2), loaded while the user we are may still read Python's own folder."""
    try:
        import ctypes
    except ImportError:  # a Python built without libffi
        return None
    return ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def main(arguments: list[str]) -> None:
    parent, number, uid, gid = map(int, arguments[:4])
    program = arguments[4:]
    prctl = kernel_call()
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if prctl:
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)  # a change of user would undo it
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
