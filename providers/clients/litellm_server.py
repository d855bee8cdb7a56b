"""The gateway process's application: LiteLLM's SDK behind an OpenAI-shaped door of our own.

The only module that imports litellm, and it does so in the background: the process answers from
its first moment, and a litellm that hangs, leaks or is missing takes this one route down. Every
error is reported with its kind. What the provider sent in a format that we read is passed on as it
was received; of any other, a stream without a finish reason is reported as truncated, for LiteLLM
would invent a `stop`.
"""

import asyncio
import hmac
import json
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from importlib import metadata
from typing import Any, NamedTuple

import aiohttp
from django.conf import settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from providers.clients import direct, gateway, http, litellm_answers, received
from providers.clients.litellm_errors import call_error
from providers.clients.received import ReceivedAnswer
from providers.domain.errors import CallError, GatewayError, TruncatedError
from providers.domain.types import Json, Kind, Method, Target, Timeouts, is_credential
from providers.protocols import sse

log = logging.getLogger(__name__)

# What OpenAI's format names; anything else travels in `extra_body`, so that no caller reaches
# LiteLLM's own switches (https://docs.litellm.ai/docs/completion/input).
PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "n"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format", "user"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
        "reasoning_effort",
    }
)
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
_OURS = frozenset({"model", "messages", "stream", "stream_options", "upstream", "load_wait"})

# Read by litellm at import: no price list from the network, no .env file, no debugging prints.
_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
}


class Sdk:
    """LiteLLM, once it is imported; `problem` says why it is not. `session` is what it calls with:
    ours, so that the address guard holds on this route too, and no redirect is followed."""

    def __init__(self) -> None:
        self.module: Any = None
        self.session: aiohttp.ClientSession | None = None
        self.shared_session: Any = None  # a _LitellmSession, once LiteLLM is loaded
        self.fresh_session: Any = None
        self.problem = "LiteLLM is still loading."
        self.failed = False
        self.ended = asyncio.Event()
        self.version = ""
        self.vendors: list[str] = []

    async def load(self) -> None:
        """Imports litellm in a thread: it takes seconds of CPU."""
        try:
            await self._load()
        finally:
            self.ended.set()

    async def wait(self, seconds: float) -> None:
        """Raises GatewayError where LiteLLM cannot be called within so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)
        if self.session is None:
            code = "litellm_missing" if self.failed else "gateway_loading"
            raise GatewayError(self.problem, code=code)

    async def _load(self) -> None:
        try:
            self.module = await asyncio.to_thread(_import_litellm)
        except Exception:
            self.failed = True
            self.problem = "LiteLLM could not be imported. The gateway process's log says why."
            log.exception("litellm_import_failed")
            return
        self.session = http.session(response_class=received.Response)
        fresh = http.session(response_class=received.Response, force_close=True)
        self.shared_session = self._make_session(self.session)
        self.fresh_session = self._make_session(fresh)
        self.version = metadata.version("litellm")
        self.vendors = sorted(str(getattr(v, "value", v)) for v in self.module.provider_list)
        self.problem = ""
        log.info("litellm_ready")

    def _make_session(self, session: aiohttp.ClientSession) -> "_LitellmSession":
        handlers = self.module.llms.custom_httpx.http_handler
        return _LitellmSession(session, handlers.AsyncHTTPHandler(shared_session=session))

    async def close(self) -> None:
        for each in filter(None, (self.shared_session, self.fresh_session)):
            await each.session.close()


class _LitellmSession(NamedTuple):
    """A session that LiteLLM calls with, and the same as its Anthropic code wants it."""

    session: aiohttp.ClientSession
    handler: Any


def _import_litellm() -> Any:
    os.environ.update(_ENVIRONMENT)
    import litellm

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    # LiteLLM's log lines contain prompts and upstream bodies.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


sdk = Sdk()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """Loads LiteLLM while the process already answers."""
    loading = asyncio.create_task(sdk.load())
    yield
    loading.cancel()
    await sdk.close()
    await http.close()


async def healthz(request: Request) -> Response:
    """Up at once; `status` is ready only when calls can be made, missing where they never can."""
    status = "ready" if sdk.session else "missing" if sdk.failed else "loading"
    report = {"status": status, "problem": sdk.problem, "version": sdk.version}
    return JSONResponse(report | {"vendors": sdk.vendors})


async def chat_completions(request: Request) -> Response:
    """One answer, streamed or whole; the reader leaving cancels the call behind it."""
    if not _is_ours(request):
        return _unauthorized_response()
    body = await request.json()
    if body.get("stream"):
        return StreamingResponse(_stream(body), media_type="text/event-stream", headers=sse.HEADERS)
    return _stream_json(_answer_in_full(body))


async def models(request: Request) -> Response:
    """The catalogue of the provider behind: LiteLLM has no call for it, the route is the same."""
    if not _is_ours(request):
        return _unauthorized_response()
    return _stream_json(_catalogue((await request.json())["upstream"]))


def _stream_json(making: Awaitable[bytes]) -> Response:
    """A response whose body is still being made. Its headers are sent at once: they show that this
    process is alive, however slow the provider is. An error is reported in the body."""

    async def send_body() -> AsyncGenerator[bytes]:
        yield b"\n"  # nothing yet, in JSON and in an event stream alike
        try:
            body = await making
        except CallError as error:
            body = _encode({"error": gateway.serialize_error(error)})
        yield body

    return StreamingResponse(send_body(), media_type="application/json")


def _encode(payload: Json) -> bytes:
    return json.dumps(payload, separators=(",", ":"), default=str).encode()


async def _catalogue(upstream: Json) -> bytes:
    models = await direct.list_models(gateway.upstream_target(_BLANK, upstream))
    rows = [{"id": m.model_id, "name": m.name, "context_length": m.context} for m in models]
    return _encode({"object": "list", "data": rows, "unread": models.unread})


# Filled in from the request; the caller's own patience ends the call before these do.
_BLANK = Target(
    method=Method.GATEWAY,
    kind=Kind.OPENAI,
    base_url="",
    api_key="",
    model="",
    timeouts=Timeouts(connect=10, first_token=60, silence=60, total=60),
)


def _is_ours(request: Request) -> bool:
    token = settings.GATEWAY_TOKEN
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(shown.encode(), token.encode())


def _unauthorized_response() -> Response:
    problem = GatewayError("The gateway refused its own key.", status=401, code="gateway_key")
    return JSONResponse({"error": gateway.serialize_error(problem)}, status_code=401)


async def _stream(body: dict[str, Any]) -> AsyncGenerator[bytes]:
    yield sse.comment()
    try:
        async with aclosing(_pieces(body)) as pieces:
            async for piece in pieces:
                yield piece
    except CallError as error:
        yield sse.encode(json.dumps({"error": gateway.serialize_error(error)}))


async def _pieces(body: dict[str, Any]) -> AsyncGenerator[bytes]:
    """The answer as it was received, where it is in a format that we read; else LiteLLM's chunks,
    until one claims a finish reason that nobody sent."""
    answer, received_answer = None, ReceivedAnswer(streams=True)
    try:
        with _mapped_litellm_errors(), received_answer.listening():
            answer = await _call(body, STREAMED, received_answer)
        if received_answer.resent:
            yield _RESENT
        source = received_answer.pieces() if received_answer.is_readable else _chunks(answer)
        async with aclosing(source) as pieces:
            async for piece in pieces:
                yield piece
    except CallError:
        if received_answer.resent and answer is None:
            yield _RESENT
        raise
    finally:
        received_answer.close()
        if answer is not None:
            await litellm_answers.close(answer)


async def _chunks(answer: Any) -> AsyncGenerator[bytes]:
    with _mapped_litellm_errors():
        async for chunk in answer:
            fields = chunk.model_dump(exclude_none=True)
            if litellm_answers.claims_finish(fields) and not litellm_answers.was_received(answer):
                raise TruncatedError
            if fields.get("usage") and not litellm_answers.has_usage(answer):
                fields["usage"]["estimated"] = True
            yield sse.encode(_encode(fields).decode())
    yield sse.encode("[DONE]")


async def _answer_in_full(body: dict[str, Any]) -> bytes:
    """The same of an answer in one piece; where it was received, LiteLLM's trouble with it is of no
    consequence."""
    details: list[str] = []
    received_answer = ReceivedAnswer(streams=False)

    def note(given: Json) -> None:
        if isinstance(raw := given.get("original_response"), str):
            details.append(raw)

    try:
        with _mapped_litellm_errors(), received_answer.listening():
            answer = await _call(body, {"logger_fn": note}, received_answer)
    except CallError:
        if received_answer.body is None:
            raise
    if received_answer.body is not None:
        return (
            _RESENT + b"".join(received_answer.events())
            if received_answer.resent
            else received_answer.body
        )
    if details and litellm_answers.is_unfinished(details[-1]):
        raise TruncatedError
    with _mapped_litellm_errors():
        return _encode(answer.model_dump(exclude_none=True))


_RESENT = sse.encode(json.dumps({gateway.RESENT: True}))


async def _call(body: dict[str, Any], more: dict[str, Any], received_answer: ReceivedAnswer) -> Any:
    """LiteLLM's answer. A request that dies with a kept connection is sent once more, as over the
    direct route."""
    if sdk.session is None:
        await sdk.wait(float(body.get("load_wait") or 0))
    with http.watch_connection() as connection:
        try:
            return await sdk.module.acompletion(**_arguments(body, sdk.shared_session), **more)
        except Exception as exc:
            if not connection.is_reused or call_error(exc).code != "reset":
                raise
    received_answer.resent = True
    return await sdk.module.acompletion(**_arguments(body, sdk.fresh_session), **more)


@contextmanager
def _mapped_litellm_errors() -> Iterator[None]:
    try:
        yield
    except CallError:
        raise
    except Exception as exc:
        raise call_error(exc) from exc


def _arguments(body: dict[str, Any], session: _LitellmSession) -> dict[str, Any]:
    """acompletion's arguments: one attempt, always with this provider's own key and address."""
    upstream = body["upstream"]
    options = {name: value for name, value in body.items() if name in PARAMETERS}
    extra = {n: v for n, v in body.items() if n not in PARAMETERS and n not in _OURS}
    stored = dict(upstream.get("parameters") or {})
    extra = {**(stored.pop("extra_body", None) or {}), **extra}
    return {
        **stored,  # the caller's parameters win
        **options,
        **({"extra_body": extra} if extra else {}),
        "model": upstream["litellm_model"],
        "messages": body["messages"],
        "api_base": _litellm_base(upstream),
        # Never empty: LiteLLM would take a key from the environment and send it there.
        "api_key": upstream["api_key"] or _no_key(upstream),
        "extra_headers": {"Accept-Encoding": "identity"} | (upstream.get("headers") or {}),
        "shared_session": session.session,
        # LiteLLM's own MCP gateway is no part of this, and needs a package that is not here.
        "_skip_mcp_handler": True,
        **({"client": session.handler} if _is_anthropic(upstream) else {}),
        "max_retries": 0,
        "num_retries": 0,
        **({"allowed_openai_params": ["max_retries"]} if _is_openai_like(upstream) else {}),
        "timeout": settings.TIMEOUT_TOTAL,
    }


# Vendors whose calls are signed with credentials of another kind: a key that is none is refused.
_KEYLESS = frozenset(
    {"bedrock", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta", "oci"}
)


def _no_key(upstream: Json) -> str | None:
    """None where the vendor's own credentials are among the parameters, or sign the call."""
    has_own = any(is_credential(name) for name in upstream.get("parameters") or {})
    return None if has_own or _prefix(upstream) in _KEYLESS else "none"


def _prefix(upstream: Json) -> str:
    return str(upstream["litellm_model"]).partition("/")[0]


def _litellm_base(upstream: Json) -> str | None:
    """LiteLLM adds `/v1/messages` to Anthropic's address by itself; None where it knows all."""
    base = str(upstream["base_url"]).rstrip("/")
    return (base.removesuffix("/v1") if _is_anthropic(upstream) else base) or None


def _is_openai_like(upstream: Json) -> bool:
    """Whether LiteLLM calls it with OpenAI's package under another name: it then drops
    `max_retries` unless it is listed as allowed, and calls three times."""
    return _prefix(upstream) in sdk.module.openai_compatible_providers


def _is_anthropic(upstream: Json) -> bool:
    return str(upstream["litellm_model"]).startswith("anthropic/")


application = Starlette(
    routes=[
        Route("/healthz", healthz),
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/models", models, methods=["POST"]),
    ],
    lifespan=lifespan,
)
