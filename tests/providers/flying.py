"""A process that joins a flight and tells on its standard output what happens to it.

    python -m tests.providers.flying NAME [PIECE ...]

Its run says the pieces, one every 50 ms, and ends. `~` is half a second of silence, `...` no end.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator

from providers import flights
from providers.errors import CallError


def tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def say(pieces: list[str]) -> AsyncGenerator[bytes]:
    tell("leads")
    for piece in pieces:
        if piece == "...":
            await asyncio.Event().wait()
        elif piece == "~":
            await asyncio.sleep(0.5)
        else:
            yield piece.encode()
            await asyncio.sleep(0.05)


async def fly(name: str, pieces: list[str]) -> None:
    try:
        async for piece in flights.join(name, lambda: say(pieces)):
            tell(f"hears {piece.decode()}")
    except CallError as error:
        tell(f"fails {error.code}")
    else:
        tell("ends")


if __name__ == "__main__":
    asyncio.run(fly(sys.argv[1], sys.argv[2:]))
