"""`python -m opencode_web VERB`: what `./dev` runs once Python and its packages are there.

Every failure that a person can do something about ends as a sentence and exit code 1.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from opencode_web.env import default_home
from opencode_web.launcher import commands, lockfiles, test_runner
from opencode_web.launcher.home import CannotStart, occupy, prepare
from opencode_web.launcher.services import Address
from opencode_web.launcher.supervisor import StartFailed
from opencode_web.launcher.up import up


def home() -> Path:
    named = os.environ.get("OPENCODE_WEB_HOME")
    return (Path(named) if named else default_home()).expanduser().absolute()


def run_up(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev up", description="Starts everything.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", default=8000, type=_port, help="port to listen on")
    parser.add_argument(
        "--accept-lost-keys",
        action="store_true",
        help="start although stored keys cannot be decrypted",
    )
    chosen = parser.parse_args(arguments)
    prepare(home())
    address = Address(host=chosen.host, port=chosen.port)
    with occupy(home(), "up"):
        return asyncio.run(up(home(), address, accept_lost_keys=chosen.accept_lost_keys))


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def main(verb: str, *arguments: str) -> int:
    match verb:
        case "up":
            return run_up(arguments)
        case "down":
            return commands.down(home())
        case "logs":
            return commands.logs(home(), arguments[0] if arguments else "*")
        case "manage":
            return commands.manage(home(), list(arguments))
        case "shell":
            return commands.manage(home(), ["shell", *arguments], verb="shell")
        case "run":
            return commands.run(list(arguments))
        case "test":
            return asyncio.run(test_runner.test(list(arguments)))
        case "lock":
            return lockfiles.compile_locks()
    print(f"There is no verb {verb}; ./dev lists them.", file=sys.stderr)
    return 2


def run_verb(*arguments: str) -> int:
    """Runs a verb; a failure that is a sentence is printed as one."""
    code = 1
    try:
        code = main(*arguments)
    except* (CannotStart, StartFailed) as group:
        for problem in _leaves(group):
            print(problem, file=sys.stderr)
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for exc in group.exceptions:
        leaves += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves


if __name__ == "__main__":
    try:
        sys.exit(run_verb(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
