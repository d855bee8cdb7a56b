"""Bodies on their way to Django: what is refused, and the page that says so."""

import asyncio
from collections.abc import Iterable

import pytest
from pytest_django.fixtures import Settings
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from api import bodies
from opencode_web import uploads
from opencode_web.uploads import LARGEST, BoundedUploads

MB = 2**20


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads the whole body, as Django does, and gives up where it breaks."""
    while (message := await receive()).get("more_body"):
        pass
    assert message["type"] == "http.request"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"read"})


async def post(pieces: Iterable[Message], *headers: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """Status and body of the answer."""
    sent: list[Message] = []
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": list(headers), "client": ("192.0.2.1", 1)}
    await BoundedUploads(reader)(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def piece(size: int, *, last: bool = False) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": not last}


async def test_an_upload_within_the_bounds_is_read() -> None:
    assert await post([piece(5 * MB), piece(5 * MB, last=True)]) == (200, b"read")
    assert uploads.BUDGET.held == 0


@pytest.mark.parametrize(
    ("pieces", "length", "status", "words"),
    [
        ([piece(MB)] * 13, "", 413, b"too large"),
        ([], str(LARGEST + 1), 413, b"The limit is 12 MB"),
        ([piece(MB), {"type": "http.disconnect"}], "", 400, b"broke off"),
    ],
)
async def test_an_upload_that_is_refused_gets_a_page(
    pieces: list[Message], length: str, status: int, words: bytes
) -> None:
    """And holds nothing afterwards."""
    headers = [(b"content-length", length.encode())] if length else []
    found = await post(pieces, *headers)
    assert found[0] == status
    assert words in found[1]
    assert uploads.BUDGET.held == 0


async def test_an_upload_that_stops_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.01)
    status, page = await post([])
    assert status == 408
    assert b"took too long" in page


@pytest.mark.parametrize(("trusted", "owner"), [(0, "192.0.2.1"), (1, "203.0.113.9")])
def test_an_upload_counts_for_its_senders_address(
    trusted: int, owner: str, settings: Settings
) -> None:
    """Behind a trusted proxy for the one that the proxy saw."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = trusted
    headers = Headers({"x-forwarded-for": "198.51.100.1, 203.0.113.9"})
    assert uploads.address({"client": ("192.0.2.1", 1)}, headers) == owner
    assert uploads.address({"client": None}, Headers({})) == ""
