"""What a test shows of a call: enough to understand it, no secret, no more than a page takes."""

import json
from dataclasses import asdict

import pytest

from providers.clients import direct, http
from providers.clients import recorder as recorder_module
from providers.clients.recorder import MAX_BODY, Exchange, Recorder
from providers.domain.redaction import HIDDEN, redact
from providers.domain.types import Kind, Method, Target, Timeouts, Upstream
from tests import fakes

SECRET = 'sk-"quoted"/0123456789'


def target(url: str, **fields: object) -> Target:
    times = Timeouts(connect=1, first_token=2, silence=2, total=4)
    given = {"method": Method.DIRECT, "kind": Kind.OPENAI, "model": "m", "timeouts": times}
    given |= {"base_url": url, "api_key": fakes.KEY} | fields
    return Target(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET} is wrong",
        json.dumps({"error": f"key {SECRET}"}),
        json.dumps({"error": f"key {SECRET}"}).replace("/", "\\/"),
        "at https://a.example/?key=sk-%22quoted%22%2F0123456789",
    ],
)
def test_no_spelling_of_a_secret_is_shown(text: str) -> None:
    """In plain words, in JSON, in an address."""
    shown = redact(text, {SECRET})
    assert HIDDEN in shown
    assert "quoted" not in shown


def test_words_of_everyday_are_no_secret() -> None:
    """A key of three letters would hide half the page; it is hidden by its header's name."""
    assert redact("the key", {"the", ""}) == "the key"


def heard(*chunks: bytes, secrets: set[str] = frozenset()) -> Exchange:  # type: ignore[assignment]
    recorder = Recorder(secrets)
    recorder.record_request("GET", "https://a.example/v1/models", {}, None)
    for chunk in chunks:
        recorder._record_chunk(chunk)
    assert recorder.exchange
    return recorder.exchange


def test_a_long_body_is_cut() -> None:
    """And said to be."""
    short, long = heard(b"a" * MAX_BODY), heard(b"a" * MAX_BODY, b"b")
    assert (short.cut, long.cut) == (False, True)
    assert short.received == long.received == "a" * MAX_BODY


@pytest.mark.parametrize("before", range(MAX_BODY - 60, MAX_BODY + 60, 3))
def test_half_a_secret_at_the_cut_is_not_shown(before: int) -> None:
    """Also where hiding others before it made room for it."""
    for repeated in (0, 30):
        body = SECRET * repeated + "a" * before + SECRET * 9
        shown = heard(body.encode(), secrets={SECRET}).received
        assert 'sk-"' not in shown


async def test_a_call_is_heard_from_its_first_header_to_its_body(fake: fakes.Upstream) -> None:
    """Only while somebody listens."""
    asked = target(fake.url, headers={"X-Team": "blue-team-7", "Api-Key": "abc"})
    with Recorder(asked.secrets).listening() as recorder:
        await direct.list_models(asked)
    seen = recorder.exchange
    await direct.list_models(asked)
    await http.close()
    assert recorder_module.recording.get() is None
    assert seen is not None
    assert (seen.request_line, seen.status) == (f"GET {fake.url}/models", 200)
    assert seen.received.startswith('{"object": "list"')
    assert seen.header("content-type").startswith("application/json")
    assert "authorization: [hidden]" in seen.sent
    assert "api-key: [hidden]" in seen.sent
    assert "x-team: [hidden]" in seen.sent
    assert fakes.KEY not in str(seen)


async def test_what_our_gateway_process_is_handed_is_hidden(fake: fakes.Upstream) -> None:
    """The provider's key travels in the body there, however short it is."""
    upstream = Upstream(
        litellm_model="openai/m", base_url="https://a.example", api_key="abc", headers={"X": "de"}
    )
    recorder = Recorder(target(fake.url, upstream=upstream).secrets)
    body = {"model": "m", "upstream": {"api_key": "abc", "headers": {"X": "de"}, "base_url": "b"}}
    recorder.record_request("POST", fake.url, {}, body)
    assert recorder.exchange
    assert '"api_key": "[hidden]", "headers": "[hidden]", "base_url": "b"' in recorder.exchange.sent


def test_a_redirect_is_shown_without_its_credentials() -> None:
    """What stands after the question mark may be one."""
    recorder = Recorder(())
    shown = dict(
        recorder._safe_headers(
            [
                ("Location", "https://user:pw@b.example/v1/models?ticket=7#x"),
                ("Set-Cookie", "session=1"),
                ("x-ratelimit-remaining-tokens", "150"),
            ]
        )
    )
    assert shown == {
        "Location": "https://b.example/v1/models",
        "Set-Cookie": HIDDEN,
        "x-ratelimit-remaining-tokens": "150",
    }


def test_another_process_reads_a_recorded_exchange() -> None:
    """A test is watched by whoever asks for the same."""
    seen = Exchange(
        request_line="GET /", sent="a: b", status=200, headers=(("a", "b"),), received="c"
    )
    fields = asdict(seen)
    assert Exchange.restore(json.loads(json.dumps(fields))) == seen
    assert seen.answer == "HTTP 200\na: b\n\nc"
