"""Write an answer in the OpenAI Responses format: a stream's events, or the one response. No I/O.

Both come from one writer: a stream sends its payloads, else only the response that they end with.
The payloads are numbered without a gap from 0.
Specification: https://platform.openai.com/docs/api-reference/responses/object and
https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.types import (
    ClientEvent,
    Finish,
    Json,
    ReasoningDelta,
    TextDelta,
    TextWasReasoning,
    ToolCallDelta,
    Usage,
)
from providers.protocols.openai_chat import fields
from providers.protocols.responses_items import (
    COMPLETED,
    IN_PROGRESS,
    INCOMPLETE,
    CustomItem,
    FunctionItem,
    Item,
    MessageItem,
    Payload,
    SummaryItem,
)
from providers.protocols.responses_tools import Tool

_INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
# Fields of the request that its response repeats, and what they are where it has none.
_REPEATED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


class ResponseWriter:
    """Writes one answer. `start`, then `take` each event, then `end_items` and `end`; `fail` at any
    time.

    An item of text or reasoning ends where another begins. Tool calls stay open to the end, because
    the pieces of parallel calls may alternate.
    """

    def __init__(
        self,
        answer_id: str,
        created_at: int,
        request: Json,
        tools: Mapping[str, Tool],
        *,
        summarizes: bool,
    ) -> None:
        """`tools`: by the names of their functions; `summarizes`: the caller reads a summary of the
        reasoning."""
        repeated = {name: request.get(name) for name in _REPEATED}
        self.response: Payload = {
            "id": f"resp_{answer_id}",
            "object": "response",
            "created_at": created_at,
            "status": IN_PROGRESS,
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": "",
            "output": [],
            **{n: _REPEATED[n] if value is None else value for n, value in repeated.items()},
            "store": False,
            "usage": None,
        }
        self._answer_id = answer_id
        self._tools = tools
        self._summarizes = summarizes
        self._items: list[Item] = []
        self._open: Item | None = None  # the item of text or reasoning that is open
        self._calls: dict[object, Item] = {}  # by the calls' numbers
        self._reason = ""
        self._count = 0

    def start(self, model: str) -> list[Payload]:
        """The payloads that begin an answer."""
        self.response["model"] = model
        return self._number([self._state("created"), self._state("in_progress")])

    def take(self, event: ClientEvent) -> list[Payload]:
        """The payloads that one event adds."""
        return self._number(self._write(event))

    def end_items(self, usage: Usage, completed_at: int) -> list[Payload]:
        """The payloads that end the items; `response` is full then."""
        reason = _INCOMPLETE_REASONS.get(self._reason)
        payloads = self._end_items(INCOMPLETE if reason else COMPLETED)
        self.response |= {
            "status": INCOMPLETE if reason else COMPLETED,
            "incomplete_details": {"reason": reason} if reason else None,
            "completed_at": None if reason else completed_at,
            "output": self.output(),
            "usage": write_usage(usage),
        }
        return self._number(payloads)

    def resume(self, payload: Json) -> None:
        """Note a payload that the provider wrote in this format: a failure continues from it."""
        self.response = dict(fields(payload.get("response"))) or self.response
        if isinstance(number := payload.get("sequence_number"), int):
            self._count = number + 1

    def end(self) -> list[Payload]:
        """The payload that ends the answer, after those of its items."""
        return self._number([self._state(self.response["status"])])

    def fail(self, code: str, message: str, param: str | None = None) -> list[Payload]:
        """The payloads of a failure: the error, whose fields clients read at either of two places,
        and the response as failed."""
        error = {"code": code, "message": message, "param": param}
        self.response |= {
            "status": "failed",
            "error": {"code": code, "message": message},
            "output": self.output(),
        }
        first = {"type": "error", **error, "error": {"type": code, **error}}
        return self._number([first, self._state("failed")])

    def output(self) -> list[Payload]:
        """The output items."""
        return [item.fields for item in self._items]

    def retract_text(self) -> None:
        """All text so far turned out to be reasoning. Only where nothing was sent yet."""
        self._open = None
        items, self._items = self._items, []
        for item in items:
            if not isinstance(item, MessageItem):
                self._items.append(item)
            elif self._summarizes:
                index = len(self._items)
                summary = SummaryItem(self._id(SummaryItem, index), index)
                summary.add(item.text)
                summary.end(COMPLETED)
                self._items.append(summary)

    def _write(self, event: ClientEvent) -> list[Payload]:
        match event:
            case TextDelta(text=text):
                return self._add_text(MessageItem, text)
            case ReasoningDelta(text=text) if self._summarizes:
                return self._add_text(SummaryItem, text)
            case TextWasReasoning():
                return self._close_text(COMPLETED)
            case ToolCallDelta(call=call):
                return self._add_call(call)
            case Finish():
                self._reason = event.reason
        return []

    def _add_text(self, kind: type[MessageItem | SummaryItem], text: str) -> list[Payload]:
        if type(item := self._open) is kind:
            return item.add(text)
        payloads = self._close_text(COMPLETED)
        self._open = begun = kind(self._id(kind, len(self._items)), len(self._items))
        return [*payloads, *self._begin(begun), *begun.add(text)]

    def _close_text(self, status: str) -> list[Payload]:
        was_open, self._open = self._open, None
        return was_open.end(status) if was_open else []

    def _add_call(self, call: Json) -> list[Payload]:
        function, number = fields(call.get("function")), call.get("index")
        payloads: list[Payload] = []
        if number not in self._calls:
            payloads = self._close_text(COMPLETED)
            self._calls[number] = item = self._new_call(call, str(function.get("name") or ""))
            payloads += self._begin(item)
        if arguments := function.get("arguments"):
            payloads += self._calls[number].add(str(arguments))
        return payloads

    def _new_call(self, call: Json, name: str) -> Item:
        tool = self._tools.get(name) or Tool(name=name)
        kind = CustomItem if tool.is_custom else FunctionItem
        index = len(self._items)
        return kind(self._id(kind, index), index, str(call.get("id") or ""), tool)

    def _begin(self, item: Item) -> list[Payload]:
        self._items.append(item)
        return item.begin()

    def _id(self, kind: type[Item], index: int) -> str:
        return f"{kind.prefix}_{self._answer_id}{index:02}"

    def _end_items(self, status: str) -> list[Payload]:
        payloads = self._close_text(status)
        for item in self._calls.values():
            payloads += item.end(status)
        return payloads

    def _state(self, name: str) -> Payload:
        return {"type": f"response.{name}", "response": dict(self.response)}

    def _number(self, payloads: Iterable[Payload]) -> list[Payload]:
        numbered = []
        for payload in payloads:
            numbered.append({**payload, "sequence_number": self._count})
            self._count += 1
        return numbered


def write_usage(usage: Usage) -> dict[str, Any]:
    """Token counts by this format's names. `estimated` is there where they were counted here."""
    counts = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return counts | ({"estimated": True} if usage.estimated else {})
