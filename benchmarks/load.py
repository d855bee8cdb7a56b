"""The load: so many requests over so many connections, from a process of its own on bare sockets.

`python -m benchmarks.load '<the fields of a Load as JSON>'` prints the fields of a Taken.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

STAMP = re.compile(rb"@(\d+)@")
LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for. `ramp` spreads the connections' first requests over so many seconds."""

    url: str
    body: dict[str, object]
    headers: dict[str, str] = field(default_factory=dict)
    concurrency: int = 32
    requests: int = 1000
    ramp: float = 0.0
    at_most: float = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of it. Times in milliseconds; gaps are what was added to the upstream's own."""

    answers: int
    failed: int
    seconds: float
    p50: float
    p99: float
    events: int
    gap_p50: float
    gap_p99: float
    sample: str


class Connection(asyncio.Protocol):
    """One kept connection, which sends the request again once its answer is whole."""

    def __init__(self, request: bytes, run: "Run") -> None:
        self.request = request
        self.run = run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send_request()

    def send_request(self) -> None:
        self.head, self.length, self.size, self.end = b"", -1, 0, b""
        self.rest, self.stamp, self.came = b"", 0, 0
        if not self.run.may_send():
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.head.endswith(b"\r\n\r\n"):
            head, separator, body = (self.head + data).partition(b"\r\n\r\n")
            self.head = head + separator
            if not separator:
                return
            _, _, length = head.lower().partition(b"content-length:")
            self.length, data = int(length.partition(b"\r\n")[0] or -1), body
        self.size += len(data)
        self.end = (self.end + data)[-len(LAST_CHUNK) :]
        self.look_for_stamps(data)
        if self.size == self.length or (self.length < 0 and self.end == LAST_CHUNK):
            self.run.record_answer(self.sent_at, self.head, data)
            self.send_request()

    def look_for_stamps(self, data: bytes) -> None:
        now, data = time.monotonic_ns(), self.rest + data
        used = 0
        for match in STAMP.finditer(data):
            stamp, used = int(match[1]), match.end()
            if self.stamp:
                self.run.gaps.append((now - self.came) - (stamp - self.stamp))
            self.stamp, self.came = stamp, now
        self.rest = data[used:][-32:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.count_closed()


class Run:
    """What all connections have sent and got."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.left = load.requests
        self.open = load.concurrency
        self.finished = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.gaps: list[int] = []
        self.failed = 0
        self.sample = b""

    def may_send(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def record_answer(self, sent_at: float, head: bytes, data: bytes) -> None:
        self.times.append(time.perf_counter() - sent_at)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed += 1
            self.sample = head.partition(b"\r\n")[0] + b" " + data[:300]

    def count_closed(self) -> None:
        self.open -= 1
        if not self.open and not self.finished.done():
            self.finished.set_result(None)

    def summarize(self, seconds: float) -> Taken:
        # A chunk that came together with the one before it is early, which is no gap.
        gaps = [max(0, gap) / 1e6 for gap in self.gaps]
        return Taken(
            answers=len(self.times),
            failed=self.failed,
            seconds=seconds,
            p50=1000 * quantile(self.times, 0.5),
            p99=1000 * quantile(self.times, 0.99),
            events=len(gaps),
            gap_p50=quantile(gaps, 0.5),
            gap_p99=quantile(gaps, 0.99),
            sample=self.sample.decode("utf-8", "replace"),
        )


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else 0.0


def request(load: Load) -> bytes:
    """The one request, as bytes."""
    parts, body = urlsplit(load.url), json.dumps(load.body).encode()
    headers = {"Host": parts.netloc, "Content-Type": "application/json", **load.headers}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def main(load: Load) -> Taken:
    run, sent = Run(load), request(load)
    parts, loop = urlsplit(load.url), asyncio.get_running_loop()
    began = time.perf_counter()
    for number in range(load.concurrency):
        await loop.create_connection(lambda: Connection(sent, run), "127.0.0.1", parts.port or 80)
        due = began + load.ramp * (number + 1) / load.concurrency
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.wait_for(run.finished, load.at_most)
    return run.summarize(time.perf_counter() - began)


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(main(Load(**json.loads(sys.argv[1])))))))
