"""Estimates count all that a model reads and writes, not only the text."""

import json

import pytest

from providers.domain.types import ChatMessage, ChatRequest, Usage
from providers.protocols import estimates

CALL = {"id": "c", "function": {"name": "find", "arguments": '{"city": "Reykjavik"}'}}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ChatRequest(messages=(ChatMessage(role="user", content="a" * 40),)), 10),
        (
            ChatRequest(
                messages=(
                    ChatMessage(role="assistant", content=None, extra={"tool_calls": [CALL]}),
                )
            ),
            estimates.tokens(len("find") + len(CALL["function"]["arguments"])),  # type: ignore[index]
        ),
        (
            ChatRequest(messages=(), options={"tools": TOOLS}),
            estimates.tokens(len(json.dumps(TOOLS))),
        ),
        # A picture is no text of 400,000 characters.
        (
            ChatRequest(
                messages=(ChatMessage(role="user", content=({"text": "a" * 40}, PICTURE)),)
            ),
            10 + estimates.PICTURE_TOKENS,
        ),
        (
            ChatRequest(
                messages=(ChatMessage(role="user", content=None, extra={"tool_calls": 3}),)
            ),
            0,
        ),
    ],
)
def test_messages_tools_and_pictures_count(request_: ChatRequest, expected: int) -> None:
    """Tools on offer are often most of what a coding client sends."""
    assert estimates.input_tokens(request_) == expected


def test_only_what_is_missing_is_estimated() -> None:
    """An answer that broke off has its input counted by the provider already."""
    request = ChatRequest(messages=(ChatMessage(role="user", content="a" * 40),))
    assert estimates.complete_usage(Usage(input_tokens=99, cached_tokens=9), request, 8) == Usage(
        input_tokens=99, output_tokens=2, cached_tokens=9, estimated=True
    )
