"""A body as a request: what passes through untouched, and what is refused with which words."""

import json
from typing import Any

import pytest

from api.chat_completions.request_parser import parse_request
from api.errors import ApiError
from providers.protocols import openai_chat

HELLO = {"model": "acme/m", "messages": [{"role": "user", "content": "Hello"}]}


def parse(**fields: Any) -> Any:
    return parse_request(json.dumps(HELLO | fields).encode())


def test_parses_a_minimal_request() -> None:
    """A model and a message; not streamed, as OpenAI has it."""
    plain = parse()
    assert (plain.model, plain.stream, plain.include_usage) == ("acme/m", False, False)
    assert plain.request.non_streaming
    assert plain.request.options == {}
    assert plain.request.messages[0].content == "Hello"


def test_a_stream_with_usage() -> None:
    """As OpenCode always asks."""
    streamed = parse(stream=True, stream_options={"include_usage": True})
    assert streamed.stream
    assert streamed.include_usage
    assert not streamed.request.non_streaming


def test_unknown_fields_pass_through() -> None:
    """At the top, and in each message."""
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm.",
        "tool_calls": [{"id": "1", "extra_content": {"google": {"thought_signature": "x"}}}],
    }
    passed = parse(messages=[message], thinking={"type": "enabled"}, top_k=4, seed=None)
    assert passed.request.options == {"thinking": {"type": "enabled"}, "top_k": 4, "seed": None}
    assert passed.request.messages[0].extra == {
        "content": None,
        "reasoning_content": "Hm.",
        "tool_calls": message["tool_calls"],
    }


def test_missing_content_stays_missing() -> None:
    """Some servers refuse the null that others want."""
    passed = parse(
        messages=[{"role": "assistant", "tool_calls": []}, {"role": "user", "content": ""}]
    )
    sent = openai_chat.body(passed.request, "m")["messages"]
    assert sent == [{"role": "assistant", "tool_calls": []}, {"role": "user", "content": ""}]
    null = parse(messages=[{"role": "assistant", "content": None}]).request
    assert openai_chat.body(null, "m")["messages"] == [{"role": "assistant", "content": None}]


def test_stream_options_pass_through() -> None:
    """Usage is asked for besides: it is counted here."""
    how = {"include_usage": False, "include_obfuscation": False}
    streamed = parse(stream=True, stream_options=how)
    assert not streamed.include_usage
    assert openai_chat.body(streamed.request, "m")["stream_options"] == how | {
        "include_usage": True
    }
    assert "stream_options" not in openai_chat.body(parse(stream_options=how).request, "m")


def test_pictures_are_parts() -> None:
    """In the order they were given."""
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {}}]
    passed = parse(messages=[{"role": "user", "content": parts}])
    assert passed.request.messages[0].content == tuple(parts)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1,}', "line 1, column"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "must be an object"),
        (b'"hello"', "must be an object"),
        (b'{"model": NaN}', "number that JSON does not allow"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "number that JSON does not allow"),
    ],
)
def test_invalid_json_names_the_place(body: bytes, words: str) -> None:
    """A 400 that can be acted on."""
    with pytest.raises(ApiError) as caught:
        parse_request(body)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_json"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [HELLO["messages"][0], {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"tools": {}}, "tools"),
        ({"stop": 5}, "stop"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """In `param`, as OpenAI does, and in the words."""
    with pytest.raises(ApiError) as caught:
        parse(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert f"`{param}" in caught.value.message


def test_null_means_not_set() -> None:
    """Clients send null for what they leave out."""
    assert parse(stream=None, tools=None, stop=None, stream_options=None).stream is False
