"""Responses as OpenAI's own package sees them: text, tools, structured output, state, errors."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import openai
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pydantic import BaseModel

from api.keys.lifecycle import issue_key
from api.models import StoredResponse
from api.responses.store import delete_expired
from providers.infra import feature_flags
from providers.models import FlagSetting, Provider
from tests import fakes
from tests.api.conftest import Door
from tests.polling import wait_until
from tests.upstreams.plans import REASONING, TOOL

HELLO = "Hello there, café"
TOOLS: Any = [{"type": "function", "name": TOOL[1], "parameters": {"type": "object"}}]


@pytest.fixture
def serve(door: Door, fake: fakes.Upstream) -> Callable[..., Provider]:
    """A provider with one route that leads to the fake."""

    def serve(*models: str, **fields: Any) -> Provider:
        values = {"base_url": fake.url, "routing_method": "direct", "fallback_enabled": False}
        return door.serve(*models, **values | fields)

    return serve


def test_a_response(door: Door, acme: Provider) -> None:
    response = door.client().responses.create(model="acme/echo", input=HELLO)
    assert response.output_text == HELLO
    assert (response.status, response.model, response.object) == ("completed", "echo", "response")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 3)


def test_a_stream(door: Door, acme: Provider) -> None:
    """Its events arrive in the order that the package demands, numbered without a gap."""
    with door.client().responses.stream(model="acme/echo", input=HELLO) as stream:
        events = list(stream)
        response = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert all(e.sequence_number == n for e, n in zip(events, count(), strict=False))
    assert response.output_text == HELLO


def test_the_headers_name_the_route_and_what_was_dropped(door: Door, acme: Provider) -> None:
    """As Codex sends it; the answer comes all the same."""
    answer = door.client().responses.with_raw_response.create(
        model="acme/echo",
        input=HELLO,
        include=["reasoning.encrypted_content"],
        tools=[*TOOLS, {"type": "web_search"}],
        prompt_cache_key="k",
        extra_body={"client_metadata": {"a": "b"}},
    )
    dropped = "client_metadata, include, prompt_cache_key, tools.web_search"
    assert answer.headers["x-dropped-fields"] == dropped
    assert (answer.headers["x-route"], answer.headers["x-attempts"]) == ("acme/direct", "1")
    assert answer.headers["x-request-id"]
    assert answer.parse().output_text == HELLO


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_tools_there_and_back(
    door: Door, fake: fakes.Upstream, serve: Callable[..., Provider], streamed: bool, kind: str
) -> None:
    """The call comes as an item, and its result goes up beside it."""
    serve("tools", "echo", kind=kind)
    options: Any = {"model": "acme/tools", "input": HELLO, "tools": TOOLS}
    if streamed:
        with door.client().responses.stream(**options) as stream:
            response = stream.get_final_response()
    else:
        response = door.client().responses.create(**options)
    call = response.output[-1]
    assert call.type == "function_call"
    assert (call.call_id, call.name) == TOOL[:2]
    assert json.loads(call.arguments) == json.loads(TOOL[2])
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "4 °C"}
    door.client().responses.create(
        model="acme/echo",
        previous_response_id=response.id,
        input=[result],  # type: ignore[list-item]
        tools=TOOLS,
    )
    sent = json.dumps(fake.requests[-1].body["messages"], ensure_ascii=False)
    assert HELLO in sent
    assert sent.index(HELLO) < sent.index(TOOL[1]) < sent.index("4 °C")


def test_structured_output(
    door: Door, serve: Callable[..., Provider], fake: fakes.Upstream
) -> None:
    """The schema reaches the provider, and the package parses the answer."""

    class City(BaseModel):
        city: str

    serve("echo")
    response = door.client().responses.parse(
        model="acme/echo", input='{"city": "Reykjavík"}', text_format=City
    )
    assert response.output_parsed == City(city="Reykjavík")
    sent = fake.requests[-1].body["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "City")


@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_summary_of_the_reasoning_comes_only_where_it_was_requested(
    door: Door, serve: Callable[..., Provider], summary: Any
) -> None:
    serve("reasoning")
    reasoning: Any = {"effort": "high", "summary": summary}
    response = door.client().responses.create(
        model="acme/reasoning", input=HELLO, reasoning=reasoning
    )
    thoughts = [item.summary[0].text for item in response.output if item.type == "reasoning"]
    assert thoughts == ([REASONING] if summary else [])
    assert response.output_text == HELLO


def test_usage_that_was_not_reported_is_marked_as_an_estimate(
    door: Door, serve: Callable[..., Provider]
) -> None:
    serve("no-usage")
    usage = door.client().responses.create(model="acme/no-usage", input=HELLO).usage
    assert usage is not None
    assert (usage.output_tokens > 0, usage.model_extra) == (True, {"estimated": True})


def test_a_response_is_continued_read_and_deleted(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    responses = door.client().responses
    first = responses.create(model="acme/echo", input=HELLO, instructions="Only the first time.")
    second = responses.create(model="acme/echo", input="And?", previous_response_id=first.id)
    assert [(m["role"], m["content"]) for m in fake.requests[-1].body["messages"]] == [
        ("user", HELLO),
        ("assistant", HELLO),
        ("user", "And?"),
    ]
    assert second.previous_response_id == first.id
    assert responses.retrieve(first.id).output_text == HELLO
    responses.delete(first.id)
    for call in (responses.retrieve, responses.delete):
        with pytest.raises(openai.NotFoundError, match=first.id):
            call(first.id)
    with pytest.raises(openai.NotFoundError, match="Previous response with id"):
        responses.create(model="acme/echo", input="And?", previous_response_id=first.id)
    # The second one holds the conversation by itself.
    responses.create(model="acme/echo", input="So?", previous_response_id=second.id)
    assert [m["content"] for m in fake.requests[-1].body["messages"]] == [
        *(HELLO, HELLO, "And?", "And?", "So?")
    ]


def test_an_item_is_named_by_its_id(door: Door, acme: Provider, fake: fakes.Upstream) -> None:
    """As the AI SDK does with what was stored."""
    responses = door.client().responses
    item_id = responses.create(model="acme/echo", input=HELLO).output[0].id
    named: Any = [{"type": "item_reference", "id": item_id}, {"role": "user", "content": "And?"}]
    responses.create(model="acme/echo", input=named)
    assert [m["role"] for m in fake.requests[-1].body["messages"]] == ["assistant", "user"]
    named[0]["id"] = "msg_of_nobody"
    with pytest.raises(openai.NotFoundError, match="msg_of_nobody"):
        responses.create(model="acme/echo", input=named)


def test_nobody_reaches_the_response_of_another_user(door: Door, acme: Provider) -> None:
    response = door.client().responses.create(model="acme/echo", input=HELLO)
    _, secret = issue_key(User.objects.create_user("bob"), "bob's")
    stranger = door.client(secret).responses
    wait_until(lambda: _knows(door, secret))
    with pytest.raises(openai.NotFoundError):
        stranger.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        stranger.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        stranger.create(model="acme/echo", input="And?", previous_response_id=response.id)
    named: Any = [{"type": "item_reference", "id": response.output[0].id}]
    with pytest.raises(openai.NotFoundError):
        stranger.create(model="acme/echo", input=named)


def _knows(door: Door, secret: str) -> bool:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{door.url}/models", headers=headers).status_code == 200


def test_a_follower_fails_with_the_numbers_of_the_events_that_it_got(
    door: Door, serve: Callable[..., Provider], fake: fakes.Upstream
) -> None:
    """Of two requests with one key the second reads what the first one's call brings."""
    serve("slow-500-20")
    body = {"model": "acme/slow-500-20", "input": HELLO, "stream": True}
    options: Any = {"json": body, "headers": {"Idempotency-Key": "one"}}
    with door.raw() as client, client.stream("POST", "/responses", **options) as first:
        lines = [first.iter_lines()]
        next(lines[0])
        with client.stream("POST", "/responses", **options) as second:
            lines.append(second.iter_lines())
            next(lines[1])
            fake.stop()
            texts = [list(each) for each in lines]
    assert len(fake.requests) == 1
    for text in texts:
        payloads = [json.loads(line[6:]) for line in text if line.startswith("data: ")]
        assert [payload["type"] for payload in payloads[-2:]] == ["error", "response.failed"]
        assert [payload["sequence_number"] for payload in payloads] == list(range(len(payloads)))
        assert payloads[-1]["response"]["id"] == payloads[0]["response"]["id"]


@pytest.mark.parametrize("bad", ["\0", "\ud800", "x" * 300])
def test_an_id_that_no_response_can_have_is_not_found(door: Door, acme: Provider, bad: str) -> None:
    """Wherever it stands."""
    reference = {"type": "item_reference", "id": bad}
    bodies: list[dict[str, Any]] = [
        {"previous_response_id": bad, "input": HELLO},
        {"input": [reference]},
    ]
    with door.raw() as client:
        answers = [
            client.post("/responses", content=json.dumps({"model": "acme/echo", **body}))
            for body in bodies
        ]
        path = "/responses/" + quote(bad, errors="replace")
        answers += [client.get(path), client.delete(path)]
    assert [answer.status_code for answer in answers] == [404] * 4


def test_what_is_stored_is_encrypted_and_deleted_in_time(door: Door, acme: Provider) -> None:
    door.client().responses.create(model="acme/echo", input=HELLO)
    row = StoredResponse.objects.get(user=door.user)
    assert HELLO in json.loads(row.content)["response"]["output"][0]["content"][0]["text"]
    raw = StoredResponse.objects.extra(select={"raw": "content"}).values_list("raw", flat=True)
    assert "Hello" not in raw[0]
    assert delete_expired(timezone.now() + timedelta(days=29)) == 0
    assert delete_expired(timezone.now() + timedelta(days=31)) == 1


def test_a_caller_or_the_operator_may_forgo_storing(door: Door, acme: Provider) -> None:
    responses = door.client().responses
    assert responses.create(model="acme/echo", input=HELLO, store=False).model_extra == {
        "store": False
    }
    FlagSetting.objects.create(name="store_responses", enabled=False)
    wait_until(lambda: not _is_stored(door))
    StoredResponse.objects.all().delete()
    assert not _is_stored(door)
    assert not StoredResponse.objects.exists()


def _is_stored(door: Door) -> bool:
    response = door.client().responses.create(model="acme/echo", input=HELLO)
    return bool((response.model_extra or {})["store"])


def test_an_answer_that_breaks_off_fails(door: Door, serve: Callable[..., Provider]) -> None:
    """Never a response that looks finished; clients read the error, or the failed response."""
    serve("cut-mid")
    kinds: list[str] = []
    stream = door.client().responses.create(model="acme/cut-mid", input=HELLO, stream=True)
    with pytest.raises(openai.APIError) as raised:
        kinds.extend(event.type for event in stream)
    assert raised.value.code
    assert kinds[0] == "response.created"
    assert "response.completed" not in kinds
    with door.raw() as raw:
        body = {"model": "acme/cut-mid", "input": HELLO, "stream": True}
        text = raw.post("/responses", json=body).text
    payloads = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [p["type"] for p in payloads[-2:]] == ["error", "response.failed"]
    assert [p["sequence_number"] for p in payloads] == list(range(len(payloads)))
    assert payloads[-1]["response"]["status"] == "failed"
    assert not StoredResponse.objects.exists()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "acme/echo"}, "input"),
        ({"model": "acme/echo", "input": []}, "input"),
        ({"input": "hi"}, "model"),
        ({"model": "acme/echo", "input": [{"role": "nobody", "content": "hi"}]}, "input[0].role"),
        ({"model": "acme/echo", "input": "hi", "max_output_tokens": 0}, "max_output_tokens"),
        ({"model": "acme/echo", "input": "hi", "tools": [{"type": "function"}]}, "tools.name"),
        ({"model": "acme/ecko", "input": "hi"}, "model"),
    ],
)
def test_a_wrong_field_is_named(
    door: Door, acme: Provider, body: dict[str, Any], param: str
) -> None:
    with door.raw() as raw:
        answer = raw.post("/responses", json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("field", ["background", "conversation", "prompt"])
def test_what_would_change_the_answer_is_refused(door: Door, acme: Provider, field: str) -> None:
    with door.raw() as raw:
        answer = raw.post("/responses", json={"model": "acme/echo", "input": "hi", field: "x"})
    assert (answer.status_code, field in answer.json()["error"]["message"]) == (400, True)


def test_a_wrong_key_is_refused(door: Door, acme: Provider) -> None:
    with pytest.raises(openai.AuthenticationError):
        door.client("ocw-wrong").responses.create(model="acme/echo", input=HELLO)
    with pytest.raises(openai.AuthenticationError):
        door.client("ocw-wrong").responses.retrieve("resp_1")


def test_the_flag_is_in_the_registry() -> None:
    """On by default, as OpenAI's own API stores."""
    assert feature_flags.state("store_responses") == (True, "default")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.PermissionDeniedError),
        ("500", openai.InternalServerError),
        ("429", openai.RateLimitError),
    ],
)
def test_a_failure_is_the_error_that_the_package_knows(
    door: Door,
    serve: Callable[..., Provider],
    fake: fakes.Upstream,
    status: str,
    error: type[openai.APIStatusError],
) -> None:
    serve("echo", base_url=fake.fault(status))
    with pytest.raises(error) as raised:
        door.client().responses.create(model="acme/echo", input=HELLO)
    assert raised.value.body["attempts"]  # type: ignore[index]
