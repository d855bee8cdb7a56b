"""The fake provider's mouth: a plan played on a connection, in OpenAI's or Anthropic's words."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Protocol

from aiohttp import web

from tests.upstreams.behaviours import REASONING, TOOL, Plan

FOREVER = 3600.0
BROKEN = ("server_error", "The model broke down while it was answering.")


class Hung(Exception):
    """We ended the connection ourselves."""


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
        yield self._chunk({}, "tool_calls" if plan.tool else "stop")
        if usage:
            yield self.frame({**self._head, "choices": [], "usage": _openai_usage(usage)})
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
        reason = "tool_calls" if plan.tool else "stop"
        reason = None if plan.end == "truncate" else reason  # type: ignore[assignment]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        answer = {"id": "chatcmpl-fake", "object": "chat.completion", "created": int(time.time())}
        answer |= {"model": model, "choices": [choice]}
        return answer | ({"usage": _openai_usage(usage)} if plan.usage else {})

    def catalogue(self, models: list[str]) -> dict[str, Any]:
        rows = [{"id": m, "object": "model", "created": 0, "owned_by": "fake"} for m in models]
        return {"object": "list", "data": rows}

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"data: {_dump(payload)}\n\n".encode()

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
        reason = "tool_use" if plan.tool else "end_turn"
        ended: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": reason}}
        yield self.frame(ended | ({"usage": {"output_tokens": usage[1]}} if usage else {}))
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
        reason = "tool_use" if plan.tool else "end_turn"
        answer = {"id": "msg_fake", "type": "message", "role": "assistant", "model": model}
        answer["stop_reason"] = None if plan.end == "truncate" else reason  # type: ignore[assignment]
        tokens = {"input_tokens": usage[0], "output_tokens": usage[1]}
        return answer | {"content": content} | ({"usage": tokens} if plan.usage else {})

    def catalogue(self, models: list[str]) -> dict[str, Any]:
        rows = [{"id": m, "type": "model", "display_name": m.title()} for m in models]
        return {"data": rows, "has_more": False}

    def frame(self, payload: dict[str, Any]) -> bytes:
        return f"event: {payload['type']}\ndata: {_dump(payload)}\n\n".encode()

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


def dialect(path: str, *, anthropic: bool = False) -> Dialect:
    """The format spoken at a path."""
    return Anthropic() if anthropic or path.endswith("/messages") else OpenAI()


def failure(spoken: Dialect, plan: Plan) -> web.Response:
    """A refusal in the format's own shape."""
    body = spoken.error(plan.code, plan.message)
    if plan.code == "1113":  # Z.ai says no more than this
        body = {"error": {"code": plan.code, "message": plan.message}}
    headers = {} if plan.retry_after is None else {"Retry-After": str(plan.retry_after)}
    return web.json_response(body, status=plan.status, headers=headers)


class Answer:
    """One answer on its way to one reader."""

    def __init__(self, request: web.Request, body: dict[str, Any], spoken: Dialect) -> None:
        self._request = request
        self._body = body
        self._spoken = spoken
        self._model = str(body.get("model", ""))
        self.question = _question(body)

    async def play(self, plan: Plan) -> web.StreamResponse:
        """Answers as planned."""
        if plan.begin == "stall-headers":
            await asyncio.sleep(FOREVER)
        if plan.begin == "reset":
            await self._hang_up()
        if plan.status != 200:
            return failure(self._spoken, plan)
        if plan.raw:
            return web.Response(text=plan.raw, content_type=plan.content_type)
        if plan.whole or not self._body.get("stream"):
            return await self._whole(plan)
        return await self._stream(plan)

    async def _whole(self, plan: Plan) -> web.StreamResponse:
        if plan.begin == "stall-first" or plan.end in ("stall", "cut"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(self._request)
            await (self._hang_up() if plan.end == "cut" else asyncio.sleep(FOREVER))
        if plan.end == "error":
            return web.json_response(self._spoken.error(*BROKEN))
        await asyncio.sleep(plan.pause * len(plan.text))
        return web.json_response(self._spoken.whole(self._model, plan, self._usage(plan)))

    async def _stream(self, plan: Plan) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(self._request)
        if plan.begin == "stall-first":
            await asyncio.sleep(FOREVER)
        if plan.text or plan.end == "finish":
            await self._speak(response, plan)
        await self._end(response, plan)
        await response.write_eof()
        return response

    async def _speak(self, response: web.StreamResponse, plan: Plan) -> None:
        for frame in self._spoken.begin(self._model):
            await response.write(frame)
        for piece in plan.reasoning:
            await response.write(self._spoken.reasoning(piece))
        if plan.tool:
            for frame in self._spoken.tool():
                await response.write(frame)
        began = time.monotonic()
        for number, piece in enumerate(plan.text):
            if plan.pause:
                await asyncio.sleep(began + number * plan.pause - time.monotonic())
            await response.write(self._spoken.text(piece))

    async def _end(self, response: web.StreamResponse, plan: Plan) -> None:
        match plan.end:
            case "stall":
                await asyncio.sleep(FOREVER)
            case "cut":
                await asyncio.sleep(0.02)  # so that what was said is read before
                await self._hang_up()
            case "error":
                await response.write(self._spoken.frame(self._spoken.error(*BROKEN)))
            case "truncate":
                for frame in self._spoken.truncate():
                    await response.write(frame)
            case "finish":
                usage = self._usage(plan) if plan.usage and self._usage_asked() else None
                for frame in self._spoken.finish(plan, usage):
                    await response.write(frame)

    def _usage_asked(self) -> bool:
        asked = (self._body.get("stream_options") or {}).get("include_usage")
        return bool(asked) or isinstance(self._spoken, Anthropic)

    def _usage(self, plan: Plan) -> tuple[int, int]:
        """Tokens in and out: words asked, at least 7 so that they differ, and pieces said."""
        return max(7, len(self.question.split())), len(plan.text) + len(plan.reasoning)

    async def _hang_up(self) -> None:
        """Resets the connection: an RST, not a polite end."""
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        raise Hung


def _question(body: dict[str, Any]) -> str:
    """The last user message's text."""
    asked = [m for m in body.get("messages") or () if m.get("role") == "user"]
    content = asked[-1].get("content") if asked else ""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return str(content or "")


def _openai_usage(usage: tuple[int, int]) -> dict[str, int]:
    given, said = usage
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def _dump(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
