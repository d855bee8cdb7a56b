"""Buffer one growing answer in a runner: what arrived, what is rendered, what is not yet written.

It turns a provider's events into log events and columns; the runner decides when to write them.
No I/O.
"""

import re
from collections.abc import Callable
from typing import Any

from chat import error_messages, waiting
from chat.events import Event, EventKind
from chat.markdown import document, has_footnotes
from chat.models import Status
from chat.render import BlockSplitter
from providers.domain.errors import CallError
from providers.domain.types import (
    AttemptRecord,
    AttemptStarted,
    Completed,
    ReasoningDelta,
    RouteTaken,
    StreamEvent,
    TextDelta,
    TextWasReasoning,
)

SURROGATES = re.compile("[\ud800-\udfff]")


class AnswerBuffer:
    """Text and reasoning so far, the route they came over, and how it ended."""

    def __init__(
        self, route_parts: Callable[[RouteTaken | AttemptStarted], str], name: str = ""
    ) -> None:
        """`route_parts` draws the route that is waited for, or taken.

        `name` is unique among the answers of a page.
        """
        self._route_parts = route_parts
        self._name = name
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._blocks: list[str] = []
        self._splitter = BlockSplitter()
        self._code = False
        self._new_text: list[str] = []
        self._new_reasoning: list[str] = []
        self._earlier_text = ""  # what there was before the answer went on
        self._route: RouteTaken | None = None
        self._waiting: dict[str, Any] | None = None
        self._route_html = ""
        self._new_route = False
        self._needs_reset = False  # readers need the answer from its beginning
        self._completed: Completed | None = None
        self._failure: dict[str, Any] | None = None
        self.saved_at = 0.0  # when the columns were last stored; the runner keeps it
        self._grown = True  # since then

    @property
    def visible(self) -> bool:
        """Whether the reader may have seen something of it, beyond what it had before."""
        if self._earlier_text:
            return sum(map(len, (*self._text, *self._new_text))) > len(self._earlier_text)
        return bool(self._text or self._new_text or self._reasoning or self._new_reasoning)

    @property
    def grown(self) -> bool:
        return self._grown

    def take(self, event: StreamEvent) -> None:
        match event:
            case TextDelta(text=text):
                self._new_text.append(text)
            case ReasoningDelta(text=text):
                self._new_reasoning.append(text)
            case TextWasReasoning():
                self._retract_text()
            case AttemptStarted():
                self._waiting = waiting.columns(event)
                self._show_route(event)
            case RouteTaken():
                self._route, self._waiting = event, None
                self._show_route(event)
            case Completed():
                self._completed = event

    def _show_route(self, event: RouteTaken | AttemptStarted) -> None:
        self._route_html, self._new_route = self._route_parts(event), True
        self._grown = True

    def _retract_text(self) -> None:
        """All text of this run was reasoning: readers need a reset."""
        text = "".join((*self._text, *self._new_text))[len(self._earlier_text) :]
        self._new_reasoning = [text, *self._new_reasoning]
        self._text, self._new_text, self._blocks = [], [self._earlier_text], []
        self._splitter, self._code, self._needs_reset = BlockSplitter(), False, True

    def recover(self, text: str, reasoning: str, *, continued: int = 0) -> None:
        """Start from an earlier runner's answer, whose first `continued` characters stay."""
        self._earlier_text = text[:continued]
        self._new_text.append(text)
        self._new_reasoning.append(reasoning)
        self._drain()

    def fail(self, error: CallError, attempts: tuple[AttemptRecord, ...]) -> None:
        self._failure = error_messages.describe_error(error, attempts)

    def events(self, *, full: bool) -> list[Event]:
        """The events to add to the log; with `full`, one reset with the complete state."""
        events = self._drain()
        full, self._needs_reset = full or self._needs_reset, False
        return [self._reset()] if full else events

    def _drain(self, *, last: bool = False) -> list[Event]:
        events = []
        if self._new_route:
            events.append(Event(kind=EventKind.ROUTE, html=self._route_html))
            self._new_route = False
        if reasoning := _storable(self._new_reasoning, last=last):
            self._grown = True
            self._reasoning.append(reasoning)
            events.append(Event(kind=EventKind.REASONING, text=reasoning))
        if text := _storable(self._new_text, last=last):
            self._grown = True
            self._text.append(text)
            events.append(self._render(text))
        return events

    def _render(self, text: str) -> Event:
        fed = self._splitter.feed(text)
        if fed.tail is None:
            return Event(kind=EventKind.TAIL, text=text)
        self._blocks.append(fed.html)
        self._code = fed.code
        return Event(kind=EventKind.BLOCK, text=text, html=fed.html, tail=fed.tail, code=fed.code)

    def _reset(self) -> Event:
        return Event(
            kind=EventKind.RESET,
            text="".join(self._text),
            html="".join(self._blocks),
            tail=self._splitter.tail,
            code=self._code,
            reasoning="".join(self._reasoning),
            route=self._route_html,
        )

    def columns(self) -> dict[str, Any]:
        """The columns to save while the answer grows: only what is in the log."""
        self._grown = False
        saved: dict[str, Any] = {
            "text": "".join(self._text),
            "reasoning": "".join(self._reasoning),
            "waiting": self._waiting,
        }
        return saved | (route_columns(self._route) if self._route else {})

    def last_columns(self, *, stopped: bool, lost: bool = False) -> dict[str, Any]:
        """The columns to save at the end of the answer, in whichever way it ended."""
        self._drain(last=True)
        self._waiting = None
        columns = self.columns()
        columns["html"] = self._html(columns["text"])
        if self._completed:
            columns |= completed_columns(self._completed)
        columns["error"] = self._failure or columns.get("error")
        if lost:
            columns["error"] = error_messages.describe_lost_turn()
        columns["status"] = self._status(columns["error"] is not None, stopped)
        return columns

    def _html(self, text: str) -> str:
        """The blocks, each rendered once; an answer with footnotes is rendered again in full."""
        if has_footnotes(text):
            return document(text, self._name)
        return "".join(self._blocks) + self._splitter.close().html

    def _status(self, broken: bool, stopped: bool) -> Status:
        if stopped:
            return Status.STOPPED
        if not broken:
            return Status.DONE
        return Status.INTERRUPTED if self.visible or self._earlier_text else Status.FAILED


def route_columns(route: RouteTaken) -> dict[str, Any]:
    return {
        "provider_name": route.provider_name[:100],
        "model_name": route.model[:200],
        "method": "earlier" if route.is_cached else route.method.value,
        "reason": route.reason[:300],
        "fallback": route.fallback,
        "ttft_ms": route.ttft_ms,
    }


def completed_columns(completed: Completed) -> dict[str, Any]:
    usage, error = completed.usage, completed.error
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_estimated": usage.estimated,
        "cost": completed.cost,
        "finish_reason": (completed.native_reason or completed.finish_reason)[:30],
        "error": error_messages.describe_error(error, completed.attempts) if error else None,
    }


def _storable(pieces: list[str], *, last: bool) -> str:
    """Joins and empties the pieces; what PostgreSQL or UTF-8 cannot hold is replaced.

    Some providers cut between the halves of a surrogate pair: the first half waits for the second.
    """
    if not pieces:
        return ""
    text = "".join(pieces).replace("\0", "\ufffd")
    pieces.clear()
    if text.isascii() or not SURROGATES.search(text):
        return text
    if not last and "\ud800" <= text[-1] <= "\udbff":
        pieces.append(text[-1])
        text = text[:-1]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
