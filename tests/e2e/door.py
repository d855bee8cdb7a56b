"""A TCP door in front of a database, which a test can shut and open again while the site runs."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

from tests import fakes


class Door:
    """Forwards 127.0.0.1:port to a Unix socket; shut, it refuses and cuts what was open."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.port = fakes.refusing_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._thread.start()

    def open(self) -> None:
        self._do(self._listen())

    def shut(self) -> None:
        self._do(self._refuse())

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._held(writer):
            inner, out = await asyncio.open_unix_connection(str(self.socket_path))
            async with self._held(out):
                tasks = [_pump(reader, out), _pump(inner, writer)]
                await asyncio.wait(
                    [asyncio.create_task(task) for task in tasks],
                    return_when=asyncio.FIRST_COMPLETED,
                )

    @contextlib.asynccontextmanager
    async def _held(self, writer: asyncio.StreamWriter) -> AsyncGenerator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
