"""A process that joins a shared run and prints what happens to it.

    python -m tests.providers.flying NAME [PIECE ...]

Its run says the pieces and ends. `~` is a silence until a line comes on its input, `...` no end.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from providers.domain.errors import CallError
from providers.infra import single_flight
from tests.upstreams.tethered import tethered


@contextmanager
def other(shared_run: str, *pieces: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that joins the shared_run."""
    command = tethered([sys.executable, "-m", "tests.providers.flying", shared_run, *pieces])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def next_line(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_silence(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def print_line(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def say(pieces: list[str]) -> AsyncGenerator[bytes]:
    print_line("leads")
    for piece in pieces:
        if piece == "...":
            await asyncio.Event().wait()
        elif piece == "~":
            await asyncio.to_thread(sys.stdin.readline)
        else:
            yield piece.encode()
            await asyncio.sleep(0)


async def fly(name: str, pieces: list[str]) -> None:
    try:
        async for piece in single_flight.join(name, lambda: say(pieces)):
            print_line(f"hears {piece.decode()}")
    except CallError as error:
        print_line(f"fails {error.code}")
    else:
        print_line("ends")


if __name__ == "__main__":
    asyncio.run(fly(sys.argv[1], sys.argv[2:]))
