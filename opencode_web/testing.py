"""`./dev test`: every check of the project, on databases of its own."""

import os
import sys
from pathlib import Path

from opencode_web.databases import foreground, throw_away

ROOT = Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    print(text, flush=True)


async def test(arguments: list[str]) -> int:
    async with throw_away(os.environ, say) as env:
        return await foreground([sys.executable, "-m", "pytest", *arguments], env, ROOT)
