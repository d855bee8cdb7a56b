"""Write the output items of an answer in the OpenAI Responses format, each with its events. No I/O.

An item begins, grows piece by piece, and ends; each step gives the payloads of its events, without
the numbers that the whole answer counts. An item that has ended has all its text in `fields`.
Specification: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from typing import Any

from providers.protocols.responses_tools import Tool, unwrap_input

type Payload = dict[str, Any]

IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class Item:
    """One output item. `prefix`: how the ids of its kind begin."""

    prefix = ""

    def __init__(self, item_id: str, index: int, fields: Payload) -> None:
        self.fields: Payload = {"id": item_id, **fields, "status": IN_PROGRESS}
        self._place: Payload = {"item_id": item_id, "output_index": index}
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def begin(self) -> list[Payload]:
        return [self._item_event("added")]

    def add(self, piece: str) -> list[Payload]:
        self._pieces.append(piece)
        return []

    def end(self, status: str) -> list[Payload]:
        self.fields["status"] = status
        return [self._item_event("done")]

    def _item_event(self, step: str) -> Payload:
        return {
            "type": f"response.output_item.{step}",
            "output_index": self._place["output_index"],
            "item": dict(self.fields),
        }

    def _event(self, kind: str, /, **fields: Any) -> Payload:
        return {"type": f"response.{kind}", **self._place, **fields}


class MessageItem(Item):
    """The answer's text."""

    prefix = "msg"

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index, {"type": "message", "role": "assistant", "content": []})

    def begin(self) -> list[Payload]:
        part = self._event("content_part.added", content_index=0, part=_text_part(""))
        return [*super().begin(), part]

    def add(self, piece: str) -> list[Payload]:
        self._pieces.append(piece)
        return [self._event("output_text.delta", content_index=0, delta=piece, logprobs=[])]

    def end(self, status: str) -> list[Payload]:
        part = _text_part(self.text)
        self.fields["content"] = [part]
        return [
            self._event("output_text.done", content_index=0, text=self.text, logprobs=[]),
            self._event("content_part.done", content_index=0, part=part),
            *super().end(status),
        ]


class SummaryItem(Item):
    """What the model thought, as the summary that the caller requested."""

    prefix = "rs"

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index, {"type": "reasoning", "summary": []})

    def begin(self) -> list[Payload]:
        part = self._event("reasoning_summary_part.added", summary_index=0, part=_summary(""))
        return [*super().begin(), part]

    def add(self, piece: str) -> list[Payload]:
        self._pieces.append(piece)
        return [self._event("reasoning_summary_text.delta", summary_index=0, delta=piece)]

    def end(self, status: str) -> list[Payload]:
        part = _summary(self.text)
        self.fields["summary"] = [part]
        return [
            self._event("reasoning_summary_text.done", summary_index=0, text=self.text),
            self._event("reasoning_summary_part.done", summary_index=0, part=part),
            *super().end(status),
        ]


class FunctionItem(Item):
    """A call of a function."""

    prefix = "fc"

    def __init__(self, item_id: str, index: int, call_id: str, tool: Tool) -> None:
        fields = {"type": "function_call", **_call_fields(call_id, tool), "arguments": ""}
        super().__init__(item_id, index, fields)
        self._name = tool.name

    def add(self, piece: str) -> list[Payload]:
        self._pieces.append(piece)
        return [self._event("function_call_arguments.delta", delta=piece)]

    def end(self, status: str) -> list[Payload]:
        self.fields["arguments"] = self.text
        event = "function_call_arguments.done"
        return [self._event(event, name=self._name, arguments=self.text), *super().end(status)]


class CustomItem(Item):
    """A call of a custom tool. Its input comes as one piece: it has to be unwrapped first."""

    prefix = "ctc"

    def __init__(self, item_id: str, index: int, call_id: str, tool: Tool) -> None:
        fields = {"type": "custom_tool_call", **_call_fields(call_id, tool), "input": ""}
        super().__init__(item_id, index, fields)

    def end(self, status: str) -> list[Payload]:
        given = self.fields["input"] = unwrap_input(self.text)
        return [
            self._event("custom_tool_call_input.delta", delta=given),
            self._event("custom_tool_call_input.done", input=given),
            *super().end(status),
        ]


def _text_part(text: str) -> Payload:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> Payload:
    return {"type": "summary_text", "text": text}


def _call_fields(call_id: str, tool: Tool) -> Payload:
    namespace = {"namespace": tool.namespace} if tool.namespace else {}
    return {"call_id": call_id, "name": tool.name, **namespace}
