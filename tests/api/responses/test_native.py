"""A provider with OpenAI's Responses API gets the request as it came."""

import json
from typing import Any

import openai
import pytest

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.upstreams.plans import TOOL

HELLO = "Hello there, café"


@pytest.fixture
def native(door: Door, fake: fakes.Upstream) -> Provider:
    """Its preset says that it takes Responses; its other route is none."""
    models = ("echo", "tools", "cut-mid", "whole")
    return door.serve(
        *models,
        base_url=fake.url,
        preset="openai",
        routing_method="direct",
        fallback_enabled=False,
    )


def test_a_body_passes_with_every_field(door: Door, native: Provider, fake: fakes.Upstream) -> None:
    """All but the model's name: hosted tools, fields that we do not know."""
    options: Any = {
        "tools": [{"type": "web_search"}],
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "extra_body": {"client_metadata": {"a": "b"}},
    }
    answer = door.client().responses.with_raw_response.create(
        model="acme/echo", input=HELLO, **options
    )
    assert (answer.parse().output_text, answer.parse().model) == (HELLO, "echo")
    assert "x-dropped-fields" not in answer.headers
    sent = fake.requests[-1]
    assert sent.path == "/v1/responses"
    sent.body.pop("stream")  # every call is streamed, whatever its caller reads
    assert sent.body == {
        "model": "echo",
        "input": HELLO,
        "tools": [{"type": "web_search"}],
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "client_metadata": {"a": "b"},
    }


@pytest.mark.parametrize("model", ["echo", "whole"])
def test_a_stream_is_passed_on_to_its_last_event(door: Door, native: Provider, model: str) -> None:
    """Once, also where the provider answers in one piece."""
    stream = door.client().responses.create(model=f"acme/{model}", input=HELLO, stream=True)
    events = list(stream)
    ended = [event for event in events if event.type == "response.completed"]
    assert len(ended) == 1
    assert events[-1] == ended[0]
    assert ended[0].response.output_text == HELLO
    assert ended[0].response.model == model
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(events)))


def test_tools_and_the_conversation_are_sent_in_full(
    door: Door, native: Provider, fake: fakes.Upstream
) -> None:
    """The provider is never given the id of a response: it does not know whose it is."""
    responses = door.client().responses
    first = responses.create(model="acme/tools", input=HELLO)
    call = first.output[-1]
    assert call.type == "function_call"
    assert (call.call_id, call.name) == TOOL[:2]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "4 °C"}
    second = responses.create(model="acme/echo", input=[result], previous_response_id=first.id)
    sent = fake.requests[-1].body
    assert "previous_response_id" not in sent
    kinds = [item.get("type") for item in sent["input"]]
    assert kinds == ["message", "function_call", "function_call_output"]
    assert second.previous_response_id == first.id
    assert responses.retrieve(first.id).output == first.output


def test_a_stream_that_breaks_off_fails_with_the_next_number(door: Door, native: Provider) -> None:
    with door.raw() as raw:
        body = {"model": "acme/cut-mid", "input": HELLO, "stream": True}
        text = raw.post("/responses", json=body).text
    payloads = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [p["type"] for p in payloads[-2:]] == ["error", "response.failed"]
    assert [p["sequence_number"] for p in payloads] == list(range(len(payloads)))
    assert payloads[-1]["response"]["id"] == payloads[0]["response"]["id"]


def test_a_refusal_is_the_providers_own(door: Door, native: Provider, fake: fakes.Upstream) -> None:
    fake.script(*["400"] * 3)
    with pytest.raises(openai.BadRequestError):
        door.client().responses.create(model="acme/echo", input=HELLO)
