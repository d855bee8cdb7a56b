"""Read a request in the Anthropic Messages format as a canonical chat request. No I/O.

The canonical request is OpenAI's. What it cannot express is left out and named in `dropped` where
the answer means the same without it; else `translation_error` gives the reason.
Specification: https://docs.anthropic.com/en/api/messages.
"""

import json
from collections.abc import Iterable
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import ChatMessage, ChatRequest, Json
from providers.protocols import openai_chat
from providers.protocols.request_checks import (
    InvalidRequest,
    list_objects,
    require_list,
    require_object,
    require_positive,
    require_string,
)

_SAME = ("temperature", "top_p", "service_tier")
_READ = frozenset(
    {
        *_SAME,
        *("model", "messages", "system", "max_tokens", "stop_sequences", "stream"),
        *("tools", "tool_choice", "metadata"),
    }
)
# They shape the answer: without them the caller would get something else than it asked for.
_ONLY_NATIVE = ("mcp_servers", "container")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_NOT_SENT = frozenset({"thinking", "redacted_thinking"})


@frozen
class MessagesRequest:
    """`dropped`: paths of fields that the canonical request cannot hold. `thinking`: the caller
    reads the model's thoughts. `translation_error`: why only Anthropic's own API can take the
    request; its canonical form has no messages then.
    """

    model: str
    stream: bool
    request: ChatRequest
    dropped: tuple[str, ...] = ()
    thinking: bool = False
    translation_error: str = ""


class _NotTranslatable(Exception):
    """Only Anthropic's own API can take the request."""


def read_request(fields: Json, *, is_limited: bool = True) -> MessagesRequest:
    """Raises InvalidRequest. `is_limited`: the format demands `max_tokens`."""
    model = require_string(fields.get("model"), "model").strip()
    if not model:
        raise InvalidRequest("`model` must name a model.", "model")
    stream = fields.get("stream") is True
    tools, lost = _read_tools(fields)
    options = {**_read_options(fields, is_limited=is_limited), **tools}
    messages, translation_error = _translate_messages(fields)
    request = ChatRequest(messages=messages, options=options, non_streaming=not stream)
    ignored = sorted(name for name in fields.keys() - _READ if fields[name] is not None)
    thinking = require_object(fields.get("thinking") or {}, "thinking").get("type")
    return MessagesRequest(
        model=model,
        stream=stream,
        request=request,
        dropped=(*ignored, *lost),
        thinking=thinking in ("enabled", "adaptive"),
        translation_error=translation_error,
    )


def _read_options(fields: Json, *, is_limited: bool) -> dict[str, Any]:
    options = {name: fields[name] for name in _SAME if fields.get(name) is not None}
    if is_limited or fields.get("max_tokens") is not None:
        options["max_tokens"] = require_positive(fields.get("max_tokens"), "max_tokens")
    if stops := fields.get("stop_sequences"):
        options["stop"] = [
            require_string(s, "stop_sequences") for s in require_list(stops, "stop_sequences")
        ]
    user = require_object(fields.get("metadata") or {}, "metadata").get("user_id")
    return {**options, "user": user} if isinstance(user, str) and user else options


# Tools


def _read_tools(fields: Json) -> tuple[dict[str, Any], list[str]]:
    """The options about tools, and the tools that only Anthropic's servers can run."""
    offered = list_objects(fields.get("tools"), "tools")
    functions = [tool for tool in offered if tool.get("type") in (None, "custom")]
    lost = [f"tools.{tool.get('type')}" for tool in offered if tool not in functions]
    if not functions:
        return {}, lost
    choice = require_object(fields.get("tool_choice") or {}, "tool_choice")
    options: dict[str, Any] = {"tools": [_function(tool) for tool in functions]}
    if kind := choice.get("type"):
        options["tool_choice"] = _read_choice(kind, choice)
    if choice.get("disable_parallel_tool_use"):
        options["parallel_tool_calls"] = False
    return options, lost


def _function(tool: Json) -> Json:
    described = {"description": tool["description"]} if tool.get("description") else {}
    function = {
        "name": require_string(tool.get("name"), "tools.name"),
        **described,
        "parameters": tool.get("input_schema") or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def _read_choice(kind: object, choice: Json) -> object:
    if kind == "tool":
        name = require_string(choice.get("name"), "tool_choice.name")
        return {"type": "function", "function": {"name": name}}
    if kind not in _CHOICES:
        names = ", ".join([*_CHOICES, "tool"])
        raise InvalidRequest(f"`tool_choice.type` must be one of {names}.", "tool_choice.type")
    return _CHOICES[str(kind)]


# Messages


def _translate_messages(fields: Json) -> tuple[tuple[ChatMessage, ...], str]:
    """The messages, or none and the reason why they cannot be translated."""
    for name in _ONLY_NATIVE:
        if fields.get(name):
            return (), f"`{name}` works only with a provider that has Anthropic's own API."
    try:
        return _read_messages(fields), ""
    except _NotTranslatable as error:
        return (), str(error)


def _read_messages(fields: Json) -> tuple[ChatMessage, ...]:
    messages = list(_read_system(fields.get("system")))
    for place, message in enumerate(require_list(fields.get("messages"), "messages")):
        where = f"messages[{place}]"
        messages += _read_message(require_object(message, where), where)
    return tuple(messages)


def _read_system(system: object) -> Iterable[ChatMessage]:
    if isinstance(system, str):
        text = system
    else:
        text = "\n\n".join(str(b.get("text") or "") for b in list_objects(system, "system"))
    if text:
        yield ChatMessage(role="system", content=text)


def _read_message(message: Json, where: str) -> Iterable[ChatMessage]:
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        raise InvalidRequest(f"`{where}.role` must be `user` or `assistant`.", f"{where}.role")
    if isinstance(content, str):
        yield ChatMessage(role=role, content=content)
        return
    blocks = list_objects(content, f"{where}.content")
    if role == "assistant":
        yield _read_assistant(blocks, where)
    else:
        yield from _read_user(role, blocks, where)


def _read_assistant(blocks: list[Json], where: str) -> ChatMessage:
    """Thoughts are left out: another vendor cannot check their signatures."""
    texts = [str(block.get("text") or "") for block in blocks if block.get("type") == "text"]
    calls = [_call(block, where) for block in blocks if block.get("type") == "tool_use"]
    for block in blocks:
        if block.get("type") not in {"text", "tool_use", *_NOT_SENT}:
            raise _unknown_block(block, where)
    return ChatMessage(
        role="assistant",
        content="".join(texts) or (None if calls else ""),
        extra={"tool_calls": calls} if calls else {},
    )


def _call(block: Json, where: str) -> Json:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    name = require_string(block.get("name"), f"{where}.content.name")
    function = {"name": name, "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _read_user(role: Any, blocks: list[Json], where: str) -> Iterable[ChatMessage]:
    """Tool results are messages of their own, ahead of what else the user sends."""
    parts: list[Json] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            parts.append(_part(block, where))
            continue
        text, pictures = _read_result(block, where)
        parts += pictures
        extra = {"tool_call_id": block.get("tool_use_id")}
        yield ChatMessage(role="tool", content=text, extra=extra)
    if parts:
        only_text = all(part["type"] == "text" for part in parts)
        text = "\n\n".join(part["text"] for part in parts) if only_text else ""
        yield ChatMessage(role=role, content=text if only_text else tuple(parts))


def _read_result(block: Json, where: str) -> tuple[str, list[Json]]:
    """A result's text, and its pictures: a tool's message can hold none."""
    content = block.get("content")
    if isinstance(content, str) or content is None:
        text, pictures = content or "", []
    else:
        parts = [_part(b, where) for b in list_objects(content, f"{where}.content.content")]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = [part for part in parts if part["type"] != "text"]
    return f"Error: {text}" if block.get("is_error") is True else text, pictures


def _part(block: Json, where: str) -> Json:
    source = openai_chat.fields(block.get("source"))
    match block.get("type"), source.get("type"):
        case "text", _:
            return {"type": "text", "text": str(block.get("text") or "")}
        case "image", "base64":
            return {"type": "image_url", "image_url": {"url": _data_url(source)}}
        case "image", "url":
            return {"type": "image_url", "image_url": {"url": source.get("url")}}
        case "document", "text":
            return {"type": "text", "text": str(source.get("data") or "")}
        case "document", "base64":
            name = str(block.get("title") or "document.pdf")
            return {"type": "file", "file": {"filename": name, "file_data": _data_url(source)}}
    raise _unknown_block(block, where)


def _data_url(source: Json) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _unknown_block(block: Json, where: str) -> _NotTranslatable:
    kind = str(block.get("type"))[:50]
    return _NotTranslatable(
        f"`{where}.content` has a block `{kind}`, which only Anthropic's own API understands."
    )
