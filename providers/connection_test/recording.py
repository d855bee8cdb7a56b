"""Record a finished test: as attempts that count for the routes of the stored provider.

A test of an unchanged provider counts like any other call. Tested over both methods, it also shows
which type of provider it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from providers.connection_test.test_chat import ChatReply
from providers.domain.errors import CallError
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord, Method
from providers.models import Purpose
from providers.policy.route_state import RouteState
from providers.probes import probe
from providers.router import attempt_writer
from providers.router.results import Result
from providers.router.snapshot import Candidate


@frozen
class MethodResult:
    """One method's last call, which is what counts for its route. `model_id` is empty where it
    shows nothing about a model; `further` are chats that count for usage and cost alone."""

    method: Method
    started_at: datetime
    ms: int
    model_id: str = ""
    error: CallError | None = None
    reply: ChatReply | None = None
    further: tuple[ChatReply, ...] = ()


def record(stored: Candidate, results: Sequence[MethodResult]) -> None:
    rows = [row for result in results for row in _build_rows(stored, result)]
    attempt_writer.write_results(rows)
    errors = {result.method: result.error for result in results}
    if len(errors) == len(Method):
        attempt_writer.update_provider_type(
            stored.provider_id, errors[Method.DIRECT], errors[Method.GATEWAY]
        )


def _build_rows(stored: Candidate, result: MethodResult) -> list[Result]:
    candidate = replace(stored, model_id=result.model_id)
    routes = [r for r in stored.routes if r.method == result.method and not r.is_fallback]
    rows = []
    for route in routes:
        attempt = _build_attempt(stored, route, result)
        row = probe.build_result(candidate, route, Purpose.TEST, attempt, result.error)
        rows += [row, *(_further_row(row, stored, reply) for reply in result.further)]
    return rows


def _further_row(row: Result, stored: Candidate, reply: ChatReply) -> Result:
    return replace(
        row,
        attempt=_with_figures(row.attempt, stored, reply),
        outcome=None,
        request_id=uuid4(),
    )


def _build_attempt(stored: Candidate, route: RouteState, result: MethodResult) -> AttemptRecord:
    attempt = probe.build_attempt(route, Purpose.TEST, result.started_at, result.ms, result.error)
    return _with_figures(attempt, stored, result.reply) if result.reply else attempt


def _with_figures(attempt: AttemptRecord, stored: Candidate, reply: ChatReply) -> AttemptRecord:
    usage = reply.usage
    cost = stored.prices.cost(usage) if usage else None
    return replace(attempt, duration_ms=reply.ms, ttft_ms=reply.ttft_ms, usage=usage, cost=cost)
