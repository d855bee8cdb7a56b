"""The fake provider's endpoints beside chats: embeddings, completions, images, audio and the rest.

A refusal is the plan's own, as of a chat. `cut` and `truncate` break an answer off, `no-usage`
leaves the counts out, `slow-<n>-<ms>` takes its time.
"""

import asyncio
import base64
import json
import re
import struct
from typing import Any

from aiohttp import web

from tests.upstreams import speech
from tests.upstreams.dialects import dialect
from tests.upstreams.plans import Plan
from tests.upstreams.record import Record

SOUND = b"ID3" + bytes(range(256)) * 64
NUMBERS = (0.5, -0.25, 1.0)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
WORDS = ("One", " two", " three")


def read_form(raw: bytes) -> dict[str, Any]:
    """The fields of a form that are text, and all of it under `raw`."""
    fields = re.findall(rb'name="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n', raw)
    texts = {name.decode(): value.decode("utf-8", "replace") for name, value in fields}
    return {**texts, "raw": raw.decode("latin-1")} if fields else {}


async def play(request: web.Request, record: Record, plan: Plan) -> web.StreamResponse:
    """Answers as planned."""
    if plan.status != 200:
        return speech.refusal(dialect("/v1/chat/completions"), plan)
    if plan.raw:
        return web.Response(text=plan.raw, content_type=plan.content_type)
    endpoint = next(path for path in PATHS if request.path.endswith(path))
    if record.body.get("stream"):
        return await _stream(request, plan)
    content_type, body = PATHS[endpoint](record.body)
    if content_type == "application/json" and isinstance(body, dict):
        if not plan.usage:
            body.pop("usage", None)
        body = json.dumps(body).encode()
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await asyncio.sleep(plan.pause * len(plan.text) if plan.pause else 0)
    if plan.end in ("cut", "truncate"):
        await response.write(body[: len(body) // 2])
        await asyncio.sleep(0.1)
        if request.transport:
            request.transport.abort()
        raise speech.Hung
    await response.write(body)
    await response.write_eof()
    return response


async def _stream(request: web.Request, plan: Plan) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    words = plan.text if plan.pause else WORDS
    for word in words:
        await asyncio.sleep(plan.pause)
        await response.write(_event({"choices": [{"index": 0, "text": word}], "model": "m"}))
    if plan.end == "error":
        await response.write(
            _event({"error": {"message": "It broke down.", "code": "server_error"}})
        )
    elif plan.end not in ("truncate", "cut"):
        last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}], "x_kept": 1}
        await response.write(_event(last) + b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(payload).encode()


def _embeddings(body: dict[str, Any]) -> tuple[str, Any]:
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    packed = base64.b64encode(struct.pack("<3f", *NUMBERS)).decode()
    vector: Any = packed if body.get("encoding_format") == "base64" else list(NUMBERS)
    row = {"object": "embedding", "embedding": vector}
    rows = [{**row, "index": place} for place, _ in enumerate(inputs)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return "application/json", {"object": "list", "data": rows, "model": "m", "usage": usage}


def _completion(body: dict[str, Any]) -> tuple[str, Any]:
    choice = {"index": 0, "text": "".join(WORDS), "finish_reason": "stop", "logprobs": None}
    head = {"id": "cmpl-fake", "object": "text_completion", "created": 1, "model": "m"}
    return "application/json", {**head, "choices": [choice], "usage": dict(USAGE)}


def _rerank(body: dict[str, Any]) -> tuple[str, Any]:
    results = [
        {"index": place, "relevance_score": 0.5} for place, _ in enumerate(body["documents"])
    ]
    return "application/json", {"results": results, "meta": {"billed_units": {"search_units": 1}}}


def _images(body: dict[str, Any]) -> tuple[str, Any]:
    picture = base64.b64encode(b"\x89PNG").decode()
    return "application/json", {"created": 1, "data": [{"b64_json": picture}]}


def _transcription(body: dict[str, Any]) -> tuple[str, Any]:
    if body.get("response_format") == "text":
        return "text/plain", b"One two three\n"
    return "application/json", {"text": "One two three"}


def _speech(body: dict[str, Any]) -> tuple[str, Any]:
    return "audio/mpeg", SOUND


def _moderation(body: dict[str, Any]) -> tuple[str, Any]:
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    return "application/json", {"id": "modr-fake", "model": "m", "results": [result]}


PATHS = {
    "embeddings": _embeddings,
    "completions": _completion,
    "rerank": _rerank,
    "images/generations": _images,
    "audio/transcriptions": _transcription,
    "audio/speech": _speech,
    "moderations": _moderation,
}
