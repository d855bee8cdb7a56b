"""A Messages request means the same as the canonical request that is read from it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import ChatMessage
from providers.protocols import anthropic_messages
from providers.protocols.anthropic_requests import MessagesRequest, read_request
from providers.protocols.request_checks import InvalidRequest

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "ls", "description": "List", "input_schema": {"type": "object"}}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
PICTURE = {"type": "image", "source": PIXEL}
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def read(*messages: dict[str, Any], **fields: Any) -> MessagesRequest:
    return read_request(
        {"model": "m", "max_tokens": 9, "messages": list(messages or (USER,)), **fields}
    )


def as_dict(message: ChatMessage) -> dict[str, Any]:
    return {"role": message.role, "content": message.content, **message.extra}


def test_the_plain_fields_are_read() -> None:
    request = read(stop_sequences=["END"], temperature=0.5, metadata={"user_id": "u"}, stream=True)
    assert (request.model, request.stream, request.request.non_streaming) == ("m", True, False)
    assert request.request.options == {
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
        "user": "u",
    }
    assert request.dropped == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (USER, [USER]),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]},
            [{"role": "user", "content": ({"type": "text", "text": "a"}, PICTURE_PART)}],
        ),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
            [{"role": "assistant", "content": ""}],
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Look."},
                    {"type": "tool_use", "id": "t1", "name": "ls", "input": {"p": "ä"}},
                ],
            },
            [
                {
                    "role": "assistant",
                    "content": "Look.",
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "function": {"name": "ls", "arguments": '{"p": "ä"}'},
                        }
                    ],
                }
            ],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "a.txt"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "is_error": True,
                        "content": [{"type": "text", "text": "No."}, PICTURE],
                    },
                    {"type": "text", "text": "Go on."},
                ],
            },
            [
                {"role": "tool", "content": "a.txt", "tool_call_id": "t1"},
                {"role": "tool", "content": "Error: No.", "tool_call_id": "t2"},
                {"role": "user", "content": (PICTURE_PART, {"type": "text", "text": "Go on."})},
            ],
        ),
    ],
)
def test_messages_are_translated(message: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert [as_dict(each) for each in read(message).request.messages] == expected


def test_system_blocks_are_one_system_message() -> None:
    """Their cache marks mean nothing to another vendor."""
    blocks = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    first = read(system=blocks).request.messages[0]
    assert as_dict(first) == {"role": "system", "content": "Be brief.\n\nBe kind."}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "ls"}, {"type": "function", "function": {"name": "ls"}}),
    ],
)
def test_tools_and_the_choice_among_them_are_translated(
    choice: dict[str, Any], expected: object
) -> None:
    options = read(tools=[TOOL], tool_choice=choice).request.options
    assert options["tool_choice"] == expected
    assert options["tools"][0]["function"] == {
        "name": "ls",
        "description": "List",
        "parameters": {"type": "object"},
    }


def test_parallel_calls_can_be_switched_off() -> None:
    options = read(tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert options.request.options["parallel_tool_calls"] is False


def test_what_cannot_be_said_is_named() -> None:
    """As Claude Code sends it: thinking, context management, and a tool of Anthropic's servers."""
    request = read(
        thinking={"type": "adaptive"},
        context_management={"edits": []},
        top_k=4,
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
    )
    assert request.dropped == (
        "context_management",
        "thinking",
        "top_k",
        "tools.web_search_20250305",
    )
    assert len(request.request.options["tools"]) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"tools": [{"description": "no name"}]}, "tools.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "all"}}, "tool_choice.type"),
        ({"stop_sequences": [7]}, "stop_sequences"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request({"model": "m", "max_tokens": 9, "messages": [USER], **fields})
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mcp_servers": [{"url": "u"}]}, "mcp_servers"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            "server_tool_use",
        ),
    ],
)
def test_what_only_anthropic_understands_cannot_be_translated(
    fields: dict[str, Any], reason: str
) -> None:
    """It is for a route that takes the body as it came."""
    request = read_request({"model": "m", "max_tokens": 9, "messages": [USER], **fields})
    assert reason in request.translation_error
    assert request.request.messages == ()


TEXTS = st.text(min_size=1, max_size=9)
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.just(PICTURE),
)
MESSAGES = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS),
    st.builds(
        lambda blocks: {"role": "user", "content": [*blocks, PICTURE]},
        st.lists(BLOCKS, max_size=3),
    ),
    st.builds(
        lambda text, path: {
            "role": "assistant",
            "content": [
                {"type": "text", "text": text},
                {"type": "tool_use", "id": "t", "name": "ls", "input": {"path": path}},
            ],
        },
        TEXTS,
        TEXTS,
    ),
)


@given(st.lists(MESSAGES, min_size=1, max_size=5), TEXTS)
def test_there_and_back_means_the_same(messages: list[dict[str, Any]], system: str) -> None:
    """Translated for an OpenAI-compatible upstream and back, the body is the one that came."""
    request = read(*messages, system=system, tools=[TOOL], stop_sequences=["E"])
    body = anthropic_messages.body(request.request, "m")
    assert body["messages"] == messages
    assert (body["system"], body["max_tokens"], body["tools"]) == (system, 9, [TOOL])
    assert body["stop_sequences"] == ["E"]
