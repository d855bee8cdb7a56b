"""Send one short chat and report what it shows: timing, streaming, token counts.

It uses the client that requests use. Where a vendor refuses the limit that keeps the chat short,
it is sent once more without.
"""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from providers.clients import methods
from providers.clients.recorder import Exchange, Recorder
from providers.connection_test.stages import StageReporter, remark
from providers.domain.errors import CallError, ErrorKind
from providers.domain.redaction import secrets_of
from providers.domain.types import (
    ChatRequest,
    ClientEvent,
    ReasoningDelta,
    Target,
    TextDelta,
    Usage,
    UsageReport,
)
from providers.probes.probe import SHORT_CHAT, ms_since

MAX_PIECES = 200  # of content: an answer that ignores the limit is not read any further
# OpenAI's reasoning models refuse `max_tokens` with these codes.
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})


@dataclass(slots=True, kw_only=True)
class ChatReply:
    """The result of one chat. `pieces` counts the content events; `streamed` is false where the
    answer was one JSON; `limit_accepted` is false where it was sent without a limit; `cut_short`
    where we stopped reading. `error` is None where there was an answer."""

    text: str = ""
    reasoning: bool = False
    pieces: int = 0
    streamed: bool = False
    limit_accepted: bool = True
    cut_short: bool = False
    ttft_ms: int | None = None
    ms: int = 0
    usage: Usage | None = None
    error: CallError | None = None
    exchange: Exchange | None = None

    @property
    def has_reasoning_in_text(self) -> bool:
        return self.text.lstrip().startswith("<think")

    def add(self, event: ClientEvent) -> None:
        if isinstance(event, TextDelta):
            self.text += event.text
        self.reasoning = self.reasoning or isinstance(event, ReasoningDelta)
        self.pieces += event.is_content
        if isinstance(event, UsageReport):
            self.usage = event.usage


type OnFirstToken = Callable[[ChatReply], object]


async def send(
    target: Target,
    request: ChatRequest = SHORT_CHAT,
    on_first_token: OnFirstToken = lambda _: None,
) -> ChatReply:
    """Send a chat; where its token limit is refused, send it again without one."""
    reply = await send_once(target, request, on_first_token)
    if reply.error and "max_tokens" in request.options and _is_about_limit(reply.error):
        options = {name: value for name, value in request.options.items() if name != "max_tokens"}
        reply = await send_once(target, replace(request, options=options), on_first_token)
        reply.limit_accepted = False
    return reply


def _is_about_limit(error: CallError) -> bool:
    """Some vendors have no code for it: a limit too small for them is named in the message."""
    is_named = "max_tokens" in error.message or "max_completion_tokens" in error.message
    return error.kind == ErrorKind.REQUEST and (error.code in _UNSUPPORTED or is_named)


async def send_once(
    target: Target,
    request: ChatRequest,
    on_first_token: OnFirstToken = lambda _: None,
) -> ChatReply:
    """Send a chat in one call; a failure is part of the reply."""
    reply, began = ChatReply(), time.monotonic()
    with Recorder(secrets_of(target)).listening() as recorder:
        try:
            async with aclosing(methods.stream_events(target, request)) as events:
                async for event in events:
                    reply.add(event)
                    if reply.ttft_ms is None and event.is_content:
                        reply.ttft_ms = ms_since(began)
                        on_first_token(reply)
                    if reply.pieces >= MAX_PIECES:
                        reply.cut_short = True
                        break
        except CallError as exc:
            # A reasoning model may spend the few tokens before its first word: it did answer.
            reply.error = None if exc.code == "empty" else exc
    reply.ms = ms_since(began)
    reply.exchange = recorder.exchange
    reply.streamed = bool(recorder.exchange) and not _is_json(recorder.exchange)
    return reply


def _is_json(exchange: Exchange | None) -> bool:
    """Whether the body is one JSON value, regardless of its content type."""
    return bool(exchange and exchange.received.lstrip().startswith(("{", "[")))


def report_reply(reply: ChatReply, model_id: str, report: StageReporter) -> None:
    """Report `chat`, `streaming` and `usage` of a reply that had content or ended well."""
    report.succeed(
        "chat",
        f"{model_id}: first token" if reply.pieces else f"{model_id}: no text yet",
        reply.ttft_ms or reply.ms,
        exchange=reply.exchange,
        remark=remark("The answer begins with <think>.", "thinks_aloud")
        if reply.has_reasoning_in_text
        else None,
    )
    _report_streaming(reply, report)
    _report_usage(reply, report)


def _report_streaming(reply: ChatReply, report: StageReporter) -> None:
    if reply.error:
        report.fail("streaming", reply.error, reply.ms)
    elif reply.streamed:
        pieces = f"{reply.pieces} piece{'' if reply.pieces == 1 else 's'}"
        report.succeed("streaming", pieces, reply.ms)
    else:
        error = remark("The answer came in one piece.", "not_streamed")
        report.succeed("streaming", "Requested, but not streamed", reply.ms, remark=error)


def _report_usage(reply: ChatReply, report: StageReporter) -> None:
    if reply.usage:
        count = f"{reply.usage.input_tokens} in, {reply.usage.output_tokens} out"
        report.succeed("usage", count)
    elif reply.error or reply.cut_short:
        report.skip("usage", "The answer was not read to its end.")
    else:
        error = remark("The answer has no token counts.", "no_usage")
        report.succeed("usage", "Missing: tokens are estimated", remark=error)
