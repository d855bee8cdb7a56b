"""The fake provider's mouth: a plan played on a connection, streamed or whole."""

import asyncio
import math
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from tests.upstreams.dialects import Anthropic, Dialect, dump
from tests.upstreams.plans import Plan
from tests.upstreams.record import Record

# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
LIMITS = {"x-ratelimit-limit-tokens": "150000", "x-ratelimit-remaining-requests": "59"}
FOREVER = 3600.0
BROKEN = ("server_error", "The model broke down while it was answering.")
MALFORMED = b'data: {"id":"chatcmpl-fake","choices":[{"index":0,"delta":{"con\n\n'
_PIECE = 16 * 1024  # bytes of an endless page that are written at once


class Hung(Exception):
    """We ended the connection ourselves."""


def refusal(spoken: Dialect, plan: Plan) -> web.Response:
    """A failure in the format's own shape, or in Z.ai's, which says no more than this."""
    reset_at = datetime.now(UTC) + timedelta(hours=8, seconds=plan.resets_in)  # in Beijing's time
    message = plan.message.format(reset=f"{reset_at:%Y-%m-%d %H:%M:%S}")
    body = spoken.error(plan.code, message)
    if plan.bare:
        body = {"error": {"code": plan.code, "message": message}}
    return web.json_response(body, status=plan.status, headers=_wait(plan))


def _wait(plan: Plan) -> dict[str, str]:
    """What the refusal says of when to come again, in the way that was asked for."""
    if plan.retry_after is None:
        return {}
    match plan.retry_as:
        case "date":
            # A date has no fraction: it is rounded up, so that nobody comes too early.
            at = datetime.fromtimestamp(math.ceil(time.time() + plan.retry_after), UTC)
            return {"Retry-After": format_datetime(at, usegmt=True)}
        case "ms":
            return {"retry-after-ms": f"{plan.retry_after * 1000:.0f}"}
        case "nonsense":
            return {"Retry-After": "when the moon is full"}
    return {"Retry-After": f"{plan.retry_after:g}"}


_CUT_SHORT = "Could not finish the message because max_tokens or model output limit was reached."


class Answer:
    """One answer on its way to one reader; what is written of it is counted in the record."""

    def __init__(self, request: web.Request, record: Record, spoken: Dialect) -> None:
        self._request = request
        self._record = record
        self._body = record.body
        self._spoken = spoken
        self._model = str(self._body.get("model", ""))
        self.question = _question(self._body)

    async def play(self, plan: Plan) -> web.StreamResponse:
        """Answers as planned."""
        if plan.begin == "stall-headers":
            await asyncio.sleep(FOREVER)
        if plan.begin == "reset":
            await self._hang_up()
        if plan.page:
            return await self._page(plan)
        if plan.status != 200 and not plan.raw:
            return refusal(self._spoken, plan)
        if refused := [name for name in plan.refuses if name in self._body]:
            message = f"Unsupported parameter: '{refused[0]}' is not supported with this model."
            return refusal(
                self._spoken, Plan(status=400, code="unsupported_parameter", message=message)
            )
        if int(self._body.get("max_tokens", plan.least_tokens)) < plan.least_tokens:
            return refusal(self._spoken, Plan(status=400, bare=True, message=_CUT_SHORT))
        if plan.begin == "nothing":
            return web.Response()
        if plan.raw:
            return web.Response(text=plan.raw, content_type=plan.content_type, status=plan.status)
        if plan.whole or not self._body.get("stream"):
            return await self._whole(plan)
        return await self._stream(plan)

    async def _page(self, plan: Plan) -> web.StreamResponse:
        """A web page of that many bytes, written no faster than it is read."""
        transport = self._request.transport
        if transport is not None:
            transport.set_write_buffer_limits(high=_PIECE)
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
        response = web.StreamResponse(status=plan.status, headers={"Content-Type": "text/html"})
        await response.prepare(self._request)
        await self._write(response, b"<!DOCTYPE html><html><body>")
        while self._record.written < plan.page:
            await self._write(response, b"All is lost. ".ljust(_PIECE))
        return response

    async def _whole(self, plan: Plan) -> web.StreamResponse:
        await asyncio.sleep(plan.late + plan.pause * len(plan.text))
        if plan.end == "error":
            return web.json_response(self._spoken.error(*BROKEN))
        if plan.end in ("eof", "truncate"):
            plan = replace(plan, text=plan.text[: plan.said or None])
        answer = dump(self._spoken.whole(self._model, plan, self._usage(plan))).encode()
        headers = {"Content-Type": "application/json"}
        response = web.StreamResponse(headers=headers | {"Content-Length": str(len(answer))})
        await response.prepare(self._request)
        if plan.begin == "stall-first":
            await asyncio.sleep(FOREVER)
        broken = plan.end in ("stall", "cut", "garbled")
        await self._write(response, answer[: len(answer) // 2] if broken else answer)
        match plan.end:
            case "stall":
                await asyncio.sleep(FOREVER)
            case "cut":
                await self._hang_up(after=0.1)
            case "garbled":
                await self._write(response, b"}" * (len(answer) - len(answer) // 2))
        return response

    async def _stream(self, plan: Plan) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers | (LIMITS if plan.limits else {}))
        await response.prepare(self._request)
        self._record.has_headers = True
        await asyncio.sleep(FOREVER if plan.begin == "stall-first" else plan.late)
        if plan.text or plan.end == "finish":
            await self._speak(response, plan)
        await self._end(response, plan)
        await response.write_eof()
        return response

    async def _speak(self, response: web.StreamResponse, plan: Plan) -> None:
        await self._write(response, *self._spoken.begin(self._model))
        for piece in plan.reasoning:
            await self._write(response, self._spoken.reasoning(piece))
        if plan.tool:
            await self._write(response, *self._spoken.tool())
        await self._say(response, plan, plan.text[: plan.said or None])

    async def _say(self, response: web.StreamResponse, plan: Plan, pieces: Iterable[str]) -> None:
        began = time.monotonic()
        for number, piece in enumerate(pieces):
            if plan.pause:
                await asyncio.sleep(began + number * plan.pause - time.monotonic())
            await self._write(response, self._spoken.text(piece))

    async def _end(self, response: web.StreamResponse, plan: Plan) -> None:
        match plan.end:
            case "stall":
                await asyncio.sleep(FOREVER)
            case "cut":
                await self._hang_up(after=0.1)  # so that what was said is read before
            case "error":
                await self._write(response, self._spoken.frame(self._spoken.error(*BROKEN)))
            case "truncate":
                await self._write(response, *self._spoken.truncate())
            case "garbled":
                await self._write(response, MALFORMED)
                await self._say(response, plan, plan.text[plan.said :])
                await self._write(response, *self._spoken.finish(plan, self._usage(plan)))
            case "finish" | "no-done":
                usage = self._usage(plan) if plan.usage and self._usage_asked() else None
                await self._write(response, *self._spoken.finish(plan, usage))

    async def _write(self, response: web.StreamResponse, *frames: bytes) -> None:
        for frame in frames:
            self._record.written += len(frame)
            await response.write(frame)

    def _usage_asked(self) -> bool:
        asked = (self._body.get("stream_options") or {}).get("include_usage")
        return bool(asked) or isinstance(self._spoken, Anthropic)

    def _usage(self, plan: Plan) -> tuple[int, int]:
        """Tokens in and out: words asked, at least 7 so that they differ, and pieces said."""
        return max(7, len(self.question.split())), len(plan.text) + len(plan.reasoning)

    async def _hang_up(self, after: float = 0.0) -> None:
        """Resets the connection: an RST, not a polite end."""
        await asyncio.sleep(after)
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        raise Hung


def _question(body: dict[str, Any]) -> str:
    """The last user message's text."""
    given = body.get("messages") or body.get("input") or ()
    if isinstance(given, str):
        return given
    asked = [m for m in given if m.get("role") == "user"]
    content = asked[-1].get("content") if asked else ""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return str(content or "")
