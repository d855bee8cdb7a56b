"""A test of a provider run to its end, for the tests of its stages."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from providers.clients import http
from providers.connection_test import runner
from providers.connection_test.draft import Draft
from providers.connection_test.provider_test import ProviderTest
from providers.connection_test.stages import Stage
from providers.diagnosis.diagnose import Verdict
from providers.diagnosis.types import Diagnosis
from providers.domain.types import Kind, Method
from providers.models import connection
from providers.views.test_panel import TestPanel
from tests import fakes


def draft(url: str, key: str = fakes.KEY, model_id: str = "echo", **fields: object) -> Draft:
    """A form that names the same server for both routes."""
    given: dict[str, object] = {
        "preset": "custom",
        "kind": Kind.OPENAI,
        "base_url": url,
        "api_key": key,
    }
    given |= {"gateway_endpoint": url, "gateway_api_key": key} | fields
    return Draft(connection=connection.Connection(**given), model_id=model_id)  # type: ignore[arg-type]


async def checked(draft: Draft) -> list[Stage]:
    try:
        return [stage async for stage in runner.run(ProviderTest(draft=draft))]
    finally:
        await http.close()


def ended(stages: list[Stage], method: Method = Method.DIRECT) -> dict[str, str]:
    """The last state of each stage of one route."""
    return {stage.name: stage.state for stage in stages if stage.method == method}


def last(stages: list[Stage], name: str, method: Method = Method.DIRECT) -> Stage:
    return [stage for stage in stages if (stage.method, stage.name) == (method, name)][-1]


async def verdict(draft: Draft) -> Verdict:
    """What the whole test amounts to."""
    panel = TestPanel(draft=draft, element_id="test", fix_url="")
    for stage in await checked(draft):
        panel.add(stage)
    return panel.verdict()


async def diagnosed(draft: Draft) -> Diagnosis:
    """The first finding of the direct route."""
    found = await verdict(draft)
    return next(f.diagnosis for f in found.findings if Method.DIRECT in f.methods)


@asynccontextmanager
async def answering(answer: str, heads: list[str] | None = None) -> AsyncGenerator[str]:
    """A server that says the same to everybody; yields its base URL, keeps the requests' heads."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head.decode().lower())
            length = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(answer.encode("latin-1"))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
