"""The peer: a proxy that does nothing but pass on to BARE_UPSTREAM, as ASGI over aiohttp."""

import os
from typing import Any

import aiohttp

UPSTREAM = os.environ["BARE_UPSTREAM"]
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}
_session: aiohttp.ClientSession | None = None


async def application(scope: Any, receive: Any, send: Any) -> None:
    global _session
    if scope["type"] != "http":
        return
    if _session is None:
        connector = aiohttp.TCPConnector(limit=0)
        _session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    async with _session.post(UPSTREAM + scope["path"], data=body, headers=HEADERS) as answer:
        kind = answer.headers["Content-Type"].encode()
        head = {"status": answer.status, "headers": [(b"content-type", kind)]}
        await send({"type": "http.response.start", **head})
        if answer.content_length is not None:
            await send({"type": "http.response.body", "body": await answer.read()})
            return
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
