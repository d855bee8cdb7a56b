"""Count what one request to `/v1/chat/completions` enters: our modules, functions and calls.

Counts, unlike times, are the same on every machine. Only packages of this program count; a
coroutine or generator that is resumed counts as a call again. Each counted request follows another
one at once, as under load: the first one after results were written makes its plan again.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import site
from benchmarks.processes import table, upstream

STREAMS, SENDS_JSON = "0/8", "0/0"  # paces: of an upstream that streams, and of one that cannot
REQUESTS: Mapping[str, tuple[str, bool]] = {  # pace, and whether a stream is requested
    "non-streaming, upstream streams": (STREAMS, False),
    "non-streaming, upstream sends one JSON": (SENDS_JSON, False),
    "streaming": (STREAMS, True),
}
WARM_UP = 5
QUIET_SECONDS = 1.5  # after which the writers of earlier requests are done
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = tuple(f"{ROOT / name}{os.sep}" for name in ("api", "providers", "opencode_web"))

type Calls = Counter[tuple[str, str, int]]  # by module, function, and line


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with upstream() as source:
        headers = prepare(source.url)
        counted = asyncio.run(_count_requests(headers, options.requests))
    table(
        ("one request", "modules", "functions", "calls"),
        *((name, *_totals(calls)) for name, calls in counted.items()),
    )
    if options.list:
        for name, calls in counted.items():
            print(f"\n{name}")
            table(("module", "functions", "calls"), *_by_module(calls))
    if options.functions:
        for name, calls in counted.items():
            print(f"\n{name}")
            table(("function", "calls"), *_by_function(calls))


def prepare(upstream_url: str) -> dict[str, str]:
    """A provider of each pace, and the headers of a request."""
    headers = site.prepare(upstream_url, [STREAMS, SENDS_JSON])
    from providers.models import LanguageModel

    whole = LanguageModel.objects.filter(provider__slug=site.slug(SENDS_JSON))
    whole.update(streaming=False)
    return headers


async def _count_requests(headers: dict[str, str], requests: int) -> dict[str, Calls]:
    """The request with the fewest calls, so that work of other tasks does not count."""
    from api import app
    from providers.clients import http
    from providers.router import route_table

    await route_table.current().ready()
    counted: dict[str, Calls] = {}
    for name, (pace, stream) in REQUESTS.items():
        send = partial(_send, app.application, headers, site.body(pace, stream=stream))
        for _ in range(WARM_UP):
            await send()
        await asyncio.sleep(QUIET_SECONDS)
        counts = [await _count(send) for _ in range(requests)]
        counted[name] = min(counts, key=Counter.total)
    await route_table.close()
    await http.close()
    return counted


async def _count(send: Callable[[], Awaitable[None]]) -> Calls:
    calls: Calls = Counter()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGES):
            module = str(Path(code.co_filename).relative_to(ROOT))
            calls[module, code.co_qualname, code.co_firstlineno] += 1

    await send()
    sys.setprofile(profile)
    try:
        await send()
    finally:
        sys.setprofile(None)
    await asyncio.sleep(0.2)
    return calls


async def _send(
    application: Callable[..., Any], headers: dict[str, str], fields: dict[str, object]
) -> None:
    """One request in this process, as a server would hand it over."""
    body = json.dumps(fields).encode()
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        return await asyncio.get_running_loop().create_future()  # the reader stays

    async def send(message: Any) -> None:
        sent.append(message)

    sent_headers = {**headers, "content-type": "application/json", "content-length": str(len(body))}
    scope = {
        "type": "http",
        "method": "POST",
        "path": site.PATH,
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in sent_headers.items()
        ],
    }
    await application(scope, receive, send)
    if sent[0]["status"] != 200:
        raise SystemExit(f"The request failed: {sent[0]['status']} {sent[1]['body'][:500]!r}")


def _totals(calls: Calls) -> tuple[str, str, str]:
    modules = {module for module, _, _ in calls}
    return str(len(modules)), str(len(calls)), str(calls.total())


def _by_module(calls: Calls) -> list[tuple[str, str, str]]:
    functions: Counter[str] = Counter(module for module, _, _ in calls)
    total: Counter[str] = Counter()
    for (module, _, _), count in calls.items():
        total[module] += count
    return [(name, str(functions[name]), str(count)) for name, count in total.most_common()]


def _by_function(calls: Calls) -> list[tuple[str, str]]:
    return [(f"{module}:{name}", str(count)) for (module, name, _), count in calls.most_common()]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=9, help="of which the least counts")
    parser.add_argument("--list", action="store_true", help="list the calls of each module")
    parser.add_argument("--functions", action="store_true", help="list the calls of each function")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
