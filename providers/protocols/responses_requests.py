"""Read a request in the OpenAI Responses format as a canonical chat request. No I/O.

What a chat request cannot express is left out and named in `dropped` where the answer means the
same without it; else `translation_error` gives the reason.
Specification: https://platform.openai.com/docs/api-reference/responses/create.
"""

from collections.abc import Iterable
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import ChatRequest, Json
from providers.protocols.openai_chat import fields as fields_of
from providers.protocols.request_checks import (
    InvalidRequest,
    list_objects,
    require_list,
    require_object,
    require_positive,
    require_string,
)
from providers.protocols.responses_input import NotTranslatable, read_input
from providers.protocols.responses_tools import Tools, read_tools

_SAME = ("temperature", "top_p", "service_tier", "user")
_READ = frozenset(
    {
        *_SAME,
        *("model", "input", "instructions", "max_output_tokens", "stream", "stream_options"),
        *("tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"),
        *("store", "previous_response_id", "metadata"),
    }
)
# Values that ask for nothing: they are what a translated request does anyway.
_DEFAULTS: Json = {"background": False, "truncation": "disabled", "top_logprobs": 0, "include": []}
# They shape the answer: without them the caller would get something else than it asked for.
_ONLY_NATIVE = ("prompt",)
# Not taken at all: what they begin or refer to is the provider's account's, not the caller's.
_REFUSED = ("background", "conversation")


@frozen
class ResponsesRequest:
    """`items`: the input in full, with that of previous responses. `dropped`: paths of fields that
    the canonical request cannot hold. `summarizes`: the caller reads a summary of the reasoning.
    `translation_error`: why only OpenAI's own API can take the request; its canonical form has no
    messages then.
    """

    model: str
    stream: bool
    request: ChatRequest
    items: tuple[Json, ...]
    tools: Tools
    dropped: tuple[str, ...] = ()
    summarizes: bool = False
    translation_error: str = ""


@frozen
class References:
    """What a request refers to among stored responses."""

    response_id: str = ""
    item_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.response_id or self.item_ids)


def find_references(request: Json) -> References:
    """The response that the request continues, and the items it names. Raises InvalidRequest."""
    previous = request.get("previous_response_id")
    if previous is not None:
        require_string(previous, "previous_response_id")
    named = (item.get("id") for item in list_items(request) if _is_reference(item))
    ids = tuple(require_string(item_id, "input.id") for item_id in named)
    return References(response_id=previous or "", item_ids=ids)


def resolve_references(request: Json, previous: Iterable[Json], stored: Json) -> dict[str, Any]:
    """The request without references: the items of the previous response come first, and each
    named item takes the place of its name. `stored`: items by their ids."""
    own = [stored[item["id"]] if _is_reference(item) else item for item in list_items(request)]
    items = [item for item in (*previous, *own) if not _is_unreadable(item)]
    rest = {name: value for name, value in request.items() if name != "previous_response_id"}
    return {**rest, "input": items}


def _is_unreadable(item: Json) -> bool:
    """Whether an item is reasoning that no model can continue: it is not in it."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def list_items(request: Json) -> list[Json]:
    """The request's own input as items. Raises InvalidRequest."""
    given = request.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return list_objects(require_list(given, "input"), "input")


def read_request(request: Json) -> ResponsesRequest:
    """Read a request whose references are resolved. Raises InvalidRequest."""
    model = require_string(request.get("model"), "model").strip()
    if not model:
        raise InvalidRequest("`model` must name a model.", "model")
    for name in _REFUSED:
        if request.get(name):
            raise InvalidRequest(f"`{name}` is not supported.", name)
    stream = request.get("stream") is True
    tools = read_tools(request)
    options, lost = _read_options(request)
    items, dropped_items = list_items(request), list[str]()
    error = tools.error or _only_native(request)
    try:
        messages = read_input(request.get("instructions"), items, dropped_items)
    except NotTranslatable as reason:
        messages, error = (), error or str(reason)
    return ResponsesRequest(
        model=model,
        stream=stream,
        request=ChatRequest(
            messages=() if error else messages,
            options={**options, **tools.options},
            non_streaming=not stream,
        ),
        items=tuple(items),
        tools=tools,
        dropped=(*_list_ignored(request), *lost, *tools.dropped, *dict.fromkeys(dropped_items)),
        summarizes=bool(fields_of(request.get("reasoning")).get("summary")),
        translation_error=error,
    )


def _is_reference(item: Json) -> bool:
    return item.get("type") == "item_reference"


def _only_native(request: Json) -> str:
    for name in _ONLY_NATIVE:
        if request.get(name):
            return f"`{name}` works only with a provider that has OpenAI's own Responses API."
    return ""


def _list_ignored(request: Json) -> list[str]:
    unknown = request.keys() - _READ.union(_ONLY_NATIVE, _REFUSED)
    return sorted(name for name in unknown if request[name] not in (None, _DEFAULTS.get(name)))


def _read_options(request: Json) -> tuple[dict[str, Any], list[str]]:
    """The options by a chat request's names, and what was lost within them."""
    options = {name: request[name] for name in _SAME if request.get(name) is not None}
    if request.get("max_output_tokens") is not None:
        options["max_tokens"] = require_positive(request["max_output_tokens"], "max_output_tokens")
    lost: list[str] = []
    reasoning = require_object(request.get("reasoning") or {}, "reasoning")
    if effort := reasoning.get("effort"):
        options["reasoning_effort"] = require_string(effort, "reasoning.effort")
    text = require_object(request.get("text") or {}, "text")
    if form := _read_format(require_object(text.get("format") or {}, "text.format")):
        options["response_format"] = form
    if text.get("verbosity") not in (None, "medium"):
        lost.append("text.verbosity")
    return options, lost


def _read_format(form: Json) -> Json:
    """The form of the answer as a chat request states it; empty for plain text."""
    match form.get("type"):
        case "json_schema":
            schema = {name: value for name, value in form.items() if name != "type"}
            return {"type": "json_schema", "json_schema": schema}
        case "json_object":
            return {"type": "json_object"}
    return {}
