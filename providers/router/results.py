"""Describe what an attempt showed: the row to append, and the outcome that its breakers count.

Real traffic, health checks, key checks and tests build their results here, so one rule decides
which failure belongs to which route, model or key.
"""

from dataclasses import field
from uuid import UUID, uuid4

from django.utils import timezone

from providers.domain.errors import CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import AttemptRecord
from providers.models import SYNTHETIC, Purpose
from providers.policy import domains, reasons
from providers.policy.breaker import Scope
from providers.policy.route_state import Outcome, RouteState

# Failures of a probe that are no verdict on the route: listing models may need other rights than
# a chat does.
UNJUDGED_PROBE_KINDS = frozenset(
    {
        ErrorKind.AUTH,
        ErrorKind.PERMISSION,
        ErrorKind.QUOTA,
        ErrorKind.RATE_LIMIT,
        ErrorKind.REQUEST,
    }
)


@frozen
class Result:
    """One finished attempt: the row to append, and its outcome for the route's breakers.

    `outcome` is None where the route was judged already, or where no route was used. `uuid`
    identifies the row: writing a result twice appends one row.
    """

    provider_id: int
    model_id: str
    attempt: AttemptRecord
    purpose: Purpose
    request_id: UUID
    outcome: Outcome | None
    user_id: int | None = None
    client_key: int | None = None
    # `replace` does not copy it: the copy is another attempt.
    uuid: UUID = field(default_factory=uuid4, init=False, compare=False)


# An outcome without an attempt is a half-open probe that was decided by its first content.
type Entry = Result | Outcome


def outcome_of(entry: Entry) -> Outcome | None:
    """The outcome that an entry carries, if any."""
    return entry if isinstance(entry, Outcome) else entry.outcome


def build_outcome(
    attempt: AttemptRecord,
    route: RouteState,
    model_id: str,
    purpose: Purpose,
    error: CallError | None = None,
) -> Outcome:
    """What an attempt shows of its route, model and key. `route` is its state when the call began.

    `model_id` is empty for a list of models.
    """
    kind = None if attempt.outcome == "ok" else ErrorKind(attempt.outcome)
    return Outcome(
        route_id=attempt.route_id,
        epoch=route.breaker.epoch,
        scope=_scope(attempt, kind, model_id, error) if kind else Scope.ROUTE,
        model_id=model_id,
        key=route.key,
        epochs=route.epochs,
        at=timezone.now(),
        kind=kind,
        message=_public_message(attempt, purpose) if kind else "",
        retry_after=error.retry_after if error else None,
        ttft_ms=attempt.ttft_ms,
        judges=not (purpose == Purpose.PROBE and kind in UNJUDGED_PROBE_KINDS),
        # A person's test of an open route counts as its successful half-open probes.
        resets=purpose == Purpose.TEST,
    )


def _scope(
    attempt: AttemptRecord, kind: ErrorKind, model_id: str, error: CallError | None
) -> Scope:
    return domains.scope_of(
        kind,
        attempt.error_code,
        attempt.status,
        chat=bool(model_id),
        per_model=bool(error and error.per_model),
    )


def _public_message(attempt: AttemptRecord, purpose: Purpose) -> str:
    """The message that everybody may read: an upstream may repeat a person's prompt in its own."""
    if purpose in SYNTHETIC:
        return attempt.error_message
    return reasons.failure_words(attempt.outcome, attempt.status, attempt.error_code)
