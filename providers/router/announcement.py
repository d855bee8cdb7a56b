"""Announce an attempt before anything of its answer has come."""

from collections.abc import Sequence

from providers.domain.types import AttemptRecord, AttemptStarted
from providers.policy import plan
from providers.policy.plan import PlannedRoute
from providers.router.attempt import AttemptTracker
from providers.router.snapshot import Candidate


def announce(
    tracker: AttemptTracker,
    left: Sequence[PlannedRoute],
    candidates: Sequence[Candidate],
    attempts: Sequence[AttemptRecord],
) -> AttemptStarted:
    """The attempt that has just begun, the first of the routes left, and the last failure."""
    return AttemptStarted(
        provider_name=tracker.candidate.name,
        model=tracker.target.model,
        method=tracker.route.method,
        started_at=tracker.started_at,
        first_token=tracker.target.timeouts.first_token,
        next_route=_name(left[0], tracker, candidates) if left else "",
        failed=plan.failed_reason(attempts[-1]) if attempts else "",
    )


def _name(step: PlannedRoute, tracker: AttemptTracker, candidates: Sequence[Candidate]) -> str:
    """A route in a word; of another provider or model, with its name."""
    method = step.route.method.value
    other = candidates[step.place]
    if other is tracker.candidate:
        return method
    same = other.provider_id == tracker.candidate.provider_id
    return f"{other.model_id if same else other.name}, {method}"
