"""The upstream of all benchmarks: a provider that costs next to nothing, on bare sockets.

`/<milliseconds>/<chunks>/v1/chat/completions` streams so many chunks so far apart (0: all at once),
each with the time at which it was written as its text, `@<nanoseconds>@`; or answers whole.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

USAGE = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
STREAM_HEAD = HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n")


def _chunk(choices: list[object], **fields: object) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**chunk, "choices": choices, **fields}).encode() + b"\n\n"


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


_BEFORE, _AFTER = _chunk([_choice({"content": "@@"})]).split(b"@@")
_BEGIN = _chunk([_choice({"role": "assistant", "content": ""})])
_END = _chunk([_choice({}, "stop")]) + _chunk([], usage=USAGE) + b"data: [DONE]\n\n"


def _full_answer() -> bytes:
    message = {"role": "assistant", "content": "Hello there, this is a small answer."}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**answer, "choices": [choice], "usage": USAGE}).encode()
    return HEAD % (b"application/json", b"Content-Length: %d\r\n" % len(body)) + body


FULL_ANSWER = _full_answer()


class Upstream(asyncio.Protocol):
    """One connection. Requests come one after the other, as HTTP clients send them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        self.read = b""

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, separator, body = self.read.partition(b"\r\n\r\n")
        if not separator:
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) >= int(length.partition(b"\r\n")[0] or 0):
            self.read = b""
            self.answer(head.split(b" ", 2)[1], b'"stream":true' in body.replace(b" ", b""))

    def answer(self, path: bytes, streamed: bool) -> None:
        if not streamed:
            self.transport.write(FULL_ANSWER)
            return
        interval, chunks = path.split(b"/")[1:3]
        self.transport.write(STREAM_HEAD + _frame(_BEGIN))
        self.tick(int(interval) / 1000, int(chunks), self.loop.time())

    def tick(self, interval: float, left: int, due: float) -> None:
        """Writes what is due, and comes again for the rest."""
        while left and self.loop.time() >= due and not self.transport.is_closing():
            stamp = b"@%d@" % time.monotonic_ns()
            self.transport.write(_frame(_BEFORE + stamp + _AFTER))
            left, due = left - 1, due + interval
        if self.transport.is_closing():
            return
        if left:
            self.loop.call_at(due, self.tick, interval, left, due)
        else:
            self.transport.write(_frame(_END) + b"0\r\n\r\n")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
