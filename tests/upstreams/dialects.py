"""The formats that the fake provider speaks, OpenAI's two and Anthropic's: frames and bodies."""

import json
import time
from collections.abc import Iterator
from typing import Any, Protocol
from uuid import uuid4

from tests.upstreams.plans import REASONING, TOOL, Plan


class Dialect(Protocol):
    """One provider format."""

    def begin(self, model: str) -> Iterator[bytes]: ...
    def text(self, piece: str) -> bytes: ...
    def reasoning(self, piece: str) -> bytes: ...
    def tool(self) -> Iterator[bytes]: ...
    def finish(self, plan: Plan, usage: tuple[int, int] | None) -> Iterator[bytes]: ...
    def truncate(self) -> Iterator[bytes]: ...
    def error(self, code: str, message: str) -> dict[str, Any]: ...
    def whole(self, model: str, plan: Plan, usage: tuple[int, int]) -> dict[str, Any]: ...
    def catalogue(self, models: list[str]) -> dict[str, Any]: ...
    def frame(self, payload: dict[str, Any]) -> bytes: ...


class OpenAI:
    """https://platform.openai.com/docs/api-reference/chat-streaming"""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}

    def begin(self, model: str) -> Iterator[bytes]:
        self._head = {
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        yield self._chunk({"role": "assistant", "content": ""})

    def text(self, piece: str) -> bytes:
        return self._chunk({"content": piece})

    def reasoning(self, piece: str) -> bytes:
        return self._chunk({"reasoning_content": piece})

    def tool(self) -> Iterator[bytes]:
        call_id, name, arguments = TOOL
        function = {"name": name, "arguments": ""}
        first = {"index": 0, "id": call_id, "type": "function", "function": function}
        yield self._chunk({"tool_calls": [first]})
        for part in (arguments[:9], arguments[9:]):
            yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})

    def finish(self, plan: Plan, usage: tuple[int, int] | None) -> Iterator[bytes]:
        yield self._chunk({}, plan.reason or ("tool_calls" if plan.tool else "stop"))
        if usage:
            yield self.frame({**self._head, "choices": [], "usage": _openai_usage(usage)})
        if plan.end != "no-done":
            yield from self.truncate()

    def truncate(self) -> Iterator[bytes]:
        yield b"data: [DONE]\n\n"

    def error(self, code: str, message: str) -> dict[str, Any]:
        kind = "server_error" if code == "server_error" else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def whole(self, model: str, plan: Plan, usage: tuple[int, int]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(plan.text)}
        if plan.reasoning:
            message["reasoning_content"] = REASONING
        if plan.tool:
            function = {"name": TOOL[1], "arguments": TOOL[2]}
            message["tool_calls"] = [{"id": TOOL[0], "type": "function", "function": function}]
        reason = plan.reason or ("tool_calls" if plan.tool else "stop")
        ended = None if plan.end in ("truncate", "eof") else reason
        choice = {"index": 0, "message": message, "finish_reason": ended}
        answer = {"id": "chatcmpl-fake", "object": "chat.completion", "created": int(time.time())}
        answer |= {"model": model, "choices": [choice]}
        return answer | ({"usage": _openai_usage(usage)} if plan.usage else {})

    def catalogue(self, models: list[str]) -> dict[str, Any]:
        rows = [{"id": m, "object": "model", "created": 0, "owned_by": "fake"} for m in models]
        return {"object": "list", "data": rows}

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"data: {dump(payload)}\n\n".encode()

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self.frame({**self._head, "choices": [choice]})


class Anthropic:
    """https://docs.anthropic.com/en/api/messages-streaming"""

    def __init__(self) -> None:
        self._block = -1
        self._kind = ""

    def begin(self, model: str) -> Iterator[bytes]:
        usage = {"input_tokens": 7, "output_tokens": 1}
        message = {"id": "msg_fake", "type": "message", "role": "assistant", "model": model}
        message |= {"content": [], "stop_reason": None, "usage": usage}  # type: ignore[dict-item]
        yield self.frame({"type": "message_start", "message": message})
        yield self.frame({"type": "ping"})

    def text(self, piece: str) -> bytes:
        opened = self._open("text", {"type": "text", "text": ""})
        return opened + self._delta({"type": "text_delta", "text": piece})

    def reasoning(self, piece: str) -> bytes:
        opened = self._open("thinking", {"type": "thinking", "thinking": ""})
        return opened + self._delta({"type": "thinking_delta", "thinking": piece})

    def tool(self) -> Iterator[bytes]:
        call_id, name, arguments = TOOL
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        yield self._open("tool_use", block)
        for part in (arguments[:9], arguments[9:]):
            yield self._delta({"type": "input_json_delta", "partial_json": part})

    def finish(self, plan: Plan, usage: tuple[int, int] | None) -> Iterator[bytes]:
        yield self._shut()
        ended: dict[str, Any] = {"type": "message_delta"}
        ended["delta"] = {"stop_reason": self._reason(plan)}
        yield self.frame(ended | ({"usage": {"output_tokens": usage[1]}} if usage else {}))
        if plan.end != "no-done":
            yield from self.truncate()

    def truncate(self) -> Iterator[bytes]:
        yield self.frame({"type": "message_stop"})

    def error(self, code: str, message: str) -> dict[str, Any]:
        names = {"invalid_api_key": "authentication_error", "server_error": "api_error"}
        names |= {"rate_limit_exceeded": "rate_limit_error", "overloaded": "overloaded_error"}
        return {"type": "error", "error": {"type": names.get(code, code), "message": message}}

    def whole(self, model: str, plan: Plan, usage: tuple[int, int]) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": "".join(plan.text)}]
        if plan.tool:
            arguments = json.loads(TOOL[2])
            content = [{"type": "tool_use", "id": TOOL[0], "name": TOOL[1], "input": arguments}]
        answer = {"id": "msg_fake", "type": "message", "role": "assistant", "model": model}
        unsaid = plan.end in ("truncate", "eof")
        answer["stop_reason"] = None if unsaid else self._reason(plan)  # type: ignore[assignment]
        tokens = {"input_tokens": usage[0], "output_tokens": usage[1]}
        return answer | {"content": content} | ({"usage": tokens} if plan.usage else {})

    def catalogue(self, models: list[str]) -> dict[str, Any]:
        rows = [{"id": m, "type": "model", "display_name": m.title()} for m in models]
        return {"data": rows, "has_more": False}

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"event: {payload['type']}\ndata: {dump(payload)}\n\n".encode()

    @staticmethod
    def _reason(plan: Plan) -> str:
        if plan.tool:
            return "tool_use"
        return "refusal" if plan.reason == "content_filter" else "end_turn"

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self.frame({"type": "content_block_delta", "index": self._block, "delta": delta})

    def _open(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._kind == kind:
            return b""
        shut = self._shut()
        self._block, self._kind = self._block + 1, kind
        started = {"type": "content_block_start", "index": self._block, "content_block": block}
        return shut + self.frame(started)

    def _shut(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return self.frame({"type": "content_block_stop", "index": self._block})


class Responses:
    """https://platform.openai.com/docs/api-reference/responses-streaming"""

    def __init__(self) -> None:
        self._number = -1
        self._response: dict[str, Any] = {}
        self._output: list[dict[str, Any]] = []
        self._text = ""

    def begin(self, model: str) -> Iterator[bytes]:
        self._response = {"id": _response_id(), "object": "response", "model": model}
        self._response |= {"created_at": 1, "status": "in_progress", "output": []}
        for step in ("created", "in_progress"):
            yield self._event(f"response.{step}", response=self._response)

    def text(self, piece: str) -> bytes:
        begun = b"" if self._text else self._begin_text()
        self._text += piece
        place = {"item_id": "msg_fake", "output_index": len(self._output), "content_index": 0}
        return begun + self._event("response.output_text.delta", **place, delta=piece, logprobs=[])

    def _begin_text(self) -> bytes:
        item = _response_message("") | {"content": [], "status": "in_progress"}
        return self._event("response.output_item.added", output_index=0, item=item)

    def reasoning(self, piece: str) -> bytes:
        place = {"item_id": "rs_fake", "output_index": 0, "summary_index": 0}
        return self._event("response.reasoning_summary_text.delta", **place, delta=piece)

    def tool(self) -> Iterator[bytes]:
        item, place = _response_call(), {"item_id": "fc_fake", "output_index": len(self._output)}
        added = {**item, "arguments": "", "status": "in_progress"}
        yield self._event(
            "response.output_item.added", output_index=place["output_index"], item=added
        )
        for part in (TOOL[2][:9], TOOL[2][9:]):
            yield self._event("response.function_call_arguments.delta", **place, delta=part)
        self._output.append(item)

    def finish(self, plan: Plan, usage: tuple[int, int] | None) -> Iterator[bytes]:
        if self._text:
            self._output.insert(0, _response_message(self._text))
        ended = {"output": self._output, "usage": _responses_usage(usage) if usage else None}
        ended |= _response_ending(plan)
        response = self._response | ended
        yield self._event(f"response.{ended['status']}", response=response)

    def truncate(self) -> Iterator[bytes]:
        yield from ()

    def error(self, code: str, message: str) -> dict[str, Any]:
        return OpenAI().error(code, message)

    def whole(self, model: str, plan: Plan, usage: tuple[int, int]) -> dict[str, Any]:
        output = [_response_message("".join(plan.text))] if plan.text else []
        answer = {"id": _response_id(), "object": "response", "model": model, "created_at": 1}
        answer |= {"output": output + ([_response_call()] if plan.tool else [])}
        answer |= _response_ending(plan)
        return answer | ({"usage": _responses_usage(usage)} if plan.usage else {})

    def catalogue(self, models: list[str]) -> dict[str, Any]:
        return OpenAI().catalogue(models)

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"event: {payload.get('type', 'error')}\ndata: {dump(payload)}\n\n".encode()

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return self.frame({"type": kind, "sequence_number": self._number, **fields})


def _response_id() -> str:
    """Clients refer to a response by it."""
    return f"resp_{uuid4().hex}"


def _response_message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_fake", "role": "assistant", "status": "completed"}
    return item | {"content": [part]}


def _response_call() -> dict[str, Any]:
    item = {"type": "function_call", "id": "fc_fake", "status": "completed"}
    return item | {"call_id": TOOL[0], "name": TOOL[1], "arguments": TOOL[2]}


def _response_ending(plan: Plan) -> dict[str, Any]:
    if plan.reason != "length":
        return {"status": "completed"}
    return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def _responses_usage(usage: tuple[int, int]) -> dict[str, Any]:
    given, said = usage
    counts: dict[str, Any] = {"input_tokens": given, "output_tokens": said}
    counts |= {"input_tokens_details": {"cached_tokens": 0}, "total_tokens": given + said}
    return counts | {"output_tokens_details": {"reasoning_tokens": 0}}


def dialect(path: str, *, anthropic: bool = False) -> Dialect:
    """The format spoken at a path."""
    if path.endswith("/responses"):
        return Responses()
    return Anthropic() if anthropic or path.endswith("/messages") else OpenAI()


def _openai_usage(usage: tuple[int, int]) -> dict[str, int]:
    given, said = usage
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def dump(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
