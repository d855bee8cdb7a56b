"""Answers in an odd form over both routes: what the vendor meant is what the caller gets."""

import json
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from providers import http, walk
from providers.errors import CallError
from providers.protocols.gather import Gatherer
from providers.types import (
    Finish,
    Kind,
    LateError,
    Method,
    ReasoningDelta,
    Target,
    TextDelta,
    Timeouts,
)
from tests import fakes
from tests.faults.asking import QUESTION
from tests.upstreams.oddities import ODDITIES, Oddity


def target(fake: fakes.Upstream, model: str) -> Target:
    return Target(
        method=Method.DIRECT,
        kind=Kind.OPENAI,
        base_url=fake.url,
        api_key=fakes.KEY,
        model=model,
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


async def received(target: Target) -> Received:
    found = Received()
    try:
        async with aclosing(walk.client(target, QUESTION)) as events:
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
    told = {name: found.message.get(name) for name in expected.other}
    assert json.dumps(told, sort_keys=True) == json.dumps(expected.other, sort_keys=True)


@pytest.mark.parametrize("name", ODDITIES)
async def test_direct(fake: fakes.Upstream, name: str) -> None:
    """The provider's own API."""
    compare(await received(target(fake, name)), ODDITIES[name])
