"""The processes of a benchmark: started, asked what they used, ended with the run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.load import Load, Taken
from tests.upstreams.tethered import tethered

ROOT = Path(__file__).resolve().parent.parent
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """A server on a port of its own; `{port}` in the command stands for it."""

    def __init__(self, name: str, *command: str, **environment: str) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [part.format(port=self.port) for part in command]
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603
            tethered(self._command), env=self._environment, cwd=ROOT, start_new_session=True
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not answer")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory(self) -> float:
        """Megabytes of its largest process."""
        return memory(self._process.pid)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process and its living children have used."""
    return sum(_ticks(each) for each in _family(pid)) / _TICK


def memory(pid: int) -> float:
    """Resident megabytes of the largest among a process and its children."""
    pages = (int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in _family(pid))
    return max(pages) * _PAGE / 1e6


def _ticks(pid: int) -> int:
    # The name, in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a load took, and what the server spent on it."""

    taken: Taken
    cpu: float  # seconds

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.taken.answers / self.taken.seconds

    @property
    def rate_a_core(self) -> float:
        """Answers a second of CPU."""
        return self.taken.answers / max(self.cpu, 1 / _TICK)

    @property
    def milliseconds(self) -> float:
        """Of CPU, an answer."""
        return 1000 / self.rate_a_core


def put(load: Load, pid: int) -> Cost:
    """Puts a load, from a process of its own, on the server of that process id."""
    before = cpu(pid)
    argument = json.dumps(asdict(load))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.load", argument],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        timeout=load.at_most + 30,
    )
    taken = Taken(**json.loads(done.stdout))
    if taken.failed or not taken.answers:
        raise RuntimeError(f"{taken.failed} of {taken.answers} failed: {taken.sample}")
    return Cost(taken=taken, cpu=cpu(pid) - before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def upstream() -> Server:
    """Its address takes `/<milliseconds>/<chunks>/v1` behind it."""
    return Server("upstream", sys.executable, "-m", "benchmarks.upstream", "{port}")


def bare(upstream_url: str) -> Server:
    """The bare proxy, under the server and the flags that ours has."""
    return Server("bare proxy", *granian("benchmarks.bare:application"), BARE_UPSTREAM=upstream_url)


def granian(application: str) -> list[str]:
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--workers", "1", "--no-ws"]
    command += ["--backlog", "4096", "--backpressure", "4096", "--workers-kill-timeout", "2"]
    return [*command, "--log-level", "warning", application]


def table(*rows: tuple[str, ...]) -> None:
    """Prints rows in columns; the first is their head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("  ".join(cells), flush=True)


def goal(words: str, reached: bool) -> None:
    print(f"{'reached' if reached else 'MISSED '}  {words}", flush=True)
