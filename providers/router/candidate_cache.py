"""Keep what requests derive from a candidate again and again: itself, its plan, its targets.

A plan takes about twenty microseconds and a target ten, and nearly every request would build the
same ones. They are kept here, beside the route states, so that a `Candidate` stays a plain value.
An entry holds for as long as the snapshot and the route states it was built from are the current
ones, and only for that very candidate; any other is computed.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from providers.domain.types import Target
from providers.policy import plan as planning
from providers.policy.plan import FallbackProvider, Plan
from providers.policy.route_state import RouteState
from providers.router.snapshot import Candidate, Snapshot

MAX_ENTRIES = 10_000  # as many models in use at once


@dataclass(slots=True)
class _Entry:
    snapshot: Snapshot
    candidate: Candidate
    plan: Plan | None = None
    targets: dict[tuple[int, bool], Target] = field(default_factory=dict)


class CandidateCache:
    """The candidates of one event loop, by provider and model."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, str], _Entry] = {}

    def candidate(
        self, snapshot: Snapshot, provider_id: int, model_id: str, routes: tuple[RouteState, ...]
    ) -> Candidate | None:
        """A provider of the snapshot with these routes; None where it is not in it."""
        entry = self._entries.get((provider_id, model_id))
        if entry and entry.snapshot is snapshot and entry.candidate.routes == routes:
            return entry.candidate
        provider = snapshot.providers.get(provider_id)
        if provider is None:
            return None
        candidate = replace(provider, model_id=model_id, routes=routes)
        if served := snapshot.find_model(provider_id, model_id):
            candidate = replace(candidate, prices=served.prices, streams=served.streams)
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        self._entries[provider_id, model_id] = _Entry(snapshot, candidate)
        return candidate

    def plan(
        self, candidate: Candidate, now: datetime, fallbacks: tuple[FallbackProvider, ...] = ()
    ) -> Plan:
        """The candidate's plan; built once where nothing of it changes with time."""
        entry = None if fallbacks else self._entry(candidate)
        if entry and entry.plan:
            return entry.plan
        plan = candidate.plan(now, fallbacks)
        if entry and planning.is_timeless(candidate.routes):
            entry.plan = plan
        return plan

    def target(self, candidate: Candidate, route: RouteState, *, last: bool = False) -> Target:
        """The target of an attempt over one of the candidate's routes; built once."""
        entry = self._entry(candidate)
        if entry is None:
            return candidate.target(route, last=last)
        key = (route.route_id, last)
        if key not in entry.targets:
            entry.targets[key] = candidate.target(route, last=last)
        return entry.targets[key]

    def _entry(self, candidate: Candidate) -> _Entry | None:
        entry = self._entries.get((candidate.provider_id, candidate.model_id))
        return entry if entry and entry.candidate is candidate else None
