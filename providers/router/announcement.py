"""What may be shown of an attempt while nothing of its answer has come."""

from collections.abc import Mapping, Sequence

from providers.domain.types import AttemptRecord, AttemptStarted
from providers.policy import plan
from providers.policy.plan import PlannedRoute
from providers.router.attempt import AttemptTracker
from providers.router.snapshot import Candidate


def announce(
    tally: AttemptTracker,
    left: Sequence[PlannedRoute],
    candidates: Mapping[int, Candidate],
    earlier: Sequence[AttemptRecord],
) -> AttemptStarted:
    """The attempt that has just begun, the first of the routes left, and the last failure."""
    return AttemptStarted(
        provider_name=tally.candidate.name,
        model=tally.target.model,
        method=tally.route.method,
        started_at=tally.started_at,
        first_token=tally.target.timeouts.first_token,
        next_route=_name(left[0], tally, candidates) if left else "",
        failed=plan.failed_reason(earlier[-1]) if earlier else "",
    )


def _name(step: PlannedRoute, tally: AttemptTracker, candidates: Mapping[int, Candidate]) -> str:
    """A route in a word; of another provider, with its name."""
    method = step.route.method.value
    other = candidates[step.route.provider_id]
    return method if other is tally.candidate else f"{other.name}, {method}"
