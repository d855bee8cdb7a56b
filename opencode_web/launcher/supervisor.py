"""Start the parts of a program, watch them, restart those that end, and stop them all.

A Part describes what to run, how to check that it is ready and how to stop it. A part that ends by
itself is restarted: at once the first time, and later each time it ends again. No process outlives
`stop`, nor - on Linux - a killed supervisor.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from opencode_web.launcher.logs import last_lines, log_path
from opencode_web.launcher.orphans import forget, remember

Report = Callable[[str], None]
Ready = Callable[[], Awaitable[bool]]

RESTART_PAUSES = (0.1, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before the first, second, ... start of a part that keeps ending."""
CALM_SECONDS = 10.0
"""Seconds a part must have run for its earlier ends to be forgotten."""
READY_SECONDS = 60.0
"""Seconds a part that was started again has to become ready."""
READY_CHECK_SECONDS = 0.02
"""Seconds between two looks whether a part is ready; they add up on the way to a page."""
TETHER = Path(__file__).with_name("parent_death.py")


class StartFailed(Exception):
    """A part ended, or stayed silent, before it was ready for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The user a part runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program to keep running."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path = Path("/")
    owner: Owner | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 5.0
    ready: Ready | None = None
    stops_last: bool = False
    """Whether others use it until they have ended."""


def pause_before_start(ends: Sequence[float], now: float) -> float:
    """Seconds to wait before starting a part that ended at these times, the last one just now."""
    recent = 0
    for end in reversed(ends):
        if now - end > CALM_SECONDS:
            break
        recent, now = recent + 1, end
    return RESTART_PAUSES[min(max(recent, 1), len(RESTART_PAUSES)) - 1]


def describe_end(code: int) -> str:
    """A process's exit code in words: 'was killed (SIGKILL)', 'ended with code 1'."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"


async def spawn(part: Part, output: int) -> asyncio.subprocess.Process:
    """Starts `part` in a session of its own, tied to this process; both outputs go to `output`."""
    owner = part.owner or Owner(uid=-1, gid=-1)
    tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
    tether += [str(int(part.stop_signal)), str(owner.uid), str(owner.gid)]
    return await asyncio.create_subprocess_exec(
        *tether,
        *part.argv,
        env=dict(part.env),
        cwd=part.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signals every process of the session that `pid` leads or led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Supervisor:
    """Keep parts running: one supervisor for the databases, one for the programs."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self._report = report
        self._stopping = asyncio.Event()
        self._processes: dict[str, tuple[Part, asyncio.subprocess.Process]] = {}
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, (_, process) in self._processes.items()}

    async def start(self, part: Part, *, patience: float = 60.0) -> None:
        """Returns when `part` is ready; from then on it is started again whenever it ends."""
        process = await self._spawn(part)
        if not await self._becomes_ready(part, process, patience) and not self._stopping.is_set():
            await self._end(part, process)
            raise StartFailed(self._describe_failure(part, process, patience))
        self._keepers.append(asyncio.create_task(self._keep_running(part, process), name=part.name))

    async def stop(self) -> None:
        """Stop the parts, those that others use last; kill what does not end within its grace."""
        self._stopping.set()
        items = list(self._processes.values())
        for last in (False, True):
            await asyncio.gather(
                *(self._end(*item) for item in items if item[0].stops_last == last)
            )
        await asyncio.gather(*self._keepers)

    def kill(self) -> None:
        """Kill what a `stop` under way still waits for."""
        for _, process in self._processes.values():
            signal_group(process.pid, signal.SIGKILL)

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        path = log_path(self._folder, part.name)
        with path.open("ab") as output:
            process = await spawn(part, output.fileno())
        self._processes[part.name] = (part, process)
        remember(self._folder, part.name, process.pid)
        if self._stopping.is_set():  # stop() came while this part was being started
            await self._end(part, process)
        return process

    async def _becomes_ready(
        self, part: Part, process: asyncio.subprocess.Process, patience: float
    ) -> bool:
        deadline = time.monotonic() + patience
        while part.ready and process.returncode is None and not await part.ready():
            if self._stopping.is_set() or time.monotonic() > deadline:
                return False
            await asyncio.sleep(READY_CHECK_SECONDS)
        return process.returncode is None

    def _describe_failure(
        self, part: Part, process: asyncio.subprocess.Process, patience: float
    ) -> str:
        late = process.returncode in (None, -part.stop_signal, -signal.SIGKILL)
        what = (
            f"was not ready after {patience:.0f} s"
            if late
            else describe_end(process.returncode or 0)
        )
        log = log_path(self._folder, part.name)
        return "\n".join([f"{part.name} {what}. Its last words ({log}):", *last_lines(log, 5)])

    async def _keep_running(self, part: Part, process: asyncio.subprocess.Process) -> None:
        ends: list[float] = []
        while True:
            code = await process.wait()
            signal_group(process.pid, signal.SIGKILL)  # workers must not outlive their master
            if self._stopping.is_set():
                return
            ends.append(time.monotonic())
            pause = pause_before_start(ends, ends[-1])
            when = f"in {pause:.0f} s" if pause >= 1 else "now"
            words = "".join(last_lines(log_path(self._folder, part.name), 1)) if code > 0 else ""
            detail = f" ({words.strip()})" if words.strip() else ""
            self._report(f"{part.name} {describe_end(code)}{detail}; it is started again {when}.")
            if await self._stopped_within(pause):
                return
            process = await self._spawn(part)
            if part.ready and await self._becomes_ready(part, process, READY_SECONDS):
                self._report(f"{part.name} is back after {time.monotonic() - ends[-1]:.1f} s.")

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _end(self, part: Part, process: asyncio.subprocess.Process) -> None:
        """Signal, wait for the grace, kill. Nothing of the part's session is left."""
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(part.stop_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), part.grace)
        signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        self._processes.pop(part.name, None)
        forget(self._folder, part.name)
