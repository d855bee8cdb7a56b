"""How many health checks one worker makes: `./dev run python -m benchmarks.probes`.

A real worker and beat on throw-away databases, and an upstream in a process of its own that answers
after 100 ms and notes when it was asked by whom. All providers are due at once at the start, which
shows what a worker can do; then they are spread over their interval, and each is due every 30 s,
give or take a tenth.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

from aiohttp import web

from benchmarks import processes
from tests.upstreams.tethered import tethered

LATENCY = 0.1  # seconds until the upstream answers
LATE = 1.0  # seconds beyond the longest interval from which on a check is not on time
type Arrivals = dict[str, list[float]]  # by provider, monotonic seconds
CATALOGUE = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]})


async def serve(port: int) -> None:
    """The upstream. `GET /asked` gives the times of each provider's requests."""
    arrivals: defaultdict[str, list[float]] = defaultdict(list)

    async def models(request: web.Request) -> web.Response:
        arrivals[request.match_info["name"]].append(time.monotonic())
        await asyncio.sleep(LATENCY)
        return web.Response(text=CATALOGUE, content_type="application/json")

    async def report(request: web.Request) -> web.Response:
        return web.json_response(arrivals)

    app = web.Application()
    app.router.add_get("/asked", report)
    app.router.add_get("/{name}/v1/models", models)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


def make_providers(count: int, interval: int, port: int) -> None:
    """Rows as the form makes them, reached directly alone."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from providers.models import Provider, Route

    call_command("migrate", verbosity=0)
    now = timezone.now()
    providers = [
        Provider(
            name=f"P{number}",
            slug=f"p{number}",
            base_url=f"http://127.0.0.1:{port}/p{number}/v1",
            api_key=f"sk-{number:040}",
            provider_type="direct-api",
            routing_method="direct",
            fallback_enabled=False,
            health_check_interval=interval,
            models_refreshed_at=now,  # discovery is not what is measured
        )
        for number in range(count)
    ]
    Provider.objects.bulk_create(providers, batch_size=1000)
    routes = [Route(provider=p, method=m) for p in providers for m in ("direct", "gateway")]
    Route.objects.bulk_create(routes, batch_size=1000)


@contextmanager
def running(*argv: str) -> Iterator[int]:
    """A process, for as long as it is needed; gives its pid. What it does is lost at its end."""
    process = subprocess.Popen(tethered([sys.executable, "-m", *argv]))  # noqa: S603
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait(10)


def fetch(port: int) -> Arrivals:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/asked", timeout=30) as answer:
        arrivals: Arrivals = json.load(answer)
    return arrivals


def until(port: int, holds: Callable[[Arrivals], bool], seconds: float) -> None:
    """Waits for what the upstream was asked, or until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            if holds(fetch(port)):
                return
        except OSError:
            continue


def spread(interval: int) -> float:
    """Makes the checks due evenly from now on; when that was."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH locked AS (SELECT id FROM providers_provider ORDER BY id FOR UPDATE)
            UPDATE providers_provider AS p SET next_check_at = now() + random() * %s::interval
            FROM locked WHERE p.id = locked.id
            """,
            [f"{interval} seconds"],
        )
    return time.monotonic()


def report_most(arrivals: Arrivals, count: int) -> None:
    first = sorted(times[0] for times in arrivals.values())
    once = first[-1] - first[0]
    rate = len(first) / once
    print(f"all due at once: {len(first)} of {count} in {once:.1f} s, {rate:.0f} a second")


def report_steady(arrivals: Arrivals, since: float, interval: int, seconds: float) -> None:
    """Whether what was due came in time."""
    steady = [[moment for moment in times if moment >= since] for times in arrivals.values()]
    rate = sum(map(len, steady)) / seconds
    print(f"spread over {interval} s: {rate:.0f} a second; due were {len(arrivals) / interval:.0f}")
    gaps = [later - sooner for times in steady for sooner, later in pairwise(times)]
    most = interval * 1.1 + LATE
    on_time = sum(gap <= most for gap in gaps) / len(gaps)
    print(f"within {most:.0f} s of the one before: {on_time:.2%} of {len(gaps)}")
    print(f"between two: {min(gaps):.1f} s at least, {max(gaps):.1f} s at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", type=int, default=10_000)
    parser.add_argument("--interval", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=75, help="that are watched")
    parser.add_argument("--port", type=int, default=18_317)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.port))
    make_providers(options.providers, options.interval, options.port)
    celery = ("celery", "-A", "opencode_web.celery")
    with ExitStack() as stack:
        start = stack.enter_context
        start(running("benchmarks.probes", "--serve", "--port", str(options.port)))
        until(options.port, lambda arrivals: True, 10)
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
        worker = start(running(*celery, "worker", *quiet))
        schedule = Path(start(tempfile.TemporaryDirectory())) / "beat"
        start(running(*celery, "beat", "--pidfile=", "-s", str(schedule), "-l", "WARNING"))
        until(options.port, lambda arrivals: len(arrivals) == options.providers, 120)
        report_most(fetch(options.port), options.providers)
        time.sleep(options.interval / 2)  # until then a check would be skipped: its result is fresh
        used, began = processes.cpu(worker), spread(options.interval)
        time.sleep(options.seconds)
        passed = time.monotonic() - began
        cpu = (processes.cpu(worker) - used) / passed
        report_steady(fetch(options.port), began, options.interval, passed)
        load = os.getloadavg()[0]
        print(f"worker: {cpu:.0%} of a CPU, {processes.memory(worker):.0f} MB; load {load:.1f}")


if __name__ == "__main__":
    main()
