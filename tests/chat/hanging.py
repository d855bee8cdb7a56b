"""A runner in a process of its own, whose model says a few words and then nothing for ever.

python -m tests.chat.hanging TEXT
"""

import asyncio
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
django.setup()

from chat.runner import Runner  # noqa: E402
from tests.chat.conftest import ROUTE, Script  # noqa: E402


async def main() -> None:
    forever = asyncio.Event()
    said = [ROUTE, sys.argv[1]] if sys.argv[1:] else []
    await Runner(Script([*said, forever.wait])).run()


asyncio.run(main())
