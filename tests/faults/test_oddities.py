"""Answers in an odd form over both routes: what the vendor meant is what the caller gets."""

import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.clients import http, methods
from providers.domain.errors import CallError
from providers.domain.types import (
    Finish,
    Kind,
    LateError,
    Method,
    ReasoningDelta,
    Target,
    TextDelta,
    Timeouts,
    Upstream,
)
from providers.models import Provider, Purpose
from providers.protocols.gather import Gatherer
from providers.router import route_table, router
from tests import fakes
from tests.faults.asking import QUESTION, make_call
from tests.upstreams.fixtures import GatewayProcess
from tests.upstreams.oddities import ODDITIES, Oddity

MakeProvider = Callable[..., Provider]


def target(fake: fakes.Upstream, model: str) -> Target:
    return Target(
        method=Method.DIRECT,
        kind=ODDITIES[model].kind_of_format,
        base_url=fake.url,
        api_key=fakes.KEY,
        model=model,
        splits_reasoning=True,
        timeouts=Timeouts(connect=5, first_token=20, silence=20, total=60),
    )


@dataclass(slots=True)
class Received:
    """All that came of one call."""

    text: str = ""
    reasoning: str = ""
    finish: Finish | None = None
    late: LateError | None = None
    error: CallError | None = None
    gatherer: Gatherer = field(default_factory=Gatherer)

    @property
    def message(self) -> dict[str, Any]:
        choices = self.gatherer.answer()["choices"]
        return choices[0]["message"] if choices else {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.message.get("tool_calls", [])
        return calls


async def received(target: Target, *, whole: bool) -> Received:
    found = Received()
    try:
        async with aclosing(
            methods.stream_events(target, replace(QUESTION, non_streaming=whole))
        ) as events:
            async for event in events:
                found.gatherer.take(event)
                match event:
                    case TextDelta():
                        found.text += event.text
                    case ReasoningDelta():
                        found.reasoning += event.text
                    case Finish():
                        found.finish = event
                    case LateError():
                        found.late = event
    except CallError as error:
        found.error = error
    finally:
        await http.close()
    return found


def compare(found: Received, expected: Oddity) -> None:
    error, finish = found.error, found.finish
    assert (error and error.kind, error.code if error else "") == (expected.kind, expected.code)
    assert (found.text, found.reasoning) == (expected.text, expected.reasoning)
    calls = [(c["function"]["name"], c["function"]["arguments"]) for c in found.calls]
    assert calls == list(expected.calls)
    assert all(call["id"] and call["type"] == "function" for call in found.calls)
    if error is None:
        assert finish is not None
        assert (finish.reason, finish.native) == (
            expected.finish,
            expected.native or expected.finish,
        )
    assert (found.late.code if found.late else "") == expected.note
    others = {name: found.message.get(name) for name in expected.other}
    assert json.dumps(others, sort_keys=True) == json.dumps(expected.other, sort_keys=True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("purpose", [Purpose.CHAT, Purpose.API])
async def test_the_chat_shows_reasoning_apart_whatever_programs_get(
    make_provider: MakeProvider, fake: fakes.Upstream, purpose: Purpose
) -> None:
    """The setting is for those who read answers by themselves."""
    fields = {"base_url": fake.url, "routing_method": "direct", "reasoning_tags": "keep"}
    make = sync_to_async(make_provider)
    provider = await make(model_id="think-tags-cut", api_key=fakes.KEY, **fields)
    call = replace(make_call(provider, "think-tags-cut"), purpose=purpose)
    try:
        events = [event async for event in router.stream(call, QUESTION)]
    finally:
        await route_table.close()
        await http.close()
    reasoning = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    assert reasoning == ("I muse." if purpose == Purpose.CHAT else "")


WHOLE = pytest.mark.parametrize("whole", [False, True], ids=["streamed", "in-one-piece"])
NAMES = pytest.mark.parametrize("name", ODDITIES)


@WHOLE
@NAMES
async def test_direct(fake: fakes.Upstream, name: str, whole: bool) -> None:
    """The provider's own API, whether a stream was requested or one JSON."""
    compare(await received(target(fake, name), whole=whole), ODDITIES[name])


@WHOLE
@NAMES
async def test_over_our_gateway_process(
    fake: fakes.Upstream,
    warm_process: GatewayProcess,
    settings: Settings,
    name: str,
    whole: bool,
) -> None:
    """The same, to the letter, with the real LiteLLM in between."""
    settings.GATEWAY_URL, settings.GATEWAY_TOKEN = warm_process.url, warm_process.token
    kind = ODDITIES[name].kind_of_format
    upstream = Upstream(litellm_model=f"{kind}/{name}", base_url=fake.url, api_key=fakes.KEY)
    over = replace(
        target(fake, name),
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=warm_process.url,
        api_key=warm_process.token,
        upstream=upstream,
    )
    compare(await received(over, whole=whole), ODDITIES[name])
