"""Track one attempt while it runs: time to first token, usage, how it ends.

The tracker also holds back every event before the first content: until then another route may still
answer, so nothing may reach the caller.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from django.utils import timezone

from providers.domain.errors import CallError
from providers.domain.types import (
    AttemptRecord,
    ChatRequest,
    ClientEvent,
    Completed,
    Finish,
    LateError,
    Passed,
    ReasoningDelta,
    Resent,
    RouteTaken,
    StreamEvent,
    Target,
    TextDelta,
    TextWasReasoning,
    ToolCallDelta,
    Usage,
    UsageReport,
    is_native,
)
from providers.infra import feature_flags, metrics
from providers.policy.route_state import RouteState
from providers.protocols import estimates
from providers.protocols.passed_usage import complete_usage
from providers.protocols.usage import merge_usage
from providers.router.snapshot import Candidate

MAX_HELD_EVENTS = 64  # before the first content; more of them are no sensible answer


class Figures(TypedDict, total=False):
    """The keyword arguments of `metrics.request`."""

    provider: str
    requested: str
    model: str
    overhead: float | None
    first_token: float | None
    output_tokens: int
    longest_gap: float | None


@dataclass(slots=True, kw_only=True)
class AttemptTracker:
    """One attempt. `judged`: its outcome for the route was settled already, or is not wanted."""

    candidate: Candidate
    route: RouteState
    target: Target
    reason: str
    fallback: bool
    position: int
    request: ChatRequest
    member: str = ""  # its name, where a virtual model was requested
    called: bool = False
    begun: bool = False
    judged: bool = False
    calls_tools: bool = False
    keeps: bool = field(default_factory=lambda: feature_flags.is_enabled("emergency_answers"))
    text: list[str] = field(default_factory=list)  # only where `keeps`
    held: list[ClientEvent] = field(default_factory=list)
    ttft_ms: int | None = None
    overhead_ms: float = 0.0
    usage: Usage | None = None
    characters: int = 0
    pace: metrics.ChunkGaps = field(default_factory=metrics.ChunkGaps)
    finish_reason: str = ""
    native_reason: str = ""
    late: LateError | None = None
    lost: list[AttemptRecord] = field(default_factory=list)  # attempts that were resent at once
    outcome: str = "ok"
    error: CallError | None = None
    began: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=timezone.now)

    @property
    def has_shown_content(self) -> bool:
        """Whether the caller may have a part of the answer. Of one in one piece it has none."""
        return self.begun and not self.request.non_streaming

    def start(self, request_began: float, before: Iterable[AttemptRecord]) -> None:
        """Start the clocks as the call goes out: the queue before it is not the provider's time."""
        self.called = True
        self.began, self.started_at = time.monotonic(), timezone.now()
        spent = sum([attempt.duration_ms for attempt in before])
        self.overhead_ms = max(0.0, (self.began - request_began) * 1000 - spent)

    def take(self, events: Iterable[ClientEvent]) -> list[StreamEvent]:
        """Record events; return those that the caller may see, none before the first content."""
        visible: list[StreamEvent] = []
        for event in events:
            self._count(event)
            if event.is_content:
                self.pace.add_chunk()
                if not self.begun:
                    self.begun, self.ttft_ms = True, self._elapsed_ms()
                    visible += [self._build_route_taken(event), *self.held]
            if self.begun:
                visible.append(event)
            elif len(self.held) < MAX_HELD_EVENTS:
                self.held.append(event)
        return visible

    def _count(self, event: ClientEvent) -> None:
        if isinstance(event, (TextDelta, ReasoningDelta)):
            self.characters += len(event.text)
            if self.keeps and isinstance(event, TextDelta):
                self.text.append(event.text)
        elif isinstance(event, Passed):
            self.characters += event.characters
        elif isinstance(event, UsageReport):
            self.usage = merge_usage(self.usage, event.usage)
        elif isinstance(event, Finish):
            self.finish_reason, self.native_reason = event.reason, event.native
        elif isinstance(event, ToolCallDelta):
            self.calls_tools = True
            self.characters += estimates.characters_of_call(event.call)
        elif isinstance(event, TextWasReasoning):
            self.text.clear()
        elif isinstance(event, LateError):
            self.late = event
        elif isinstance(event, Resent):
            self._resend(event)

    def _resend(self, event: Resent) -> None:
        """Record the lost call as an attempt of its own, and restart this one."""
        now = time.monotonic() - event.seconds_ago
        lasted = max(0.0, now - self.began)
        self.lost.append(
            AttemptRecord(
                route_id=self.route.route_id,
                method=self.route.method,
                endpoint=self.route.endpoint,
                outcome=event.error.kind.value,
                reason=self.reason,
                started_at=self.started_at,
                duration_ms=round(lasted * 1000),
                position=self.position,
                status=event.error.status,
                error_code=event.error.code,
                error_message=event.error.message,
            )
        )
        self.position += 1
        self.began, self.started_at = now, self.started_at + timedelta(seconds=lasted)
        self.reason = event.reason

    def _build_route_taken(self, first: ClientEvent) -> RouteTaken:
        return RouteTaken(
            route_id=self.route.route_id,
            method=self.route.method,
            provider_name=self.candidate.name,
            provider_slug=self.candidate.slug,
            model=self.target.model,
            reason=self.reason,
            fallback=self.fallback,
            ttft_ms=self.ttft_ms or 0,
            attempts=self.position,
            overhead_ms=self.overhead_ms,
            native=is_native(self.target, self.request),
            member=self.member,
            content_type=first.content_type if isinstance(first, Passed) else "",
        )

    def record(self) -> AttemptRecord:
        """The attempt as it is stored. An error after the complete answer is recorded with it."""
        error, usage = self.error, self._usage()
        stored = error or self.late
        return AttemptRecord(
            route_id=self.route.route_id,
            method=self.route.method,
            endpoint=self.route.endpoint,
            outcome=error.kind.value if error else self.outcome,
            reason=self.reason,
            started_at=self.started_at,
            duration_ms=self._elapsed_ms(),
            position=self.position,
            ttft_ms=self.ttft_ms,
            status=error.status if error else None,
            error_code=stored.code if stored else "",
            error_message=stored.message if stored else "",
            usage=usage,
            cost=self.candidate.prices.cost(usage) if usage else None,
        )

    def figures(self) -> Figures:
        """The figures of an answered request for the metrics; times in seconds."""
        usage = self._usage()
        streamed = self.ttft_ms is not None and not self.request.non_streaming
        return {
            "provider": self.candidate.slug,
            "requested": self.candidate.model_id,
            "model": self.target.model,
            "overhead": self.overhead_ms / 1000,
            "first_token": (self.ttft_ms or 0) / 1000 if streamed else None,
            "output_tokens": usage.output_tokens if usage else 0,
            "longest_gap": self.pace.longest if streamed else None,
        }

    def build_completed(self, attempts: Sequence[AttemptRecord]) -> Completed:
        """The event that ends the answer. `attempts` are all of the request, this one last."""
        last = attempts[-1]
        return Completed(
            attempts=tuple(attempts),
            usage=last.usage or Usage(),
            cost=last.cost,
            finish_reason=self.finish_reason,
            native_reason=self.native_reason,
            error=self.error,
        )

    def _usage(self) -> Usage | None:
        """The reported usage, completed by estimates where the provider left a part out."""
        if self.ttft_ms is None:
            return self.usage
        if passed := self.request.passed:
            return complete_usage(passed, self.usage, self.characters)
        if self.usage and self.usage.input_tokens and self.usage.output_tokens:
            return self.usage
        return estimates.complete_usage(self.usage or Usage(), self.request, self.characters)

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)
