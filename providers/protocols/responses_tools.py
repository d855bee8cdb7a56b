"""Tools of the Responses format as functions of a chat request, and their names back. No I/O.

A chat request has functions alone. A tool of a namespace gets one name of both; a custom tool,
whose input is free text, becomes a function of one text. Tools that only OpenAI's servers can run
are left out. https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import Json
from providers.protocols.openai_chat import fields
from providers.protocols.request_checks import (
    InvalidRequest,
    list_objects,
    require_object,
    require_string,
)

LONGEST_NAME = 64  # characters: https://platform.openai.com/docs/api-reference/chat/create
INPUT = "input"  # the one parameter of the function that stands for a custom tool
_FREE_TEXT = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
_MODES = ("auto", "required", "none")


@frozen
class Tool:
    """A tool as the caller knows it."""

    name: str
    namespace: str = ""
    is_custom: bool = False


@frozen
class Tools:
    """`options`: those of the chat request. `tools`: by their functions' names. `dropped`: what
    no function can stand for. `error`: why the request cannot be translated."""

    options: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    error: str = ""


def read_tools(request: Json) -> Tools:
    """The tools and the choice among them. Raises InvalidRequest."""
    functions: dict[str, Json] = {}
    tools: dict[str, Tool] = {}
    dropped: list[str] = []
    for offered in list_objects(request.get("tools"), "tools"):
        if offered.get("type") not in ("function", "custom", "namespace"):
            dropped.append(f"tools.{str(offered.get('type'))[:50]}")
        for tool, function in _read_tool(offered):
            functions[function["name"]] = {"type": "function", "function": function}
            tools[function["name"]] = tool
    choice, allowed, error = _read_choice(request.get("tool_choice"), tools)
    names = functions.keys() if allowed is None else functions.keys() & allowed
    options: dict[str, Any] = {}
    if names:
        options["tools"] = [function for name, function in functions.items() if name in names]
        if choice is not None:
            options["tool_choice"] = choice
        if isinstance(parallel := request.get("parallel_tool_calls"), bool):
            options["parallel_tool_calls"] = parallel
    elif choice == "required":
        error = error or "`tool_choice` demands a tool that only OpenAI's own API has."
    return Tools(options=options, tools=tools, dropped=tuple(dict.fromkeys(dropped)), error=error)


def function_name(name: str, namespace: str = "") -> str:
    """The name of the function that stands for a tool; the same for the same tool."""
    full = f"{namespace}__{name}" if namespace else name
    if not namespace or len(full) <= LONGEST_NAME:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{full[: LONGEST_NAME - 9]}_{digest}"


def wrap_input(text: str) -> str:
    """A custom tool's input as the arguments of its function."""
    return json.dumps({INPUT: text}, ensure_ascii=False)


def unwrap_input(arguments: str) -> str:
    """The input within the arguments of a custom tool's function; arguments in another form are
    the input themselves."""
    try:
        value = fields(json.loads(arguments)).get(INPUT)
    except ValueError:
        return arguments
    return value if isinstance(value, str) else arguments


def _read_tool(offered: Json) -> Iterable[tuple[Tool, dict[str, Any]]]:
    """The functions that one entry of `tools` stands for: of a namespace several."""
    if offered.get("type") != "namespace":
        return _read_function(offered, "")
    namespace = require_string(offered.get("name"), "tools.name")
    inner = list_objects(offered.get("tools"), "tools.tools")
    return [pair for tool in inner for pair in _read_function(tool, namespace)]


def _read_function(offered: Json, namespace: str) -> Iterable[tuple[Tool, dict[str, Any]]]:
    kind = offered.get("type")
    if kind not in ("function", "custom"):
        return
    name = require_string(offered.get("name"), "tools.name")
    function: dict[str, Any] = {"name": function_name(name, namespace)}
    if description := _describe(offered):
        function["description"] = description
    if kind == "custom":
        function["parameters"] = _FREE_TEXT
    else:
        function["parameters"] = offered.get("parameters") or {"type": "object", "properties": {}}
        if isinstance(offered.get("strict"), bool):
            function["strict"] = offered["strict"]
    yield Tool(name=name, namespace=namespace, is_custom=kind == "custom"), function


def _describe(offered: Json) -> str:
    """The description; of a custom tool with the grammar that its input follows."""
    description = str(offered.get("description") or "")
    definition = fields(offered.get("format")).get("definition")
    if not isinstance(definition, str) or offered.get("type") != "custom":
        return description
    return f"{description}\n\nThe input follows this grammar:\n{definition}".strip()


def _read_choice(
    choice: object, tools: Mapping[str, Tool]
) -> tuple[object, frozenset[str] | None, str]:
    """The choice in a chat request's form, the allowed functions where only some are, and why it
    cannot be translated."""
    if choice is None or choice in _MODES:
        return choice, None, ""
    if isinstance(choice, str):
        raise InvalidRequest(f"`tool_choice` must be one of {', '.join(_MODES)}.", "tool_choice")
    given = require_object(choice, "tool_choice")
    kind = given.get("type")
    if kind in ("function", "custom"):
        function = {"name": _chosen_name(given, "tool_choice.name")}
        return {"type": "function", "function": function}, None, ""
    if kind == "allowed_tools":
        chosen = list_objects(given.get("tools"), "tool_choice.tools")
        named = [each for each in chosen if each.get("type") in ("function", "custom")]
        allowed = frozenset(_chosen_name(each, "tool_choice.tools.name") for each in named)
        return given.get("mode") or "auto", allowed & tools.keys(), ""
    name = str(kind)[:50]
    return None, None, f"`tool_choice` demands `{name}`, which only OpenAI's own API has."


def _chosen_name(choice: Json, param: str) -> str:
    namespace = choice.get("namespace")
    name = require_string(choice.get("name"), param)
    return function_name(name, namespace if isinstance(namespace, str) else "")
