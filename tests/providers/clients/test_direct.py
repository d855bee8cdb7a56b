"""Direct calls to the fake upstream over real sockets, in both formats."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from providers.clients import direct
from providers.domain.errors import CallError, ErrorKind, TruncatedError
from providers.domain.redaction import redacted_errors
from providers.domain.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Kind,
    Method,
    ReasoningDelta,
    Target,
    TextDelta,
    Timeouts,
    ToolCallDelta,
    UsageReport,
)
from tests import fakes
from tests.polling import until

ASKED = ChatRequest(messages=(ChatMessage(role="user", content="hello wide world"),))
PATIENT = Timeouts(connect=2, first_token=5, silence=5, total=10)
KINDS = pytest.mark.parametrize("kind", list(Kind))


def target(fake: fakes.Upstream, model: str, kind: Kind = Kind.OPENAI, **changes: Any) -> Target:
    made = Target(
        method=Method.DIRECT,
        kind=kind,
        base_url=fake.url,
        api_key=fakes.KEY,
        model=model,
        timeouts=PATIENT,
    )
    return replace(made, **changes)


async def answer(to: Target, asked: ChatRequest = ASKED) -> list[ClientEvent]:
    async with aclosing(direct.stream(to, asked)) as reads:
        return [event async for events in reads for event in events]


async def failure(to: Target) -> tuple[CallError, str]:
    """The error, and the text that came before it."""
    said = ""
    async with aclosing(direct.stream(to, ASKED)) as reads:
        try:
            async for event in (event async for events in reads for event in events):
                said += event.text if isinstance(event, TextDelta) else ""
        except CallError as error:
            return error, said
    raise AssertionError("it did not fail")


def text(events: list[ClientEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@KINDS
@pytest.mark.parametrize("model", ["echo", "markdown", "long", "whole", "no-usage", "slow-20-2"])
async def test_the_answer_is_what_the_provider_said(
    fake: fakes.Upstream, model: str, kind: Kind
) -> None:
    """To the letter, streamed or whole, with its finish reason and its usage."""
    events = await answer(target(fake, model, kind))
    said = {"markdown": fakes.MARKDOWN, "long": fakes.long_text(), "slow-20-2": fakes.slow_text(20)}
    assert text(events) == said.get(model, "hello wide world")
    assert [e.reason for e in events if isinstance(e, Finish)] == ["stop"]
    usage = [e.usage for e in events if isinstance(e, UsageReport)]
    assert bool(usage) is (model != "no-usage") or kind == Kind.ANTHROPIC
    if model == "echo":
        assert (usage[-1].input_tokens, usage[-1].output_tokens) == (7, 3)


@KINDS
async def test_reasoning_and_tool_calls_come_as_such(fake: fakes.Upstream, kind: Kind) -> None:
    """Thoughts before the text; a call's arguments in pieces."""
    thinking = await answer(target(fake, "reasoning", kind))
    first = next(event for event in thinking if event.is_content)
    assert isinstance(first, ReasoningDelta)
    assert text(thinking) == "hello wide world"
    calling = await answer(target(fake, "tools", kind))
    calls = [event.call for event in calling if isinstance(event, ToolCallDelta)]
    arguments = "".join(call["function"].get("arguments", "") for call in calls)
    assert (calls[0]["function"]["name"], arguments[:9]) == ("get_weather", '{"city": ')
    assert [e.reason for e in calling if isinstance(e, Finish)] == ["tool_calls"]


@KINDS
@pytest.mark.parametrize(
    ("model", "kind_of_failure", "status", "code", "retry_after"),
    [
        ("401", ErrorKind.AUTH, 401, "", None),
        ("402", ErrorKind.QUOTA, 402, "", None),
        ("429", ErrorKind.RATE_LIMIT, 429, "", 2),
        ("500", ErrorKind.PROVIDER, 500, "", None),
        ("503", ErrorKind.OVERLOADED, 503, "", 1),
        ("400", ErrorKind.REQUEST, 400, "", None),
        ("html", ErrorKind.PROVIDER, 200, "html", None),
        ("garbage", ErrorKind.PROVIDER, None, "json", None),
        ("error-in-200", ErrorKind.PROVIDER, None, "", None),
        ("empty", ErrorKind.PROVIDER, None, "empty", None),
        ("reset", ErrorKind.NETWORK, None, "reset", None),
        ("truncated-at-once", ErrorKind.PROVIDER, None, "truncated", None),
    ],
)
async def test_a_failure_before_content_is_sorted(
    fake: fakes.Upstream,
    model: str,
    kind: Kind,
    kind_of_failure: ErrorKind,
    status: int | None,
    code: str,
    retry_after: float | None,
) -> None:
    """By status, code and shape, in both formats; with the wait that the provider asks for."""
    error, said = await failure(target(fake, model, kind))
    assert (error.kind, error.status, error.retry_after) == (kind_of_failure, status, retry_after)
    assert not code or error.code == code
    assert said == ""


@KINDS
@pytest.mark.parametrize(
    ("model", "kind_of_failure", "code"),
    [
        ("cut-mid", ErrorKind.NETWORK, ("cut", "reset")),
        ("truncated", ErrorKind.PROVIDER, ("truncated",)),
        ("error-mid", ErrorKind.PROVIDER, ("server_error", "api_error")),
        ("stall-mid", ErrorKind.TIMEOUT, ("silence_timeout",)),
    ],
)
async def test_a_break_after_content_keeps_what_was_said(
    fake: fakes.Upstream, model: str, kind: Kind, kind_of_failure: ErrorKind, code: tuple[str, ...]
) -> None:
    """An end without a finish reason is never a good one, even where `[DONE]` came."""
    times = replace(PATIENT, silence=0.2)
    error, said = await failure(target(fake, model, kind, timeouts=times))
    assert (error.kind, error.code in code) == (kind_of_failure, True)
    assert isinstance(error, TruncatedError) is (model == "truncated")
    assert said == "One two three"


@pytest.mark.parametrize(
    ("model", "times", "code"),
    [
        ("stall-headers", replace(PATIENT, first_token=0.2), "first_token_timeout"),
        ("stall-first", replace(PATIENT, first_token=0.2), "first_token_timeout"),
        ("stall-first", replace(PATIENT, total=0.2), "total_timeout"),
        # A slow drip never falls silent: only the total ends it.
        ("slow-500-20", replace(PATIENT, silence=0.5, total=0.4), "total_timeout"),
    ],
)
async def test_each_patience_ends_in_its_own_code(
    fake: fakes.Upstream, model: str, times: Timeouts, code: str
) -> None:
    """And the socket is closed with it."""
    error, _ = await failure(target(fake, model, timeouts=times))
    assert (error.kind, error.code) == (ErrorKind.TIMEOUT, code)
    await until(lambda: fake.requests[0].disconnected_at)


async def test_signs_of_life_without_an_answer_have_an_end() -> None:
    """Comments for ever are silence all the same."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    word = b'data: {"choices": [{"index": 0, "delta": {"content": "One"}}]}\n\n'

    async def ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + word)
        with suppress(ConnectionError):
            while True:
                writer.write(b": still here\n\n")
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(ping, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        aim = Target(
            method=Method.DIRECT,
            kind=Kind.OPENAI,
            base_url=f"http://127.0.0.1:{port}",
            api_key="",
            model="m",
            timeouts=replace(PATIENT, silence=0.3),
        )
        error, said = await failure(aim)
    assert (error.kind, error.code, said) == (ErrorKind.TIMEOUT, "silence_timeout", "One")


async def test_a_byte_order_mark_before_the_json_is_none_of_the_answer(
    fake: fakes.Upstream,
) -> None:
    """Some servers write one."""
    async with aclosing(direct.stream(target(fake, "marked"), ASKED)) as reads:
        events = [event async for read in reads for event in read]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "OK"


async def test_an_endpoint_that_refuses_says_so_at_once(fake: fakes.Upstream) -> None:
    """Nothing was sent."""
    error, _ = await failure(
        target(fake, "echo", base_url=f"http://127.0.0.1:{fakes.refusing_port()}/v1")
    )
    assert (error.kind, error.code, error.sent) == (ErrorKind.NETWORK, "connect_refused", False)


async def test_leaving_closes_the_upstreams_socket(fake: fakes.Upstream) -> None:
    """As soon as the generator is closed, in the middle of the answer."""
    async with aclosing(direct.stream(target(fake, "slow-500-20"), ASKED)) as events:
        await anext(events)
    await until(lambda: fake.requests[0].disconnected_at)


@pytest.mark.parametrize(
    ("model", "is_waiting"),
    [
        ("stall-headers", lambda record: True),
        ("stall-first", lambda record: record.has_headers),
        ("stall-mid", lambda record: record.written),
    ],
)
async def test_cancelling_closes_the_upstreams_socket(
    fake: fakes.Upstream, model: str, is_waiting: Callable[[fakes.Record], object]
) -> None:
    """Wherever the call was waiting."""
    task = asyncio.create_task(answer(target(fake, model)))
    await until(lambda: fake.requests and is_waiting(fake.requests[0]))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: fake.requests[0].disconnected_at)


async def test_zai_answers_on_the_coding_address_alone(fake: fakes.Upstream) -> None:
    """The general address says 429 and means quota, by code 1113."""
    general = target(fake, "zai", base_url=f"{fake.origin}/api/paas/v4")
    error, _ = await failure(general)
    assert (error.kind, error.status, error.code) == (ErrorKind.QUOTA, 429, "1113")
    coding = target(fake, "zai", base_url=f"{fake.origin}/api/coding/paas/v4/")
    assert text(await answer(coding)) == "hello wide world"


@KINDS
async def test_the_key_goes_out_once_and_comes_back_never(fake: fakes.Upstream, kind: Kind) -> None:
    """A pasted line end is taken off; the provider's own headers win, however they are spelled."""
    await answer(target(fake, "echo", kind, api_key=f"{fakes.KEY}\n", headers={"X-Team": "blue"}))
    sent = {name.lower(): value for name, value in fake.requests[0].headers.items()}
    assert (fake.requests[0].authorized, sent["x-team"]) == (True, "blue")
    secret = "sk-very-secret"
    error, _ = await failure(target(fake, "echo", kind, api_key=secret))
    assert error.kind == ErrorKind.AUTH
    own = {"authorization": f"Bearer {fakes.KEY}", "X-API-KEY": fakes.KEY}
    assert text(await answer(target(fake, "echo", kind, api_key=secret, headers=own)))


def test_a_key_that_an_upstream_repeats_is_hidden(fake: fakes.Upstream) -> None:
    """Some say which key was wrong."""
    to = target(fake, "echo", api_key="sk-repeated", headers={"X-Token": "tok-repeated"})
    with pytest.raises(CallError) as caught, redacted_errors(to):
        raise CallError(ErrorKind.AUTH, "Wrong key sk-repeated with tok-repeated.")
    assert caught.value.message == str(caught.value) == "Wrong key [hidden] with [hidden]."


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"llm_provider-retry-after": "4"}, 4),
    ],
)
def test_retry_after_is_read_as_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """Also under the name that a LiteLLM proxy gives it."""
    assert direct.error_of_response(429, httpx.Headers(headers), "").retry_after == seconds


@pytest.mark.parametrize(("away", "seconds"), [(60, 60), (-3600, 0)])
def test_retry_after_is_read_as_a_date(away: float, seconds: float) -> None:
    """A date in the past means now."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=away))
    found = direct.error_of_response(429, httpx.Headers({"Retry-After": date}), "").retry_after
    assert found == pytest.approx(seconds, abs=3)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (404, "<!DOCTYPE html><h1>Not found</h1>", ErrorKind.PROVIDER, "html"),
        (403, "<html>Attention required</html>", ErrorKind.PROVIDER, "html"),
        (503, "\n <html>Busy</html>", ErrorKind.OVERLOADED, "html"),
        (302, "", ErrorKind.REQUEST, "redirect"),
        (500, "plain words", ErrorKind.PROVIDER, ""),
        (500, "", ErrorKind.PROVIDER, ""),
        (400, '[{"error": {"code": 400, "message": "API key not valid"}}]', ErrorKind.REQUEST, ""),
        (400, "[" * 100_000, ErrorKind.REQUEST, ""),
        (401, '{"detail": "nope"}', ErrorKind.AUTH, ""),
    ],
)
def test_a_refusal_of_any_shape_has_a_sentence(
    status: int, body: str, kind: ErrorKind, code: str
) -> None:
    """Pages are never shown; what says nothing gets words of ours."""
    error = direct.error_of_response(status, httpx.Headers(), body)
    assert (error.kind, error.code, error.status) == (kind, code, status)
    assert error.message
    assert "<" not in error.message


@KINDS
async def test_models_are_listed(fake: fakes.Upstream, kind: Kind) -> None:
    """With the key, as the provider orders them."""
    found = await direct.list_models(target(fake, "", kind))
    assert [model.model_id for model in found] == fake.models
    with pytest.raises(CallError) as caught:
        await direct.list_models(target(fake, "", kind, api_key="wrong"))
    assert caught.value.kind == ErrorKind.AUTH


async def test_200_streams_at_once_are_all_read(fake: fakes.Upstream) -> None:
    """On one event loop: they share it, so all of them are open at the same time."""
    times = replace(PATIENT, connect=60, first_token=60, total=60)
    to = replace(target(fake, "slow-50-20"), timeouts=times)
    calls = [asyncio.create_task(answer(to)) for _ in range(200)]
    await until(lambda: len(fake.requests) == 200)
    assert not any(call.done() for call in calls)
    answers = await asyncio.gather(*calls)
    assert {text(events) for events in answers} == {fakes.slow_text(50)}
