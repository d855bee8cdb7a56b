"""What a request needs of a model, read from its body."""

from typing import Any

import pytest

from providers.domain.request_needs import RequestNeeds
from providers.domain.types import ChatMessage, ChatRequest
from providers.protocols.request_needs import read_needs

HELLO = ChatMessage(role="user", content="Hello, you")  # ten characters, three tokens


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, RequestNeeds(input_tokens=3)),
        ({"max_tokens": 7}, RequestNeeds(input_tokens=3, output_tokens=7)),
        (
            {"max_tokens": 7, "max_completion_tokens": 9},
            RequestNeeds(input_tokens=3, output_tokens=9),
        ),
        ({"max_tokens": "7"}, RequestNeeds(input_tokens=3)),
        ({"tools": []}, RequestNeeds(input_tokens=3)),
        ({"functions": [{}]}, RequestNeeds(input_tokens=3, tools=True)),
        ({"tools": [1]}, RequestNeeds(input_tokens=4, tools=True)),
        ({"response_format": {"type": "text"}}, RequestNeeds(input_tokens=3)),
        ({"response_format": "json"}, RequestNeeds(input_tokens=3)),
        (
            {"response_format": {"type": "json_object"}},
            RequestNeeds(input_tokens=3, json_output=True),
        ),
        (
            {"response_format": {"type": "json_schema"}},
            RequestNeeds(input_tokens=3, json_output=True),
        ),
    ],
)
def test_the_options_say_what_is_needed(options: dict[str, Any], expected: RequestNeeds) -> None:
    """A field of a wrong type is the provider's to refuse."""
    assert read_needs(ChatRequest(messages=(HELLO,), options=options)) == expected


@pytest.mark.parametrize(
    ("kind", "vision"), [("image_url", True), ("image", True), ("text", False)]
)
def test_a_picture_needs_vision(kind: str, vision: bool) -> None:
    """In any message, in OpenAI's form or Anthropic's."""
    part = {"type": kind, "text": "x"}
    message = ChatMessage(role="user", content=(part,))
    assert read_needs(ChatRequest(messages=(HELLO, message))).vision is vision
