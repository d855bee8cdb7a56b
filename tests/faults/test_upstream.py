"""The fake upstream's own promises: it fails as it says, streamed and whole, and counts it."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from tests import fakes
from tests.polling import until
from tests.upstreams.faults import FAULTS, ZAI

PATIENCE = 0.2  # seconds, of a client that waits for nothing
FORMS = pytest.mark.parametrize("stream", [True, False])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply as a client that knows nothing got it."""

    status: int
    headers: dict[str, str]
    body: str

    def whole(self, *, stream: bool) -> str:
        """Its text. Raises ValueError where it is no whole answer, or none at all."""
        if self.status != 200:
            raise ValueError(self.status)
        lines = [line.removeprefix("data: ") for line in self.body.split("\n\n") if line]
        chunks = [json.loads(line) for line in lines if line != "[DONE]"]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
        if not any(choice["finish_reason"] == "stop" for choice in choices):
            raise ValueError("unfinished")
        key = "delta" if stream else "message"
        if not (text := "".join(choice[key].get("content") or "" for choice in choices)):
            raise ValueError("empty")
        return text


async def asked(url: str, model: str, *, stream: bool = True) -> Reply:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"Authorization": f"Bearer {fakes.KEY}"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session,
        session.post(f"{url}/chat/completions", json=body, headers=headers) as response,
    ):
        return Reply(
            status=response.status, headers=dict(response.headers), body=await response.text()
        )


@FORMS
@pytest.mark.parametrize("name", [name for name in FAULTS if name != "10-mb"])
async def test_a_fault_is_never_a_whole_answer(
    fake: fakes.Upstream, name: str, stream: bool
) -> None:
    """Neither by the model's name nor by the path's beginning, in either form."""
    for url, model in ((fake.url, name), (fake.fault(name), "sixty")):
        with pytest.raises((aiohttp.ClientError, TimeoutError, ValueError)):
            (await asked(url, model, stream=stream)).whole(stream=stream)
    assert [record.behaviour for record in fake.requests] == [name, name]


@FORMS
@pytest.mark.parametrize("name", ["sixty", "no-done", "no-usage", "late-50", "/fault/sixty"])
async def test_an_answer_is_whole_in_both_forms(
    fake: fakes.Upstream, name: str, stream: bool
) -> None:
    """With a finish reason, and the bytes counted that were written of it."""
    url = fake.fault("sixty") if name.startswith("/") else fake.url
    reply = await asked(url, name, stream=stream)
    said = "hello" if name == "no-usage" else fakes.SIXTY
    assert reply.whole(stream=stream) == said
    assert ('"usage"' in reply.body) is (name != "no-usage")
    assert ("[DONE]" in reply.body) is (stream and name != "no-done")
    assert fake.requests[0].written == len(reply.body)


async def test_the_wait_is_said_in_every_way(fake: fakes.Upstream) -> None:
    """Seconds, an HTTP date, milliseconds, and what is none of them."""
    seconds = await asked(fake.url, "429-seconds")
    date = await asked(fake.url, "429-date")
    milliseconds = await asked(fake.url, "429-ms")
    nonsense = await asked(fake.url, "429-nonsense")
    assert seconds.headers["Retry-After"] == "1"
    at = parsedate_to_datetime(date.headers["Retry-After"])
    assert 0 < (at - datetime.now(UTC)).total_seconds() <= 2
    assert milliseconds.headers["retry-after-ms"] == "300"
    assert "Retry-After" not in milliseconds.headers
    assert "moon" in nonsense.headers["Retry-After"]


@pytest.mark.parametrize("code", ZAI)
async def test_every_code_of_zai_has_its_own_status_and_any_other(
    fake: fakes.Upstream, code: str
) -> None:
    """Its body is a code and a message, and nothing else; a reset has a time that is to come."""
    usual = await asked(fake.url, f"zai-{code}")
    other = await asked(fake.url, f"zai-{code}-400")
    error = json.loads(usual.body)["error"]
    assert (usual.status, other.status) == (ZAI[code][0], 400)
    assert (error["code"], sorted(error)) == (code, ["code", "message"])
    assert "{" not in error["message"]


async def test_a_name_may_fail_once_or_now_and_then(fake: fakes.Upstream) -> None:
    """`once-` counts requests; `flap-` looks at the clock."""
    statuses = [(await asked(fake.url, "once-500")).status for _ in range(3)]
    assert statuses == [500, 200, 200]
    fake.reset()
    assert (await asked(fake.url, "flap-200-200")).status == 200
    await until(lambda: time.monotonic() - fake.requests[0].started > 0.2)
    assert (await asked(fake.url, "flap-200-200")).status == 500
    assert fake.gaps[0] >= 0.2


async def test_a_big_page_is_written_as_it_is_read(fake: fakes.Upstream) -> None:
    """What a reader leaves behind stays unwritten, but for what sockets hold."""
    headers = {"Authorization": f"Bearer {fakes.KEY}"}
    async with aiohttp.ClientSession(read_bufsize=1024) as session:
        url = f"{fake.url}/chat/completions"
        async with session.post(url, json={"model": "10-mb"}, headers=headers) as response:
            assert response.status == 500
            await response.content.readexactly(64 * 1024)
        await until(lambda: fake.requests[0].disconnected_at)
    assert 64 * 1024 <= fake.requests[0].written < 2 * 2**20


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    """The handshake is real: it fails where the certificate is checked."""
    with fakes.Upstream(tls=True) as lying:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await asked(lying.url, "echo")
        assert lying.requests == []
