"""Chat completions as OpenAI's own package sees them: text, tools, usage, errors, and leaving."""

import contextlib
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from django.contrib.auth.models import User

from api.keys.lifecycle import issue_key
from providers.models import Attempt, FlagSetting, Provider
from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until
from tests.upstreams.plans import REASONING, TOOL

HELLO: Any = [{"role": "user", "content": "Hello there, café"}]
Serve = Callable[..., Provider]


def attempts(door: Door, count: int) -> list[Attempt]:
    """What was recorded, as soon as it is written."""
    wait_until(lambda: Attempt.objects.count() >= count)
    return list(Attempt.objects.order_by("position"))


def only_direct(door: Door, fake: fakes.Upstream, *models: str) -> Provider:
    """A provider with one route: nothing is tried twice but by the rules of one route."""
    return door.serve(*models, base_url=fake.url, routing_method="direct", fallback_enabled=False)


# Answers


def test_non_streaming_completion(door: Door, acme: Provider) -> None:
    """The text, the model that ran, the tokens."""
    answer = door.client().chat.completions.create(model="acme/echo", messages=HELLO)
    assert answer.choices[0].message.content == "Hello there, café"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "echo"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_streaming_completion(door: Door, acme: Provider) -> None:
    """Word by word, every chunk with the one id and the model that ran."""
    with door.client().chat.completions.create(
        model="acme/echo", messages=HELLO, stream=True
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello there, café"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {(c.id, c.model) for c in chunks} == {("chatcmpl-fake", "echo")}
    assert all(c.usage is None for c in chunks)


def test_usage_at_the_end_of_a_stream(door: Door, acme: Provider) -> None:
    """Where it was asked for, on a chunk without choices."""
    *_, last = door.client().chat.completions.create(
        model="acme/echo",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 3)


def test_usage_is_estimated_where_there_is_none(door: Door, fake: fakes.Upstream) -> None:
    """And says so."""
    only_direct(door, fake, "no-usage")
    *_, last = door.client().chat.completions.create(
        model="acme/no-usage",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    assert last.usage.model_extra == {"estimated": True}


def test_tools(door: Door, fake: fakes.Upstream) -> None:
    """Whole and streamed, put together by the package's own helper."""
    only_direct(door, fake, "tools")
    client = door.client()
    tools: Any = [{"type": "function", "function": {"name": TOOL[1], "parameters": {}}}]
    answer = client.chat.completions.create(model="acme/tools", messages=HELLO, tools=tools)
    with client.chat.completions.stream(model="acme/tools", messages=HELLO, tools=tools) as stream:
        streamed = stream.get_final_completion()
    for each in (answer, streamed):
        calls = each.choices[0].message.tool_calls or []
        assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [TOOL]  # type: ignore[union-attr]
        assert each.choices[0].finish_reason == "tool_calls"
    assert fake.requests[-1].body["tools"] == tools


def test_reasoning(door: Door, fake: fakes.Upstream) -> None:
    """In the field that OpenCode reads."""
    only_direct(door, fake, "reasoning")
    chunks = door.client().chat.completions.create(
        model="acme/reasoning", messages=HELLO, stream=True
    )
    deltas = [chunk.choices[0].delta.model_extra or {} for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == REASONING


@pytest.mark.parametrize(
    ("preset", "setting", "moves"),
    [
        ("custom", "default", True),
        ("custom", "keep", False),
        ("openai", "default", False),
        ("openai", "split", True),
        ("mistral", "default", True),
    ],
)
def test_moves_reasoning_by_the_providers_setting(
    door: Door, fake: fakes.Upstream, preset: str, setting: str, moves: bool
) -> None:
    """By the vendor's default, or against it; streamed or not."""
    fields = {"preset": preset, "reasoning_tags": setting, "base_url": fake.url}
    door.serve("think-tags-cut", **fields)
    create = door.client().chat.completions.create
    message = create(model="acme/think-tags-cut", messages=HELLO).choices[0].message
    with create(model="acme/think-tags-cut", messages=HELLO, stream=True) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream]
    messages = [message.model_dump(), *(delta.model_dump() for delta in deltas)]
    for group in (messages[:1], messages[1:]):
        text = "".join(each.get("content") or "" for each in group)
        reasoning = "".join(each.get("reasoning_content") or "" for each in group)
        assert text == ("Hello" if moves else "<think>I muse.</think>\n\nHello")
        assert reasoning == ("I muse." if moves else "")


def test_unknown_fields_reach_the_provider(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    """To the provider as it came: at the top, in messages, pictures and all."""
    body = {
        "model": "acme/echo",
        "messages": [
            {"role": "system", "content": "Be brief.", "name": "s"},
            {"role": "assistant", "content": "Hm", "reasoning_content": "x", "vendor": {"a": [1]}},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See:", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            },
        ],
        "temperature": 0.5,
        "thinking": {"type": "enabled"},
        "logit_bias": {"5": -100},
    }
    with door.raw() as client:
        assert client.post("/chat/completions", json=body).is_success
    sent = fake.requests[-1].body
    ours = ("model", "stream", "stream_options")
    assert {k: v for k, v in sent.items() if k not in ours} == {
        k: v for k, v in body.items() if k != "model"
    }


def test_calls_an_anthropic_provider_in_its_format(door: Door, fake: fakes.Upstream) -> None:
    """And answers in OpenAI's, streamed and whole."""
    door.serve("echo", base_url=fake.url, kind="anthropic", routing_method="direct")
    client = door.client()
    answer = client.chat.completions.create(model="acme/echo", messages=HELLO)
    with client.chat.completions.stream(model="acme/echo", messages=HELLO) as stream:
        streamed = stream.get_final_completion()
    for each in (answer, streamed):
        assert each.choices[0].message.content == "Hello there, café"
        assert each.choices[0].message.role == "assistant"
        assert each.choices[0].finish_reason == "stop"
        assert each.id.startswith("chatcmpl-")
    assert fake.requests[-1].path == "/v1/messages"


def test_the_headers_name_the_route(door: Door, acme: Provider) -> None:
    """On whole answers and streams alike."""
    with door.raw() as client:
        for stream in (False, True):
            body = {"model": "acme/echo", "messages": HELLO, "stream": stream}
            answer = client.post("/chat/completions", json=body)
            assert answer.headers["x-route"] == "acme/direct"
            assert answer.headers["x-attempts"] == "1"
            assert 0 < float(answer.headers["x-overhead-ms"]) < 5000
    rows = attempts(door, 2)
    assert str(rows[-1].request_id) == answer.headers["x-request-id"]
    assert {(row.purpose, row.outcome, row.user_id, row.client_key) for row in rows} == {
        ("api", "ok", door.user.pk, door.key.pk)
    }


def test_falls_back_to_the_second_route(door: Door, fake: fakes.Upstream) -> None:
    """The other one answers; the headers say that there were two."""
    door.serve("echo", base_url=fake.fault("500"), gateway_endpoint=fake.url)
    with door.raw() as client:
        for stream in (False, True):
            body = {"model": "acme/echo", "messages": HELLO, "stream": stream}
            answer = client.post("/chat/completions", json=body)
            assert answer.status_code == 200
            assert answer.headers["x-route"] == "acme/gateway"
            assert answer.headers["x-attempts"] == "2"


def test_a_fallback_sends_its_reason(door: Door, fake: fakes.Upstream) -> None:
    """In a header, as every page does in words."""
    door.serve("echo", base_url=fake.fault("500"), gateway_endpoint=fake.url)
    body = {"model": "acme/echo", "messages": HELLO}
    with door.raw() as client:
        answer = client.post("/chat/completions", json=body)
    assert "direct failed" in answer.headers["x-route-reason"]


# The same request again


def test_an_idempotency_key_calls_the_provider_once(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    """Whole and streamed, with the same bytes and headers; other keys are other requests."""
    with door.raw() as client:
        for stream in (False, True):
            fake.requests.clear()
            body = {"model": "acme/echo", "messages": HELLO, "stream": stream}
            first, again, other = (
                client.post("/chat/completions", json=body, headers={"Idempotency-Key": key})
                for key in (f"a{stream}", f"a{stream}", f"b{stream}")
            )
            assert len(fake.requests) == 2
            assert first.text == again.text
            assert first.headers["x-route"] == again.headers["x-route"] == "acme/direct"
            assert first.headers["x-request-id"] != again.headers["x-request-id"]
            assert other.status_code == 200


def test_a_repeated_request_in_mid_stream_gets_the_full_answer(
    door: Door, fake: fakes.Upstream
) -> None:
    """From the beginning, while the first reader is still reading."""
    only_direct(door, fake, "slow-30-20")
    body = {"model": "slow-30-20", "messages": HELLO, "stream": True}
    headers = {"Idempotency-Key": "k"}
    with (
        door.raw() as client,
        client.stream("POST", "/chat/completions", json=body, headers=headers) as first,
    ):
        pieces = first.iter_bytes()
        begun = next(pieces)
        again = door.raw().post("/chat/completions", json=body, headers=headers)
        assert (begun + b"".join(pieces)).decode() == again.text
    assert again.text.endswith("data: [DONE]\n\n")
    assert len(fake.requests) == 1


def test_an_idempotency_key_is_for_one_request_of_one_caller(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    """Another body is a mistake; another caller never gets it."""
    body = {"model": "acme/echo", "messages": HELLO}
    headers = {"Idempotency-Key": "k"}
    _, theirs = issue_key(door.user, "other")
    with door.raw() as client:
        client.post("/chat/completions", json=body, headers=headers)
        reused = client.post("/chat/completions", json=body | {"n": 1}, headers=headers)
        too_long = client.post(
            "/chat/completions", json=body, headers={"Idempotency-Key": "k" * 256}
        )
    assert (reused.status_code, reused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert too_long.status_code == 400
    client = httpx.Client(headers={"Authorization": f"Bearer {theirs}", **headers})
    wait_until(lambda: client.get(f"{door.url}/models").is_success)
    assert client.post(f"{door.url}/chat/completions", json=body).status_code == 200
    assert len(fake.requests) == 2


def test_a_failure_is_not_stored(door: Door, fake: fakes.Upstream) -> None:
    """The next request with the key tries again."""
    only_direct(door, fake, "echo")
    body = {"model": "acme/echo", "messages": HELLO}
    headers = {"Idempotency-Key": "k"}
    fake.script("400")
    with door.raw() as client:
        failed = client.post("/chat/completions", json=body, headers=headers)
        fake.script()
        again = client.post("/chat/completions", json=body, headers=headers)
    assert failed.status_code == 400
    assert failed.json()["error"]["attempts"][0]["route"] == "acme/direct"
    assert again.status_code == 200


# Errors


@pytest.mark.parametrize(
    ("behaviour", "kind", "status"),
    [
        ("400", openai.BadRequestError, 400),
        ("too-long", openai.BadRequestError, 400),
        ("401", openai.PermissionDeniedError, 403),
        ("403", openai.PermissionDeniedError, 403),
        ("402", openai.APIStatusError, 402),
        ("429-long", openai.RateLimitError, 429),
        ("500", openai.InternalServerError, 502),
        ("503-silent", openai.InternalServerError, 503),
        ("reset", openai.InternalServerError, 502),
        ("html", openai.InternalServerError, 502),
        ("empty", openai.InternalServerError, 502),
        ("error-in-200", openai.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_failure_is_the_error_that_clients_know(
    door: Door,
    fake: fakes.Upstream,
    behaviour: str,
    kind: type[openai.APIStatusError],
    status: int,
    stream: bool,
) -> None:
    """Before the first content it is a status, streamed or not; with what was tried."""
    only_direct(door, fake, "echo")
    fake.script(behaviour)
    with pytest.raises(kind) as caught:
        door.client().chat.completions.create(model="echo", messages=HELLO, stream=stream)
    error = caught.value
    assert error.status_code == status
    assert isinstance(error.body, dict)
    assert error.body["message"].startswith("Acme: ")
    assert error.body["attempts"][0]["route"] == "acme/direct"
    assert error.response.headers["x-attempts"] == str(len(error.body["attempts"]))
    assert fakes.KEY not in error.response.text


def test_errors_of_our_own_are_known_too(door: Door, acme: Provider) -> None:
    """A wrong key, an unknown model."""
    with pytest.raises(openai.AuthenticationError):
        door.client("ocw-wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="no model `gpt-9`"):
        door.client().chat.completions.create(model="gpt-9", messages=HELLO)


def test_retry_after_is_passed_on(door: Door, fake: fakes.Upstream) -> None:
    """Also while the key is in its cooldown, and nothing is sent before it is over."""
    only_direct(door, fake, "echo")
    fake.script("429-long")
    with door.raw() as client:
        body = {"model": "acme/echo", "messages": HELLO}
        answers = [client.post("/chat/completions", json=body)]
        answers += [client.post("/chat/completions", json=body) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {429, 503}
    assert all(3500 < int(answer.headers["retry-after"]) <= 3600 for answer in answers)
    assert len(fake.requests) == 1
    assert "the key is in a cooldown" in answers[-1].json()["error"]["message"]


@pytest.mark.parametrize("behaviour", ["cut-mid", "error-mid", "truncated"])
def test_a_failure_after_content_is_an_event(
    door: Door, fake: fakes.Upstream, behaviour: str
) -> None:
    """As an error event: no finish reason, no end mark, nothing that looks like success."""
    only_direct(door, fake, behaviour)
    body = {"model": behaviour, "messages": HELLO, "stream": True}
    with door.raw() as client:
        answer = client.post("/chat/completions", json=body)
    *content, last = [json.loads(each.removeprefix("data: ")) for each in _events(answer.text)]
    assert answer.status_code == 200
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in content).startswith("One")
    assert all(c["choices"][0]["finish_reason"] is None for c in content)
    assert last["error"]["type"] == "upstream_error"
    assert last["error"]["attempts"][0]["route"] == "acme/direct"
    assert "[DONE]" not in answer.text
    with pytest.raises(openai.APIError):
        list(door.client().chat.completions.create(model=behaviour, messages=HELLO, stream=True))


def test_a_broken_non_streaming_answer_is_a_status(door: Door, fake: fakes.Upstream) -> None:
    """Half a text is no answer."""
    only_direct(door, fake, "cut-mid")
    with pytest.raises(openai.InternalServerError):
        door.client().chat.completions.create(model="cut-mid", messages=HELLO)


def test_a_killed_process_is_a_connection_error(door: Door, fake: fakes.Upstream) -> None:
    """The package's word for it; and the upstream is left."""
    only_direct(door, fake, "slow-200-20")
    stream = door.client().chat.completions.create(model="slow-200-20", messages=HELLO, stream=True)
    next(iter(stream))
    door.site.kill("web")
    try:
        with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
            list(stream)
        wait_until(lambda: fake.requests[-1].disconnected_at)
    finally:
        door.site.start("web")
        door.site.wait_ready()


def test_writes_the_last_results_before_stopping(door: Door, acme: Provider) -> None:
    """They are written in batches: the last one must not be lost at each new version."""
    with door.raw() as client:
        asked = {"model": "acme/echo", "messages": HELLO}
        ids = {client.post("/chat/completions", json=asked).headers["x-request-id"] for _ in "123"}
    process = door.site.parts["web"]
    process.terminate()
    process.wait(60)
    try:
        known = Attempt.objects.values_list("request_id", flat=True)
        assert ids <= {str(request_id) for request_id in known}
    finally:
        door.site.start("web")
        door.site.wait_ready()


# Waiting and leaving


def test_sends_keep_alives_before_a_slow_answer(door: Door, fake: fakes.Upstream) -> None:
    """With comments, which no client sees; then the answer comes as ever."""
    only_direct(door, fake, "late-1000")
    body = {"model": "late-1000", "messages": HELLO, "stream": True}
    with door.raw() as client, client.stream("POST", "/chat/completions", json=body) as answer:
        text = answer.read().decode()
    assert text.startswith(": keep-alive\n\n: keep-alive\n\n")
    assert text.endswith("data: [DONE]\n\n")
    streamed = door.client().chat.completions.create(model="late-1000", messages=HELLO, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == fakes.SIXTY


def test_a_failure_after_a_keep_alive_is_an_event(door: Door, fake: fakes.Upstream) -> None:
    """The status has gone out by then."""
    only_direct(door, fake, "stall-first")
    body = {"model": "stall-first", "messages": HELLO, "stream": True}
    with door.raw() as client, client.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": keep-alive"
        fake.stop()
        last = [line for line in lines if line.startswith("data: ")]
    assert answer.status_code == 200
    assert json.loads(last[-1].removeprefix("data: "))["error"]["type"] == "upstream_error"
    assert len(last) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "after"),
    [("slow-100-50", 0.3), ("stall-first", 0.3), ("stall-headers", 0.3), ("stall-headers", 0.05)],
)
def test_a_disconnected_client_is_not_waited_for(
    door: Door, fake: fakes.Upstream, model: str, after: float, stream: bool
) -> None:
    """The provider's connection is closed, the attempt is recorded as stopped."""
    only_direct(door, fake, model)
    body = {"model": model, "messages": HELLO, "stream": stream}
    client = door.raw()
    request = client.build_request("POST", "/chat/completions", json=body)
    request.extensions["timeout"] = {"connect": 1, "read": after, "write": 1, "pool": 1}
    with contextlib.suppress(httpx.ReadTimeout):
        next(client.send(request, stream=True).iter_bytes())
    client.close()
    wait_until(lambda: fake.requests and fake.requests[-1].disconnected_at)
    (row,) = attempts(door, 1)
    assert row.outcome == "stopped"


def test_cancelling_a_stream_closes_the_upstream(door: Door, fake: fakes.Upstream) -> None:
    """As OpenAI's package does it."""
    only_direct(door, fake, "slow-200-20")
    stream = door.client().chat.completions.create(model="slow-200-20", messages=HELLO, stream=True)
    for _, _chunk in zip(range(5), stream, strict=False):
        pass
    stream.close()
    wait_until(lambda: fake.requests[-1].disconnected_at)


def test_sends_the_cached_answer_where_every_route_fails(door: Door, fake: fakes.Upstream) -> None:
    """Only where the operator switched that on, never by another key, and marked as what it is."""
    FlagSetting.objects.create(name="emergency_answers", enabled=True)
    only_direct(door, fake, "echo")
    body = {"model": "acme/echo", "messages": HELLO}
    client = door.raw()
    first = client.post("/chat/completions", json=body).json()
    fake.stop()
    again = client.post("/chat/completions", json=body)
    assert again.json()["choices"][0]["message"] == first["choices"][0]["message"]
    assert again.json()["earlier_answer"].startswith(
        "every route failed; this is a cached answer from"
    )
    assert again.headers["x-route"] == "acme/earlier"
    streamed = client.post("/chat/completions", json=body | {"stream": True})
    assert all(b'"earlier_answer":' in sent for sent in _chunks(streamed.content))
    other = issue_key(User.objects.get(), "another")[1]
    wait_until(lambda: _knows(door, other))
    with pytest.raises(openai.APIError) as caught:
        door.client(other).chat.completions.create(model="acme/echo", messages=HELLO)
    assert caught.value.code == "connect_refused"


def _chunks(sent: bytes) -> list[bytes]:
    """The events of a stream but its end mark."""
    return [each for each in sent.split(b"\n\n") if each and each != b"data: [DONE]"]


def _knows(door: Door, secret: str) -> bool:
    with door.raw() as client:
        headers = {"Authorization": f"Bearer {secret}"}
        return client.get("/models", headers=headers).status_code == 200


def _has_paused(record: fakes.Record) -> Callable[[], bool]:
    """Whether the fake has written nothing more for so many looks."""
    written = deque[int](maxlen=30)

    def has_paused() -> bool:
        written.append(record.written)
        return len(written) == written.maxlen and written[0] == written[-1] > 0

    return has_paused


def test_a_slow_reader_slows_the_upstream_down(door: Door, fake: fakes.Upstream) -> None:
    """What nobody reads is not gathered in memory without end; what was said arrives whole.

    The system's own buffers may take up to 40 MB on the way (tcp_rmem, tcp_wmem).
    """
    only_direct(door, fake, "heavy-800")
    body = {"model": "heavy-800", "messages": HELLO, "stream": True}
    narrow = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    headers = {"Authorization": f"Bearer {door.secret}"}
    with (
        httpx.Client(transport=narrow, headers=headers, timeout=60) as client,
        client.stream("POST", f"{door.url}/chat/completions", json=body) as answer,
    ):
        pieces = answer.iter_bytes()
        next(pieces)
        wait_until(_has_paused(fake.requests[-1]))
        assert not fake.requests[-1].finished
        text = b"".join(pieces)
    assert text.endswith(b"data: [DONE]\n\n")
    assert text.count(b"x" * 100_000) >= 799


def _events(text: str) -> list[str]:
    return [each for each in text.split("\n\n") if each.startswith("data: ")]
