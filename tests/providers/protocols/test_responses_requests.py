"""A Responses request means the same as the canonical request that is read from it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.types import ChatMessage
from providers.protocols.request_checks import InvalidRequest
from providers.protocols.responses_requests import (
    ResponsesRequest,
    find_references,
    read_request,
    resolve_references,
)
from providers.protocols.responses_tools import LONGEST_NAME, Tool, unwrap_input, wrap_input

USER = {"role": "user", "content": "hi"}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": '{"p":"ä"}'}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"p":"ä"}'}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "a b"}
TOOL = {"type": "function", "name": "ls", "parameters": {"type": "object"}, "strict": True}
PATCH = {"type": "custom", "name": "patch", "description": "Edit.", "format": {"definition": "x+"}}
SPACE = {"type": "namespace", "name": "agents", "description": "", "tools": [TOOL]}


def read(*items: dict[str, Any], **fields: Any) -> ResponsesRequest:
    return read_request({"model": "m", "input": list(items or (USER,)), **fields})


def as_dict(message: ChatMessage) -> dict[str, Any]:
    return {"role": message.role, "content": message.content, **message.extra}


def text(role: str, *texts: str, kind: str = "input_text") -> dict[str, Any]:
    content = [{"type": kind, "text": each} for each in texts]
    return {"type": "message", "role": role, "content": content}


def test_the_plain_fields_are_read() -> None:
    request = read(
        temperature=0.5,
        max_output_tokens=9,
        stream=True,
        reasoning={"effort": "high", "summary": "auto"},
        store=False,
        metadata={"a": "b"},
    )
    assert (request.model, request.stream, request.request.non_streaming) == ("m", True, False)
    assert request.request.options == {
        "temperature": 0.5,
        "max_tokens": 9,
        "reasoning_effort": "high",
    }
    assert (request.summarizes, request.dropped) == (True, ())


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([USER], [USER]),
        ([text("user", "a", "b")], [{"role": "user", "content": "a\n\nb"}]),
        (
            [{"role": "user", "content": [*text("user", "a")["content"], PICTURE]}],
            [{"role": "user", "content": ({"type": "text", "text": "a"}, PICTURE_PART)}],
        ),
        # instructions in a row are one message, by the role that every provider knows
        (
            [text("developer", "a"), text("system", "b"), USER, text("developer", "c")],
            [
                {"role": "system", "content": "a\n\nb"},
                USER,
                {"role": "system", "content": "c"},
            ],
        ),
        # a turn of the model is one message
        (
            [text("assistant", "Look.", kind="output_text"), CALL, {**CALL, "call_id": "c2"}],
            [
                {
                    "role": "assistant",
                    "content": "Look.",
                    "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
                }
            ],
        ),
        (
            [CALL, text("assistant", "Looking.", kind="output_text"), OUTPUT],
            [
                {"role": "assistant", "content": "Looking.", "tool_calls": [CHAT_CALL]},
                {"role": "tool", "content": "a b", "tool_call_id": "c1"},
            ],
        ),
        # the next turn is another
        (
            [CALL, OUTPUT, {**CALL, "call_id": "c2"}],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "content": "a b", "tool_call_id": "c1"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{**CHAT_CALL, "id": "c2"}],
                },
            ],
        ),
        # pictures of results follow all results
        (
            [
                {**OUTPUT, "output": [*text("user", "see")["content"], PICTURE]},
                {**OUTPUT, "call_id": "c2"},
                USER,
            ],
            [
                {"role": "tool", "content": "see", "tool_call_id": "c1"},
                {"role": "tool", "content": "a b", "tool_call_id": "c2"},
                {"role": "user", "content": (PICTURE_PART,)},
                USER,
            ],
        ),
        # what another vendor cannot read
        (
            [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, USER],
            [USER],
        ),
        # a custom tool's call, a call within a namespace
        (
            [
                {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "+1"},
                {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
                {**CALL, "namespace": "agents"},
            ],
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "patch", "arguments": '{"input": "+1"}'},
                        }
                    ],
                },
                {"role": "tool", "content": "ok", "tool_call_id": "c1"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            **CHAT_CALL,
                            "function": {"name": "agents__ls", "arguments": '{"p":"ä"}'},
                        }
                    ],
                },
            ],
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_data": "data:x"}]}],
            [
                {
                    "role": "user",
                    "content": (
                        {
                            "type": "file",
                            "file": {"filename": "document.pdf", "file_data": "data:x"},
                        },
                    ),
                }
            ],
        ),
    ],
)
def test_items_are_read_as_messages(
    items: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert [as_dict(message) for message in read(*items).request.messages] == expected


def test_instructions_come_first() -> None:
    messages = read(text("developer", "b"), instructions="a").request.messages
    assert [(m.role, m.content) for m in messages] == [("system", "a\n\nb")]
    listed = read(instructions=[text("developer", "a")]).request.messages
    assert listed[0].content == "a"


def test_tools_are_functions_and_known_by_their_names() -> None:
    request = read(tools=[TOOL, PATCH, SPACE, {"type": "web_search"}], parallel_tool_calls=False)
    functions = [tool["function"] for tool in request.request.options["tools"]]
    assert [f["name"] for f in functions] == ["ls", "patch", "agents__ls"]
    assert functions[0] == {"name": "ls", "parameters": {"type": "object"}, "strict": True}
    assert "x+" in functions[1]["description"]
    assert functions[1]["parameters"]["required"] == ["input"]
    assert request.tools.tools == {
        "ls": Tool(name="ls"),
        "patch": Tool(name="patch", is_custom=True),
        "agents__ls": Tool(name="ls", namespace="agents"),
    }
    assert request.request.options["parallel_tool_calls"] is False
    assert request.dropped == ("tools.web_search",)


@pytest.mark.parametrize(
    ("choice", "expected", "names"),
    [
        ("auto", "auto", ["ls", "patch", "agents__ls"]),
        ("required", "required", ["ls", "patch", "agents__ls"]),
        (
            {"type": "function", "name": "ls"},
            {"type": "function", "function": {"name": "ls"}},
            ["ls", "patch", "agents__ls"],
        ),
        (
            {"type": "custom", "name": "patch"},
            {"type": "function", "function": {"name": "patch"}},
            ["ls", "patch", "agents__ls"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "patch"}],
            },
            "required",
            ["patch"],
        ),
    ],
)
def test_the_choice_of_a_tool(choice: object, expected: object, names: list[str]) -> None:
    options = read(tools=[TOOL, PATCH, SPACE], tool_choice=choice).request.options
    assert options["tool_choice"] == expected
    assert [tool["function"]["name"] for tool in options["tools"]] == names


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": {"id": "p"}},
        {"tools": [TOOL], "tool_choice": {"type": "web_search"}},
        {"tools": [{"type": "web_search"}], "tool_choice": "required"},
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        {"input": [{"type": "computer_call", "call_id": "c"}]},
    ],
)
def test_what_changes_the_meaning_is_not_translated(fields: dict[str, Any]) -> None:
    request = read_request({"model": "m", "input": "hi", **fields})
    assert request.translation_error
    assert request.request.messages == ()


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"include": ["reasoning.encrypted_content"]}, ("include",)),
        ({"truncation": "auto", "vendor_field": 1}, ("truncation", "vendor_field")),
        ({"truncation": "disabled", "background": False, "top_logprobs": 0, "include": []}, ()),
        ({"text": {"verbosity": "low"}}, ("text.verbosity",)),
        ({"prompt_cache_key": None}, ()),
    ],
)
def test_what_is_dropped_is_named(fields: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert read(**fields).dropped == dropped


def test_records_of_hosted_tools_are_dropped_once() -> None:
    record = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert read(USER, record, record).dropped == ("input.web_search_call",)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_form_of_the_answer(form: dict[str, Any], expected: object) -> None:
    assert read(text={"format": form}).request.options.get("response_format") == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": " "}, "model"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**CALL, "name": 1}]}, "input[0].name"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"tools": "ls"}, "tools"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"text": "json"}, "text"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"input": [{"type": "item_reference"}]}, "input.id"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    request = {"model": "m", "input": "hi", **fields}
    with pytest.raises(InvalidRequest) as raised:
        (find_references(request), read_request(request))
    assert raised.value.param == param


def test_references_are_resolved_in_their_places() -> None:
    named = {"type": "item_reference", "id": "fc_1"}
    request = {"model": "m", "previous_response_id": "resp_1", "input": [named, OUTPUT]}
    references = find_references(request)
    assert (references.response_id, references.item_ids) == ("resp_1", ("fc_1",))
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    resolved = resolve_references(request, [USER, thought], {"fc_1": CALL})
    assert resolved == {"model": "m", "input": [USER, CALL, OUTPUT]}
    assert not find_references(resolved)


@given(st.text(), st.text())
def test_a_custom_input_survives_its_function(given_input: str, other: str) -> None:
    assert unwrap_input(wrap_input(given_input)) == given_input
    assert unwrap_input(f"{{{other}") == f"{{{other}"  # what a model wrote in another form


@given(st.text("abc_", min_size=1, max_size=80), st.text("abc_", min_size=1, max_size=80))
def test_a_name_fits_and_is_the_same_in_tools_and_calls(name: str, space: str) -> None:
    tool = {**TOOL, "name": name}
    request = read(
        {**CALL, "name": name, "namespace": space},
        tools=[{**SPACE, "name": space, "tools": [tool]}],
    )
    function = request.request.options["tools"][0]["function"]["name"]
    assert len(function) <= LONGEST_NAME
    assert request.request.messages[0].extra["tool_calls"][0]["function"]["name"] == function
    assert request.tools.tools[function] == Tool(name=name, namespace=space)


_texts = st.text(min_size=1, max_size=8)
_items = st.one_of(
    st.builds(lambda r, t: text(r, t), st.sampled_from(["user", "developer", "system"]), _texts),
    st.builds(lambda t: text("assistant", t, kind="output_text"), _texts),
    st.builds(lambda t: {**CALL, "arguments": json.dumps({"t": t})}, _texts),
    st.builds(lambda t: {**OUTPUT, "output": t}, _texts),
)


@given(st.lists(_items, min_size=1, max_size=8))
def test_no_text_is_lost_and_none_changes_its_place(items: list[dict[str, Any]]) -> None:
    """Whatever is merged: the texts by role, the calls and the results stay in their order."""
    messages = read(*items).request.messages
    for role in ("user", "assistant", "system"):
        roles = ("system", "developer") if role == "system" else (role,)
        sent = [i["content"][0]["text"] for i in items if i.get("role") in roles]
        received = "".join(str(m.content or "") for m in messages if m.role == role)
        assert received.replace("\n\n", "") == "".join(sent).replace("\n\n", "")
    calls = [c["function"]["arguments"] for m in messages for c in m.extra.get("tool_calls", ())]
    assert calls == [i["arguments"] for i in items if i["type"] == "function_call"]
    results = [m.content for m in messages if m.role == "tool"]
    assert results == [i["output"] for i in items if i["type"] == "function_call_output"]
