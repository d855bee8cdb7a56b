"""Announce an attempt before anything of its answer has come."""

from collections.abc import Mapping, Sequence

from providers.domain.types import AttemptRecord, AttemptStarted
from providers.policy import plan
from providers.policy.plan import PlannedRoute
from providers.router.attempt import AttemptTracker
from providers.router.snapshot import Candidate


def announce(
    tracker: AttemptTracker,
    left: Sequence[PlannedRoute],
    candidates: Mapping[int, Candidate],
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


def _name(step: PlannedRoute, tracker: AttemptTracker, candidates: Mapping[int, Candidate]) -> str:
    """A route in a word; of another provider, with its name."""
    method = step.route.method.value
    other = candidates[step.route.provider_id]
    return method if other is tracker.candidate else f"{other.name}, {method}"
