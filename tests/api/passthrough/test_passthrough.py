"""Every endpoint that passes requests through, as OpenAI's own package and plain HTTP see it."""

import time
from typing import Any

import httpx
import openai
import pytest

from providers.infra import replicas
from providers.models import Attempt, LanguageModel, Provider
from providers.protocols.endpoint_kinds import ENDPOINTS
from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until
from tests.upstreams.other_endpoints import NUMBERS, SOUND

BODIES: dict[str, dict[str, Any]] = {
    "embeddings": {"input": ["one", "two"]},
    "completions": {"prompt": "def f(", "suffix": "return x"},
    "rerank": {"query": "which", "documents": ["one", "two"], "top_n": 2},
    "images/generations": {"prompt": "a cat"},
    "audio/speech": {"input": "Hello", "voice": "alloy"},
    "moderations": {"input": "Hello"},
}


def post(client: httpx.Client, endpoint: str, model: str, **fields: Any) -> httpx.Response:
    """One request with the least that its endpoint accepts."""
    if ENDPOINTS[endpoint].is_multipart:
        files = {"file": ("a.wav", b"RIFF\x00\xff", "audio/wav")}
        return client.post(f"/{endpoint}", files=files, data={"model": model, **fields})
    return client.post(f"/{endpoint}", json={"model": model, **BODIES[endpoint], **fields})


def attempts(door: Door, count: int) -> list[Attempt]:
    wait_until(lambda: Attempt.objects.count() >= count)
    return list(Attempt.objects.order_by("position"))


def only_direct(door: Door, fake: fakes.Upstream, *models: str) -> Provider:
    return door.serve(*models, base_url=fake.url, routing_method="direct", fallback_enabled=False)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_answers_and_is_recorded(
    door: Door, acme: Provider, fake: fakes.Upstream, endpoint: str
) -> None:
    """With the headers of every answer, under the provider's own name of the model."""
    with door.raw() as client:
        answer = post(client, endpoint, "acme/echo")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-route"] == "acme/direct"
    assert answer.headers["x-attempts"] == "1"
    assert answer.headers["x-request-id"]
    assert fake.requests[-1].path == f"/v1/{endpoint}"
    assert fake.requests[-1].body["model"] == "echo"
    (attempt,) = attempts(door, 1)
    assert (attempt.outcome, attempt.model_id, attempt.purpose) == ("ok", "echo", "api")
    assert (attempt.cost, attempt.client_key) == (None, door.key.pk)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_limited_route_is_replaced(
    door: Door, acme: Provider, fake: fakes.Upstream, endpoint: str
) -> None:
    """The second route answers where the first fails, and both attempts are recorded."""
    fake.script("500", "echo")
    with door.raw() as client:
        answer = post(client, endpoint, "acme/echo")
    assert (answer.status_code, answer.headers["x-route"]) == (200, "acme/gateway")
    assert answer.headers["x-attempts"] == "2"
    assert [each.outcome for each in attempts(door, 2)] == ["provider", "ok"]


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name != "audio/speech"])
def test_a_cut_answer_is_no_success(
    door: Door, acme: Provider, fake: fakes.Upstream, endpoint: str
) -> None:
    """Nothing of it is sent, and the next route answers in its place."""
    fake.script("cut-mid", "echo")
    with door.raw() as client:
        answer = post(client, endpoint, "acme/echo")
    assert (answer.status_code, answer.headers["x-route"]) == (200, "acme/gateway")
    first, second = attempts(door, 2)
    assert first.outcome == "network"
    assert second.outcome == "ok"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_web_page_is_no_answer(door: Door, fake: fakes.Upstream, endpoint: str) -> None:
    """A wrong address answers with one, and 200."""
    only_direct(door, fake, "html")
    with door.raw() as client:
        answer = post(client, endpoint, "acme/html")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "html")


def test_cut_speech_breaks_the_connection(door: Door, fake: fakes.Upstream) -> None:
    """Bytes hold no error, so the answer ends without its end."""
    only_direct(door, fake, "cut-mid")
    with door.raw() as client, pytest.raises(httpx.RemoteProtocolError):
        post(client, "audio/speech", "acme/cut-mid")
    assert attempts(door, 1)[0].outcome != "ok"


def test_another_provider_answers_after_a_429(door: Door, fake: fakes.Upstream) -> None:
    """The limited provider's fallback, with both attempts recorded."""
    elsewhere = f"{fake.origin}/other/v1"
    other = door.serve("echo", name="Other", slug="other", base_url=elsewhere)
    limited = fake.fault("429-long")
    door.serve("echo", base_url=limited, provider_type="legacy").alternatives.add(other)
    replicas.publish("providers")
    wait_until(lambda: _route(door) == "other/direct")
    assert {each.outcome for each in attempts(door, 2)} >= {"rate_limit", "ok"}


def _route(door: Door) -> str:
    with door.raw() as client:
        return str(post(client, "embeddings", "acme/echo").headers.get("x-route", ""))


# OpenAI's package


def test_embeddings(door: Door, acme: Provider) -> None:
    """The package asks for base64 by itself, and for numbers where they are requested."""
    client = door.client()
    packed = client.embeddings.create(model="acme/echo", input=["one", "two"])
    plain = client.embeddings.create(model="acme/echo", input="one", encoding_format="float")
    assert [len(row.embedding) for row in packed.data] == [3, 3]
    assert packed.data[0].embedding == list(NUMBERS) == plain.data[0].embedding
    assert packed.usage.prompt_tokens == 7
    assert attempts(door, 2)[0].input_tokens == 7


def test_missing_usage_is_estimated(door: Door, fake: fakes.Upstream) -> None:
    """In the answer and in the record, and marked in both."""
    only_direct(door, fake, "no-usage")
    answer = door.client().embeddings.create(model="acme/no-usage", input="12345678")
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.model_extra == {"completion_tokens": 0, "estimated": True}
    (attempt,) = attempts(door, 1)
    assert (attempt.input_tokens, attempt.usage_estimated) == (2, True)


def test_streamed_completion(door: Door, acme: Provider, fake: fakes.Upstream) -> None:
    """Word by word; the suffix reaches the provider, and unknown fields of the answer return."""
    stream = door.client().completions.create(
        model="acme/echo", prompt="def f(", suffix="return x", stream=True
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "One two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra == {"x_kept": 1}
    assert fake.requests[-1].body["suffix"] == "return x"


def test_streamed_completion_ends_with_usage_where_requested(door: Door, acme: Provider) -> None:
    """Estimated, as the provider sent none."""
    *_, last = door.client().completions.create(
        model="acme/echo", prompt="1234", stream=True, stream_options={"include_usage": True}
    )
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (1, 4)
    assert last.usage.model_extra == {"estimated": True}


@pytest.mark.parametrize("behaviour", ["truncated", "error-mid"])
def test_a_stream_that_breaks_off_ends_with_an_error(
    door: Door, fake: fakes.Upstream, behaviour: str
) -> None:
    """And never with `[DONE]`."""
    only_direct(door, fake, behaviour)
    with door.raw() as client:
        answer = post(client, "completions", f"acme/{behaviour}", stream=True)
    assert '{"error":{' in answer.text
    assert "[DONE]" not in answer.text
    assert attempts(door, 1)[0].outcome != "ok"


def test_images_audio_and_moderation(door: Door, acme: Provider, fake: fakes.Upstream) -> None:
    """Images in base64, sound as bytes, a file on its way up."""
    client = door.client()
    picture = client.images.generate(model="acme/echo", prompt="a cat").data
    assert picture
    assert picture[0].b64_json == "iVBORw=="
    sound = client.audio.speech.create(model="acme/echo", input="Hello", voice="alloy")
    assert sound.read() == SOUND
    assert sound.response.headers["content-type"] == "audio/mpeg"
    file = ("a.wav", b"RIFF\x00\xff--boundary\r\n")
    assert client.audio.transcriptions.create(model="acme/echo", file=file).text == "One two three"
    assert "RIFF\x00\xff--boundary\r\n" in fake.requests[-1].body["raw"]
    text = client.audio.transcriptions.create(model="acme/echo", file=file, response_format="text")
    assert text == "One two three\n"
    assert not client.moderations.create(model="acme/echo", input="Hello").results[0].flagged


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.PermissionDeniedError),
        ("404-model", openai.NotFoundError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
    ],
)
def test_every_class_of_error(
    door: Door, fake: fakes.Upstream, behaviour: str, error: type[openai.APIStatusError]
) -> None:
    """In OpenAI's shape, with the attempts, and no key of the operator's."""
    address = fake.fault(behaviour)  # of its own: a limit is remembered with its address
    door.serve("echo", base_url=address, provider_type="legacy", routing_method="direct")
    with pytest.raises(error) as failed:
        door.client().embeddings.create(model="acme/echo", input="x")
    body: Any = failed.value.body
    assert body["attempts"]
    assert failed.value.response.headers["x-route"] == "acme/direct"
    assert fakes.KEY not in failed.value.response.text


# The model


def test_a_model_of_another_kind_is_refused(door: Door, acme: Provider) -> None:
    """With the endpoint that serves it, both ways."""
    facts = {"kind": "embedding", "sources": {"kind": "provider"}}
    door.serve("vectors", name="Second", slug="second", base_url=acme.base_url)
    LanguageModel.objects.filter(model_id="vectors").update(**facts)
    LanguageModel.objects.filter(model_id="echo").update(sources={"kind": "hand"})
    _reread(door, "second/vectors")
    with door.raw() as client:
        wrong = post(client, "rerank", "second/vectors")
        chat = client.post(
            "/chat/completions",
            json={"model": "second/vectors", "messages": [{"role": "user", "content": "x"}]},
        )
        embedded = post(client, "embeddings", "acme/echo")
    assert wrong.json()["error"]["code"] == "model_wrong_kind"
    assert "Use it at /v1/embeddings" in wrong.json()["error"]["message"]
    assert chat.json()["error"]["code"] == "model_not_chat"
    assert "/v1/chat/completions or /v1/completions" in embedded.json()["error"]["message"]
    assert {each.status_code for each in (wrong, chat, embedded)} == {400}


def _reread(door: Door, name: str) -> None:
    """Until the door knows the kinds of the models."""
    replicas.publish("providers")

    def is_known() -> bool:
        with door.raw() as client:
            return post(client, "rerank", name).status_code == 400

    wait_until(is_known)


# Routes that cannot carry a kind


def test_a_route_that_cannot_carry_it_is_skipped(door: Door, fake: fakes.Upstream) -> None:
    """Anthropic's API has no embeddings: the gateway answers, and no attempt has failed."""
    door.serve("echo", kind="anthropic", base_url=fake.url, gateway_endpoint=fake.url)
    with door.raw() as client:
        answer = post(client, "embeddings", "acme/echo")
    assert (answer.status_code, answer.headers["x-route"]) == (200, "acme/gateway")
    assert "Anthropic's API has no embeddings" in answer.headers["x-route-reason"]
    assert [each.outcome for each in attempts(door, 1)] == ["ok"]


def test_no_route_can_carry_it(door: Door, fake: fakes.Upstream) -> None:
    """A 404 that says why; nothing is called."""
    door.serve(
        "echo", kind="anthropic", base_url=fake.url, provider_type="legacy", fallback_enabled=False
    )
    with door.raw() as client:
        answer = post(client, "rerank", "acme/echo")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "endpoint_unsupported"
    assert not fake.requests


def test_a_missing_path_does_not_close_the_model(door: Door, fake: fakes.Upstream) -> None:
    """It is remembered for this endpoint alone: chats with the model go on."""
    only_direct(door, fake, "echo")
    fake.script("404-path", "echo")
    hello = [{"role": "user", "content": "Hello"}]
    with door.raw() as client:
        first = post(client, "moderations", "acme/echo")
        second = post(client, "moderations", "acme/echo")
        chat = client.post("/chat/completions", json={"model": "acme/echo", "messages": hello})
    assert first.json()["error"]["code"] == "endpoint_missing"
    assert second.json()["error"]["code"] == "endpoint_unsupported"
    assert chat.status_code == 200


# The client


def test_leaving_closes_the_providers_connection(door: Door, fake: fakes.Upstream) -> None:
    """Within a second, of an answer in one piece and of a stream."""
    only_direct(door, fake, "slow-50-100")
    with door.raw() as client:
        client.timeout = httpx.Timeout(0.5)
        with pytest.raises(httpx.ReadTimeout):
            post(client, "completions", "acme/slow-50-100")
    _wait_until_left(fake, time.monotonic())
    body = {"model": "acme/slow-50-100", "prompt": "x", "stream": True}
    with door.raw() as client, client.stream("POST", "/completions", json=body) as answer:
        assert next(answer.iter_lines()).startswith("data: {")
    _wait_until_left(fake, time.monotonic())
    wait_until(lambda: Attempt.objects.filter(outcome="stopped").count() == 2)


def _wait_until_left(fake: fakes.Upstream, left_at: float) -> None:
    wait_until(lambda: fake.requests[-1].disconnected_at)
    assert (fake.requests[-1].disconnected_at or 0) - left_at < 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_missing_field_is_named(door: Door, acme: Provider, endpoint: str) -> None:
    """Before any call."""
    with door.raw() as client:
        row = ENDPOINTS[endpoint]
        if row.is_multipart:
            answer = client.post(f"/{endpoint}", files={"model": (None, "acme/echo")})
        else:
            answer = client.post(f"/{endpoint}", json={"model": "acme/echo"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == row.required[0]


def test_an_idempotency_key_gives_the_same_answer(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    """One call for two requests, bytes among them."""
    with door.raw() as client:
        client.headers["Idempotency-Key"] = "sound"
        first, second = (post(client, "audio/speech", "acme/echo") for _ in range(2))
    assert first.content == second.content == SOUND
    assert second.headers["content-type"] == "audio/mpeg"
    assert len(fake.requests) == 1
