"""A trace of faults, replayed against the router and against LiteLLM's Router at the same time.

    ./dev run .venv/bin/python -m benchmarks.failover

Either side has two upstreams of its own with the same faults, and prefers the same one of them.
Each is a process that sends the same requests at the same times. `--scale 4` runs all of it four
times faster: faults, answers, time-outs, cooldowns and hold-downs alike.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import trace
from benchmarks.processes import ROOT, free_port, goal, table
from benchmarks.trace import LENGTH, Replay
from tests.upstreams.tethered import tethered

SIDES = {"router": "benchmarks.failover_router", "LiteLLM": "benchmarks.failover_litellm"}
BACK_SECONDS = 30.0  # after healing, the first time


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    began = time.time() + options.start
    with ExitStack() as running:
        sides = [running.enter_context(_side(name, began, options)) for name in SIDES]
        replays = [_read_replay(*side) for side in sides]
    report(replays)


@contextmanager
def _side(
    name: str, began: float, options: argparse.Namespace
) -> Iterator[tuple[str, subprocess.Popen[str], list[int]]]:
    """One side under way: its process, and the ports of its two upstreams."""
    clock = [str(began), str(options.scale)]
    ports = [free_port(), free_port()]
    with ExitStack() as running:
        for port, upstream in zip(ports, ("preferred", "other"), strict=True):
            command = [sys.executable, "-m", "benchmarks.flaky", str(port), upstream, *clock]
            running.enter_context(_process(command))
        command = [sys.executable, "-m", SIDES[name], *map(str, ports), *clock]
        yield name, running.enter_context(_process([*command, str(options.requests)])), ports


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603
        tethered(command), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _read_replay(name: str, process: subprocess.Popen[str], ports: list[int]) -> Replay:
    """What the side did, once it has ended, and how many calls its upstreams have counted."""
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    outcomes = [trace.Outcome(**each) for each in json.loads(out.splitlines()[-1])]
    return Replay(name=name, outcomes=outcomes, calls=sum(_calls(port) for port in ports))


def _calls(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/calls", timeout=5) as answer:
        return int(json.load(answer))


def report(replays: list[Replay]) -> None:
    names = [replay.name for replay in replays]
    total = len(replays[0].outcomes)
    table((f"{total} requests in {LENGTH:.0f} s", *names), *_totals(replays))
    print()
    table(("failed, p95 s, back after s", *names), *_phases(replays))
    print()
    for replay in replays:
        for problem, count in Counter(o.problem[:60] for o in replay.outcomes if o.problem).items():
            print(f"{replay.name}: {count} x {problem}")
    first = replays[0].back_after(*_healing_span("outage"))
    goal(
        f"back on the preferred route {_seconds(first)} s after the first outage"
        f" (goal: {BACK_SECONDS:g})",
        first is not None and first < BACK_SECONDS,
    )
    down = _span("both down")
    ours, theirs = (each.count_failed() - each.count_failed(*down) for each in replays)
    goal(
        f"{ours} failed while an upstream was up (goal: no more than LiteLLM's {theirs})",
        ours <= theirs,
    )


def _totals(replays: list[Replay]) -> Iterator[tuple[str, ...]]:
    down = _span("both down")
    failed = (each.count_failed() - each.count_failed(*down) for each in replays)
    yield "failed requests", *map(str, failed)
    yield "failed while both were down", *(str(each.count_failed(*down)) for each in replays)
    yield (
        "upstream calls a request",
        *(f"{each.calls / len(each.outcomes):.3f}" for each in replays),
    )
    for share in (0.5, 0.95, 0.99):
        yield f"p{share * 100:.0f}, s", *(f"{each.percentile(share):.2f}" for each in replays)


def _phases(replays: list[Replay]) -> Iterator[tuple[str, ...]]:
    for began, ended, phase in trace.spans():
        if phase.name:
            healed, next_fault = _healing_span(phase.name)
            yield (
                phase.name,
                *(
                    f"{each.count_failed(began, ended)}, {each.percentile(0.95, began, ended):.2f},"
                    f" {_seconds(each.back_after(healed, next_fault))}"
                    for each in replays
                ),
            )


def _healing_span(name: str) -> tuple[float, float]:
    """When the fault of that phase was over, and when the next one came."""
    spans = list(trace.spans())
    for place, (began, ended, phase) in enumerate(spans):
        if phase.name == name:
            following = spans[place + 1 : place + 2]
            return (began, ended) if phase.preferred == "good" else following[0][:2]
    raise KeyError(name)


def _span(name: str) -> tuple[float, float]:
    return next((began, ended) for began, ended, phase in trace.spans() if phase.name == name)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--scale", type=float, default=1.0, help="times faster than the trace")
    parser.add_argument("--start", type=float, default=25.0, help="seconds to get ready in")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
