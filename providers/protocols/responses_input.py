"""Read the input items of the OpenAI Responses format as a chat's messages. No I/O.

A turn of the model is one message here: its text and its tool calls, which are items of their own
there. Reasoning is left out, because another vendor cannot read what is encrypted in it.
Specification: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input.
"""

from collections.abc import Iterable
from typing import Any, cast

from providers.domain.types import ChatMessage, Json
from providers.protocols.request_checks import InvalidRequest, list_objects, require_string
from providers.protocols.responses_tools import function_name, wrap_input

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# Records of what OpenAI's servers did for an earlier answer, whose text has the result.
_RECORDS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"}
)
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class NotTranslatable(Exception):
    """Only OpenAI's own API can take the request."""


def read_input(
    instructions: object, items: Iterable[Json], dropped: list[str]
) -> tuple[ChatMessage, ...]:
    """The messages; the paths of records that were left out are added to `dropped`.

    Raises InvalidRequest, and NotTranslatable for an item that no message can hold.
    """
    builder = _Builder()
    if instructions is not None:
        builder.add_text("system", _instructions_text(instructions))
    for place, item in enumerate(items):
        kind = item.get("type") or "message"
        if kind in _RECORDS:
            dropped.append(f"input.{kind}")
        elif kind != "reasoning":
            _add_item(builder, kind, item, f"input[{place}]")
    return builder.messages()


class _Builder:
    """Gathers messages, so that each turn of the model is one."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._pictures: list[Json] = []  # of tool results: they follow in a message of the user's

    def messages(self) -> tuple[ChatMessage, ...]:
        self._flush_pictures()
        return tuple(
            ChatMessage(
                role=cast(Any, made["role"]),
                content=tuple(c) if isinstance(c := made.get("content"), list) else c,
                extra={n: v for n, v in made.items() if n not in ("role", "content")},
            )
            for made in self._messages
        )

    def add_text(self, role: str, text: str) -> None:
        """Instructions in a row are one message, because some models take only one at the
        beginning; so is the model's text beside its tool calls."""
        self._flush_pictures()
        last = self._messages[-1] if self._messages else {}
        joins = role == "system" or (role == "assistant" and "tool_calls" in last)
        if joins and last.get("role") == role and not isinstance(last["content"], list):
            last["content"] = "\n\n".join(filter(None, (last["content"], text)))
        elif text or role != "system":
            self._messages.append({"role": role, "content": text})

    def add_parts(self, role: str, parts: list[Json]) -> None:
        """Parts that are only text become one text: some providers take no others."""
        if all(part["type"] == "text" for part in parts):
            separator = "" if role == "assistant" else "\n\n"
            self.add_text(role, separator.join(part["text"] for part in parts))
            return
        self._flush_pictures()
        self._messages.append({"role": role, "content": parts})

    def add_call(self, call: Json) -> None:
        self._flush_pictures()
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant", "content": None})
        last = self._messages[-1]
        last["content"] = last["content"] or None
        last.setdefault("tool_calls", []).append(call)

    def add_result(self, call_id: str, text: str, pictures: list[Json]) -> None:
        self._messages.append({"role": "tool", "content": text, "tool_call_id": call_id})
        self._pictures += pictures

    def _flush_pictures(self) -> None:
        pictures, self._pictures = self._pictures, []
        if pictures:
            self._messages.append({"role": "user", "content": pictures})


def _add_item(builder: _Builder, kind: str, item: Json, where: str) -> None:
    if kind == "message":
        _add_message(builder, item, where)
    elif kind in ("function_call", "custom_tool_call"):
        builder.add_call(_read_call(kind, item, where))
    elif kind in _OUTPUTS:
        call_id = require_string(item.get("call_id"), f"{where}.call_id")
        builder.add_result(call_id, *_read_result(item.get("output"), where))
    else:
        name = str(kind)[:50]
        raise NotTranslatable(f"`{where}` is a `{name}`, which only OpenAI's own API understands.")


def _instructions_text(instructions: object) -> str:
    """Instructions are a text, or messages."""
    if isinstance(instructions, str):
        return instructions
    messages = list_objects(instructions, "instructions")
    contents = (_read_content(m.get("content"), "instructions") for m in messages)
    return "\n\n".join(str(part.get("text") or "") for parts in contents for part in parts)


def _add_message(builder: _Builder, item: Json, where: str) -> None:
    role = _ROLES.get(str(item.get("role")))
    if role is None:
        names = ", ".join(_ROLES)
        raise InvalidRequest(f"`{where}.role` must be one of {names}.", f"{where}.role")
    builder.add_parts(role, _read_content(item.get("content"), f"{where}.content"))


def _read_content(content: object, where: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_read_part(part, where) for part in list_objects(content, where)]


def _read_part(part: Json, where: str) -> Json:
    """A part of a message as a chat has it. Files that only OpenAI holds are none."""
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": str(part.get("text") or "")}
        case "refusal":
            return {"type": "text", "text": str(part.get("refusal") or "")}
        case "input_image" if isinstance(part.get("image_url"), str):
            detail = {"detail": part["detail"]} if part.get("detail") not in (None, "auto") else {}
            return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
        case "input_file" if isinstance(part.get("file_data"), str):
            name = str(part.get("filename") or "document.pdf")
            return {"type": "file", "file": {"filename": name, "file_data": part["file_data"]}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
    kind = str(part.get("type"))[:50]
    raise NotTranslatable(
        f"`{where}` has a part `{kind}` that only OpenAI's own API can read, such as a stored file."
    )


def _read_call(kind: str, item: Json, where: str) -> Json:
    namespace = item.get("namespace")
    name = function_name(
        require_string(item.get("name"), f"{where}.name"),
        namespace if isinstance(namespace, str) else "",
    )
    if kind == "custom_tool_call":
        arguments = wrap_input(str(item.get("input") or ""))
    else:
        arguments = str(item.get("arguments") or "")
    call_id = require_string(item.get("call_id"), f"{where}.call_id")
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _read_result(output: object, where: str) -> tuple[str, list[Json]]:
    """A tool's text, and its pictures: a tool's message can hold none."""
    parts = _read_content(output, f"{where}.output")
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return text, [part for part in parts if part["type"] != "text"]
