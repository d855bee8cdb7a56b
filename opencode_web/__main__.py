"""`python -m opencode_web VERB`: what `./dev` runs once Python and its packages are there."""

import asyncio
import os
import sys
from pathlib import Path

from opencode_web import databases, testing

ROOT = Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(argv: list[str]) -> int:
    async with databases.throw_away(os.environ, say) as env:
        return await databases.foreground(argv, env, ROOT)


def main() -> int:
    verb, *rest = sys.argv[1:]
    if verb == "run":
        return asyncio.run(run(rest))
    if verb == "test":
        return asyncio.run(testing.test(rest))
    return 2


if __name__ == "__main__":
    sys.exit(main())
