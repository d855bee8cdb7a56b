"""How one request went, from its attempts: outcome, figures, timeline, causes. No I/O."""

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
from providers.domain.types import STALE_CONNECTION, Kind, Method
from providers.policy import reasons

if TYPE_CHECKING:
    from providers.models import Attempt

AXIS = 1000  # the width of the timeline, in units of its own
VISIBLE = 4  # the least width of what took any time at all


@dataclass(frozen=True, slots=True)
class OutcomeLabel:
    """An outcome as pages show it: `status` is a health word, for the shape beside the word."""

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
NOT_SENT = OutcomeLabel("failing", "No route free")
SETTLED = frozenset({"ok", ErrorKind.STOPPED.value})  # what is no failure


def outcome(attempt: Attempt) -> OutcomeLabel:
    """What became of one attempt; a failure after the first token is told as such."""
    if not attempt.method:
        return NOT_SENT
    known = OUTCOMES.get(attempt.outcome, OutcomeLabel("unknown", attempt.outcome))
    if known.status == "failing" and attempt.ttft_ms is not None:
        return OutcomeLabel("failing", f"Broke off: {known.word.lower()}")
    return known


@frozen
class Request:
    """All attempts of one request in their order, at least one."""

    attempts: tuple[Attempt, ...]

    @property
    def first(self) -> Attempt:
        return self.attempts[0]

    @property
    def last(self) -> Attempt:
        """The one that answered, or that failed last."""
        return self.attempts[-1]

    @property
    def outcome(self) -> OutcomeLabel:
        return outcome(self.last)

    @property
    def fell_back(self) -> bool:
        """Whether more than one route was tried; the same one again is a retry."""
        return len({(a.provider_id, a.method, a.endpoint) for a in self.attempts}) > 1

    @property
    def stands_in(self) -> bool:
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
        """From the first attempt's start to the last one's end: what the caller waited."""
        return _ms(self.ended_at - self.first.started_at)

    @property
    def between_ms(self) -> int:
        """What passed between the attempts: waiting for a retry, and our own work."""
        return max(0, self.duration_ms - sum(a.duration_ms for a in self.attempts))

    @property
    def first_token_ms(self) -> int | None:
        """What the caller waited for the first token, failed attempts included."""
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
        """USD of all attempts whose price is known."""
        known = [a.cost for a in self.attempts if a.cost is not None]
        return sum(known, Decimal()) if known else None


@frozen
class Step:
    """One attempt as the trace shows it: where it went, its place on the timeline, its cause.

    `began_ms` counts from the request's start; `x`, `waiting` and `answering` are in AXIS units.
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
    def figures(self) -> Request:
        """This attempt alone, for its own tokens and cost."""
        return Request(attempts=(self.attempt,))

    @property
    def said(self) -> str:
        """The provider's own words, where the cause does not repeat them."""
        message = self.attempt.error_message
        repeated = self.cause and message.rstrip(".") in self.cause.cause
        return "" if repeated else message


def steps(request: Request, *, in_container: bool) -> list[Step]:
    """The attempts on one common axis."""
    whole = max(request.duration_ms, 1)
    return [_step(attempt, request.first, whole, in_container) for attempt in request.attempts]


def _step(attempt: Attempt, first: Attempt, whole: int, in_container: bool) -> Step:
    began = max(0, _ms(attempt.started_at - first.started_at))
    waited = attempt.duration_ms if attempt.ttft_ms is None else attempt.ttft_ms
    x = min(_units(began, whole), AXIS - VISIBLE)
    waiting = max(_units(waited, whole), VISIBLE)
    return Step(
        attempt=attempt,
        outcome=outcome(attempt),
        where=_where(attempt),
        began_ms=began,
        x=x,
        waiting=min(waiting, AXIS - x),
        answering=max(0, min(_units(attempt.duration_ms - waited, whole), AXIS - x - waiting)),
        cause=cause(attempt, in_container=in_container),
    )


def cause(attempt: Attempt, *, in_container: bool) -> Diagnosis | None:
    """Why an attempt failed, in plain words; None where it did not, or where nothing was sent."""
    if not attempt.method or attempt.outcome in SETTLED or attempt.outcome not in OUTCOMES:
        return None
    if attempt.error_code == STALE_CONNECTION:  # nothing is wrong with anything
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
            step="chat" if attempt.model_id else "models",
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


def curl(base_url: str, attempt: Attempt) -> str:
    """The same call again, with the caller's own key and prompt: neither is stored."""
    asked = {"role": "user", "content": "Your prompt: it is not stored here"}
    body = {"model": f"{attempt.provider.slug}/{attempt.model_id}", "messages": [asked]}
    return (
        f"curl {base_url}/chat/completions \\\n"
        '  -H "Authorization: Bearer $OPENCODE_WEB_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def _where(attempt: Attempt) -> str:
    """Host and port; the direct route's are the provider's as it is now."""
    if not attempt.method:
        return ""
    return wording.where(Method(attempt.method), attempt.endpoint, attempt.provider.base_url)


def _end(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.duration_ms)


def _ms(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


def _units(part: int, whole: int) -> float:
    return round(AXIS * part / whole, 1)


def _sum(figures: list[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."
