"""The trace of one request, built from its attempts: outcome, figures, timeline, causes. No I/O."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from providers.diagnosis import diagnose, wording
from providers.diagnosis.types import Diagnosis, FailureContext
from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import RESENT_CODES, Kind, Method
from providers.policy import reasons

if TYPE_CHECKING:
    from providers.models import Attempt

AXIS = 1000  # width of the timeline, in units of its own
MIN_WIDTH = 4  # of anything that took time


@dataclass(frozen=True, slots=True)
class OutcomeLabel:
    """An outcome for a page: `status` is a health value, which chooses the icon."""

    status: str
    word: str


OUTCOMES: Mapping[str, OutcomeLabel] = {
    "ok": OutcomeLabel("healthy", "Answered"),
    ErrorKind.STOPPED: OutcomeLabel("paused", "Stopped"),
    **{
        kind: OutcomeLabel("failing", reasons.words(kind).capitalize())
        for kind in ErrorKind
        if kind != ErrorKind.STOPPED
    },
}
NOT_SENT = OutcomeLabel("failing", "No route available")
SETTLED = frozenset({"ok", ErrorKind.STOPPED.value})  # outcomes that are no failure


def label_outcome(attempt: Attempt) -> OutcomeLabel:
    """The label of an attempt; a failure after the first token is labelled as broken off."""
    if not attempt.method:
        return NOT_SENT
    label = OUTCOMES.get(attempt.outcome, OutcomeLabel("unknown", attempt.outcome))
    if label.status == "failing" and attempt.ttft_ms is not None:
        return OutcomeLabel("failing", f"Broke off: {label.word.lower()}")
    return label


@frozen
class RequestTrace:
    """All attempts of one request in order, at least one."""

    attempts: tuple[Attempt, ...]

    @property
    def first(self) -> Attempt:
        return self.attempts[0]

    @property
    def last(self) -> Attempt:
        """The attempt that answered, or that failed last."""
        return self.attempts[-1]

    @property
    def outcome(self) -> OutcomeLabel:
        return label_outcome(self.last)

    @property
    def fell_back(self) -> bool:
        """Whether more than one route was tried. The same route again is a retry."""
        return len({(a.provider_id, a.method, a.endpoint) for a in self.attempts}) > 1

    @property
    def used_fallback_provider(self) -> bool:
        """Whether more than one provider was tried."""
        return len({attempt.provider_id for attempt in self.attempts}) > 1

    @property
    def decision(self) -> list[str]:
        """Why the first route was the first, and why the last one answered if it is another."""
        reasons = [self.first.reason, self.last.reason if self.fell_back else ""]
        return [_sentence(reason) for reason in reasons if reason]

    @property
    def ended_at(self) -> datetime:
        return max(_end(attempt) for attempt in self.attempts)

    @property
    def duration_ms(self) -> int:
        """How long the caller waited: from the first attempt's start to the last one's end."""
        return _ms(self.ended_at - self.first.started_at)

    @property
    def between_ms(self) -> int:
        """The time between attempts: waiting for a retry, and our own work."""
        return max(0, self.duration_ms - sum(a.duration_ms for a in self.attempts))

    @property
    def first_token_ms(self) -> int | None:
        """How long the caller waited for the first token, failed attempts included."""
        if self.last.ttft_ms is None:
            return None
        return _ms(self.last.started_at - self.first.started_at) + self.last.ttft_ms

    @property
    def input_tokens(self) -> int | None:
        return _sum([a.input_tokens for a in self.attempts])

    @property
    def output_tokens(self) -> int | None:
        return _sum([a.output_tokens for a in self.attempts])

    @property
    def cached_tokens(self) -> int | None:
        return _sum([a.cached_tokens for a in self.attempts])

    @property
    def reasoning_tokens(self) -> int | None:
        return _sum([a.reasoning_tokens for a in self.attempts])

    @property
    def estimated(self) -> bool:
        return any(a.usage_estimated for a in self.attempts)

    @property
    def cost(self) -> Decimal | None:
        """USD of all attempts with a known price."""
        costs = [a.cost for a in self.attempts if a.cost is not None]
        return sum(costs, Decimal()) if costs else None


@frozen
class TimelineEntry:
    """One attempt on the timeline: its destination, position and cause.

    `began_ms` counts from the start of the request; `x`, `waiting` and `answering` are in
    units of AXIS.
    """

    attempt: Attempt
    outcome: OutcomeLabel
    where: str
    began_ms: int
    x: float
    waiting: float
    answering: float
    cause: Diagnosis | None

    @property
    def answer_x(self) -> float:
        return self.x + self.waiting

    @property
    def figures(self) -> RequestTrace:
        """This attempt alone, for its own tokens and cost."""
        return RequestTrace(attempts=(self.attempt,))

    @property
    def message(self) -> str:
        """The provider's message, unless the cause repeats it."""
        message = self.attempt.error_message
        repeated = self.cause and message.rstrip(".") in self.cause.cause
        return "" if repeated else message


def build_timeline(request: RequestTrace, *, in_container: bool) -> list[TimelineEntry]:
    """Place the attempts on one axis."""
    total = max(request.duration_ms, 1)
    return [
        _place_attempt(attempt, request.first, total, in_container) for attempt in request.attempts
    ]


def _place_attempt(
    attempt: Attempt, first: Attempt, total: int, in_container: bool
) -> TimelineEntry:
    began = max(0, _ms(attempt.started_at - first.started_at))
    waited = attempt.duration_ms if attempt.ttft_ms is None else attempt.ttft_ms
    x = min(_units(began, total), AXIS - MIN_WIDTH)
    waiting = max(_units(waited, total), MIN_WIDTH)
    return TimelineEntry(
        attempt=attempt,
        outcome=label_outcome(attempt),
        where=_describe_destination(attempt),
        began_ms=began,
        x=x,
        waiting=min(waiting, AXIS - x),
        answering=max(0, min(_units(attempt.duration_ms - waited, total), AXIS - x - waiting)),
        cause=diagnose_attempt(attempt, in_container=in_container),
    )


def diagnose_attempt(attempt: Attempt, *, in_container: bool) -> Diagnosis | None:
    """Explain why an attempt failed; None where it did not, or where nothing was sent."""
    if not attempt.method or attempt.outcome in SETTLED or attempt.outcome not in OUTCOMES:
        return None
    if attempt.error_code in RESENT_CODES:  # nothing is wrong: it is sent again
        return None
    provider = attempt.provider
    error = CallError(
        ErrorKind(attempt.outcome),
        attempt.error_message,
        status=attempt.status,
        code=attempt.error_code,
    )
    return diagnose.explain(
        FailureContext(
            method=Method(attempt.method),
            stage="chat" if attempt.model_id else "models",
            error=error,
            base_url=provider.base_url,
            gateway_endpoint=attempt.endpoint,
            preset=provider.preset,
            kind=Kind(provider.kind),
            has_key=bool(provider.api_key),
            model_id=attempt.model_id,
            in_container=in_container,
        )
    )


def build_curl_command(base_url: str, attempt: Attempt) -> str:
    """The same call again, for the caller to fill in key and prompt: neither is stored."""
    message = {"role": "user", "content": "Your prompt (not stored)"}
    body = {"model": f"{attempt.provider.slug}/{attempt.model_id}", "messages": [message]}
    return (
        f"curl {base_url}/chat/completions \\\n"
        '  -H "Authorization: Bearer $OPENCODE_WEB_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def _describe_destination(attempt: Attempt) -> str:
    """Host and port; those of the direct route are the provider's current ones."""
    if not attempt.method:
        return ""
    method = Method(attempt.method)
    return wording.describe_destination(method, attempt.endpoint, attempt.provider.base_url)


def _end(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.duration_ms)


def _ms(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


def _units(part: int, total: int) -> float:
    return round(AXIS * part / total, 1)


def _sum(figures: list[int | None]) -> int | None:
    counts = [figure for figure in figures if figure is not None]
    return sum(counts) if counts else None


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
