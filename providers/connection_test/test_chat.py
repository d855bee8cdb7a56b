"""One short chat that is listened to: what came, when, in which form, and what it used.

It goes the way of real traffic, `router.client`. Where a vendor refuses the limit that keeps the
chat short, it is asked once more without.
"""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from providers.clients.recorder import Exchange, Recorder
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
    is_content,
)
from providers.probes.probe import SHORT_CHAT
from providers.router import router

ENOUGH = 200  # pieces of content: who ignores the limit is not listened to for longer
# What OpenAI's reasoning models say to `max_tokens`.
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})


@dataclass(slots=True, kw_only=True)
class Answer:
    """What became of it. `pieces` counts the texts it came in; `streamed` is whether it came as a
    stream at all; `limited` whether the limit was taken; `left` whether we did not wait for the
    end. `error` is None where there was an answer."""

    text: str = ""
    reasoning: bool = False
    pieces: int = 0
    streamed: bool = False
    limited: bool = True
    left: bool = False
    ttft_ms: int | None = None
    ms: int = 0
    usage: Usage | None = None
    error: CallError | None = None
    exchange: Exchange | None = None

    @property
    def thinks_aloud(self) -> bool:
        """Whether it says its thoughts in the answer, where they do not belong."""
        return self.text.lstrip().startswith("<think")

    def take(self, event: ClientEvent) -> None:
        if isinstance(event, TextDelta):
            self.text += event.text
        self.reasoning = self.reasoning or isinstance(event, ReasoningDelta)
        self.pieces += is_content(event)
        if isinstance(event, UsageReport):
            self.usage = event.usage


async def ask(
    target: Target,
    request: ChatRequest = SHORT_CHAT,
    on_first: Callable[[Answer], object] = lambda _: None,
) -> Answer:
    """The answer to its end; `on_first` is called when its first content is here."""
    answer = await once(target, request, on_first)
    if answer.error and "max_tokens" in request.options and _is_about_limit(answer.error):
        kept = {name: value for name, value in request.options.items() if name != "max_tokens"}
        answer = await once(target, replace(request, options=kept), on_first)
        answer.limited = False
    return answer


def _is_about_limit(error: CallError) -> bool:
    """Others have no code for it: a limit that is too small for them is named in the message."""
    named = "max_tokens" in error.message or "max_completion_tokens" in error.message
    return error.kind == ErrorKind.REQUEST and (error.code in _UNSUPPORTED or named)


async def once(
    target: Target,
    request: ChatRequest,
    on_first: Callable[[Answer], object] = lambda _: None,
) -> Answer:
    """The same in one call, whatever becomes of it."""
    answer, began = Answer(), time.monotonic()
    with Recorder(secrets_of(target)).listening() as recorder:
        try:
            async with aclosing(router.client(target, request)) as events:
                async for event in events:
                    answer.take(event)
                    if answer.ttft_ms is None and is_content(event):
                        answer.ttft_ms = round((time.monotonic() - began) * 1000)
                        on_first(answer)
                    if answer.pieces >= ENOUGH:
                        answer.left = True
                        break
        except CallError as exc:
            # A reasoning model may use up the few tokens before it says a word: it did answer.
            answer.error = None if exc.code == "empty" else exc
    answer.ms = round((time.monotonic() - began) * 1000)
    answer.exchange = recorder.exchange
    answer.streamed = bool(recorder.exchange) and not _is_whole(recorder.exchange)
    return answer


def _is_whole(exchange: Exchange | None) -> bool:
    """Whether the answer is one JSON, whatever its content type says."""
    return bool(exchange and exchange.received.lstrip().startswith(("{", "[")))
