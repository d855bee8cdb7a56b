"""An upstream's answer as it was received, for the gateway process: LiteLLM remakes what it reads.

It maps finish reasons, drops fields and refuses forms that are read here. So what is in a format
that we read is passed on as it came, for both routes to read alike; LiteLLM reads the rest.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.connector import Connection

from providers.clients import direct
from providers.clients.http_errors import mapped_errors
from providers.protocols import sse
from providers.protocols.framing import LARGEST_BODY, Framing, not_json

# Where OpenAI's and Anthropic's formats are spoken.
_PATHS = ("/chat/completions", "/messages")
_PLAIN = frozenset({"", "identity"})  # content encodings


class ReceivedAnswer:
    """What the provider answered to one call, if it is in a format that we read."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._response: aiohttp.ClientResponse | None = None
        self.body: bytes | None = None  # of a call that does not stream
        self.resent = False  # on a new connection, where a kept one had been closed

    @property
    def is_readable(self) -> bool:
        return self._response is not None

    async def take(self, response: aiohttp.ClientResponse) -> bytes | None:
        """Keeps a good answer. The body of one that does not stream is read and returned."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if not response.url.path.endswith(_PATHS) or encoding not in _PLAIN:
            return None
        self._response = response
        if not self._streams:
            self.body = await _read_body(response)
        return self.body

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Its events as they come. Raises CallError where the connection breaks."""
        framing = Framing()
        while self._response is not None:
            with mapped_errors():
                chunk = await self._response.content.readany()
            if not chunk:
                break
            if texts := framing.feed(chunk):
                yield b"".join(map(sse.encode, texts))
            framing.check()
        # What came without an empty line after it may have been cut: it gets none here either.
        for text in framing.end():
            yield sse.encode(text).removesuffix(b"\n\n")

    def events(self) -> Iterator[bytes]:
        """The body as events, in whatever form it came."""
        framing = Framing()
        yield from map(sse.encode, [*framing.feed(self.body or b""), *framing.end()])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keeps the answer to the call that is made meanwhile."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def close(self) -> None:
        """Closes the connection, unless all of it was read."""
        if self._response is not None and not self._response.content.at_eof():
            self._response.close()


_current: ContextVar[ReceivedAnswer | None] = ContextVar("received_answer", default=None)


class Response(aiohttp.ClientResponse):
    """A response whose failure is read here, as over the direct route: LiteLLM would read whatever
    comes, follow a redirect with the key in its hand, and call once more after a 422. A good one is
    kept for the call that it answers."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        await super().start(connection)
        if not self.ok or 300 <= self.status < 400:
            raise direct.error_of_response(self.status, self.headers, await self._error_body())
        if (call := _current.get()) and (body := await call.take(self)) is not None:
            self.content = _make_stream_reader(body)
        return self

    async def _error_body(self) -> str:
        """The first 64 KB of an error's body. LiteLLM asks for no compression; some send it."""
        read = b""
        with suppress(aiohttp.ClientError):
            while len(read) < direct.ERROR_BODY_LIMIT and (chunk := await self.content.readany()):
                read += chunk
        if self.headers.get("content-encoding") in ("gzip", "deflate"):
            with suppress(zlib.error):
                read = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(read, direct.ERROR_BODY_LIMIT)
        return read[: direct.ERROR_BODY_LIMIT].decode("utf-8", "replace")


_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # https://docs.python.org/3/library/zlib.html#zlib.decompress


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise not_json()
    return bytes(body)


def _make_stream_reader(body: bytes) -> aiohttp.StreamReader:
    """A body that has been read, to be read once more."""
    reader = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), len(body) + 1)
    reader.feed_data(body)
    reader.feed_eof()
    return reader
