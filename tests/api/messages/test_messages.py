"""Messages as Anthropic's own package sees them: text, tools, thinking, usage, errors."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import pytest

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.upstreams.plans import REASONING, TOOL

HELLO: Any = [{"role": "user", "content": "Hello there, café"}]
TOOLS: Any = [{"name": TOOL[1], "input_schema": {"type": "object"}}]


def client(door: Door, secret: str = "") -> anthropic.Anthropic:
    """The package adds `/v1` to the address, sends `x-api-key`, and does not retry here."""
    return anthropic.Anthropic(
        base_url=door.site.url, api_key=secret or door.secret, max_retries=0, timeout=20
    )


@pytest.fixture
def serve(door: Door, fake: fakes.Upstream) -> Callable[..., Provider]:
    """A provider with one route that leads to the fake."""

    def serve(*models: str) -> Provider:
        return door.serve(
            *models, base_url=fake.url, routing_method="direct", fallback_enabled=False
        )

    return serve


def test_a_message(door: Door, acme: Provider) -> None:
    message = client(door).messages.create(model="acme/echo", max_tokens=50, messages=HELLO)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == "Hello there, café"  # type: ignore[union-attr]
    assert (message.stop_reason, message.model) == ("end_turn", "echo")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)


def test_a_stream(door: Door, acme: Provider) -> None:
    """Its events arrive in the order that the package demands."""
    with client(door).messages.stream(model="acme/echo", max_tokens=50, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Hello there, café"
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(
    door: Door, fake: fakes.Upstream, serve: Callable[..., Provider], streamed: bool
) -> None:
    serve("tools")
    messages = client(door).messages
    options: Any = {"model": "acme/tools", "max_tokens": 50, "messages": HELLO, "tools": TOOLS}
    if streamed:
        with messages.stream(**options) as stream:
            message = stream.get_final_message()
    else:
        message = messages.create(**options)
    block = message.content[-1]
    assert block.type == "tool_use"
    assert (block.id, block.name, block.input) == (*TOOL[:2], json.loads(TOOL[2]))
    assert message.stop_reason == "tool_use"
    sent = fake.requests[-1].body["tools"][0]
    assert sent["function"] == {"name": TOOL[1], "parameters": {"type": "object"}}


@pytest.mark.parametrize("thinking", [False, True])
def test_thoughts_come_only_where_they_were_requested(
    door: Door, serve: Callable[..., Provider], thinking: bool
) -> None:
    serve("reasoning")
    options: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if thinking else {}
    message = client(door).messages.create(
        model="acme/reasoning", max_tokens=2000, messages=HELLO, **options
    )
    thoughts = [block.thinking for block in message.content if block.type == "thinking"]
    assert thoughts == ([REASONING] if thinking else [])


def test_fields_that_no_upstream_takes_are_named(door: Door, acme: Provider) -> None:
    """As Claude Code sends them; the answer comes all the same."""
    answer = client(door).messages.with_raw_response.create(
        model="acme/echo",
        max_tokens=50,
        messages=HELLO,
        extra_body={"context_management": {"edits": []}, "top_k": 5},
    )
    assert answer.headers["x-dropped-fields"] == "context_management, top_k"
    assert answer.headers["x-route"] == "acme/direct"
    assert answer.parse().content


def test_tokens_are_counted_without_a_call(
    door: Door, acme: Provider, fake: fakes.Upstream
) -> None:
    calls = len(fake.requests)
    count = client(door).messages.count_tokens(
        model="acme/echo", messages=[{"role": "user", "content": "x" * 400}]
    )
    assert count.input_tokens == 100
    assert len(fake.requests) == calls


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400", anthropic.BadRequestError),
        ("401", anthropic.PermissionDeniedError),
        ("500", anthropic.InternalServerError),
        ("429", anthropic.RateLimitError),
    ],
)
def test_a_failure_is_the_error_that_the_package_knows(
    door: Door,
    serve: Callable[..., Provider],
    fake: fakes.Upstream,
    status: str,
    error: type[anthropic.APIStatusError],
) -> None:
    serve("echo")
    fake.script(*[status] * 5)
    with pytest.raises(error) as raised:
        client(door).messages.create(model="acme/echo", max_tokens=50, messages=HELLO)
    assert raised.value.body["type"] == "error"  # type: ignore[index]


def test_an_answer_that_breaks_off_is_an_error_event(
    door: Door, serve: Callable[..., Provider]
) -> None:
    """Never a message that looks finished."""
    serve("cut-mid")
    with (
        pytest.raises(anthropic.APIStatusError),
        client(door).messages.stream(model="acme/cut-mid", max_tokens=50, messages=HELLO) as stream,
    ):
        stream.get_final_message()


def test_a_wrong_key_and_a_wrong_model_are_errors(door: Door, acme: Provider) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        client(door, "ocw-wrong").messages.create(model="m", max_tokens=1, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError, match="acme/echo"):
        client(door).messages.create(model="acme/ecko", max_tokens=1, messages=HELLO)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"model": "acme/echo", "messages": []}', "max_tokens"),
        (b'{"model": "acme/echo", "max_tokens": 5, "messages": []}', "messages"),
    ],
)
def test_a_wrong_field_is_named(door: Door, acme: Provider, body: bytes, message: str) -> None:
    with door.raw() as raw:
        answer: httpx.Response = raw.post("/messages?beta=true", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]


def test_the_key_is_taken_as_a_bearer_token_too(door: Door, acme: Provider) -> None:
    """As Claude Code sends it with ANTHROPIC_AUTH_TOKEN."""
    bearer = anthropic.Anthropic(base_url=door.site.url, auth_token=door.secret, max_retries=0)
    assert bearer.messages.create(model="acme/echo", max_tokens=5, messages=HELLO).content


def test_a_body_passes_natively_to_a_provider_of_the_same_format(
    door: Door, fake: fakes.Upstream
) -> None:
    """All but the model's name: cache marks, fields that we do not know, and beta headers."""
    native(door, fake)
    system: Any = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    answer = client(door).messages.with_raw_response.create(
        model="acme/echo",
        max_tokens=50,
        messages=HELLO,
        system=system,
        extra_body={"context_management": {"edits": []}},
        extra_headers={"anthropic-beta": "context-management-2025-06-27"},
    )
    message = answer.parse()
    assert message.content[0].text == "Hello there, café"  # type: ignore[union-attr]
    assert (message.model, "x-dropped-fields" in answer.headers) == ("echo", False)
    sent = fake.requests[-1]
    assert sent.body["system"] == system
    assert sent.body["context_management"] == {"edits": []}
    assert sent.headers["anthropic-beta"] == "context-management-2025-06-27"


def test_a_native_stream_is_passed_on_to_its_last_event(door: Door, fake: fakes.Upstream) -> None:
    native(door, fake)
    with client(door).messages.stream(model="acme/echo", max_tokens=50, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert message.content[0].text == "Hello there, café"  # type: ignore[union-attr]
    assert (kinds[0], kinds.count("message_stop")) == ("message_start", 1)


def test_what_cannot_be_translated_is_refused_with_its_field(door: Door, acme: Provider) -> None:
    """Without it the answer would be another."""
    content: Any = [{"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}}]
    with pytest.raises(anthropic.BadRequestError, match="server_tool_use"):
        client(door).messages.create(
            model="acme/echo",
            max_tokens=50,
            messages=[*HELLO, {"role": "assistant", "content": content}],
        )


def native(door: Door, fake: fakes.Upstream) -> Provider:
    """A provider whose one route speaks Anthropic's format."""
    return door.serve(
        "echo",
        base_url=fake.url,
        kind="anthropic",
        routing_method="direct",
        fallback_enabled=False,
    )


def test_a_stream_that_waits_sends_pings(door: Door, serve: Callable[..., Provider]) -> None:
    """The package skips them, also before the message begins."""
    serve("late-1500")
    with door.raw() as raw:
        body = {"model": "acme/late-1500", "max_tokens": 50, "messages": HELLO, "stream": True}
        text = raw.post("/messages", json=body).text
    assert text.startswith('event: ping\ndata: {"type": "ping"}\n\n')
    assert "keep-alive" not in text
    with client(door).messages.stream(
        model="acme/late-1500", max_tokens=50, messages=HELLO
    ) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


def test_usage_that_was_not_reported_is_marked_as_an_estimate(
    door: Door, serve: Callable[..., Provider]
) -> None:
    serve("no-usage")
    message = client(door).messages.create(model="acme/no-usage", max_tokens=50, messages=HELLO)
    assert (message.usage.model_extra or {})["estimated"] is True


def test_a_probe_of_the_address_is_no_redirect(door: Door) -> None:
    """As Claude Code does before its first request."""
    answer = httpx.head(f"{door.site.url}/", trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.get(f"{door.site.url}/", trust_env=False).status_code == 302
