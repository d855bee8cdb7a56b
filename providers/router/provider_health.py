"""What follows from results for their providers: health, failures in a row, the learned method."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import prefetch_related_objects
from django.utils import timezone

from providers.domain.types import AttemptRecord
from providers.models import Provider, Route, RoutingMethod, rewrite
from providers.policy import domains, health, plan, preference
from providers.policy.domains import Domains
from providers.policy.route_state import RouteState
from providers.router import snapshot


def derive(
    providers: Mapping[int, Provider],
    results: Iterable[tuple[int, AttemptRecord]],
    states: Iterable[RouteState],
) -> bool:
    """Derive what follows for each provider of these routes, which the caller has locked.

    `results` are attempts with their provider's id. True where other processes decide differently
    now.
    """
    touched = {state.provider_id for state in states} & set(providers)
    further = snapshot.fallback_gateways()
    prefetch_related_objects([providers[pk] for pk in touched], "routes")
    routes = {pk: snapshot.route_states(providers[pk], further) for pk in touched}
    failed = snapshot.failed_domains(route for each in routes.values() for route in each)
    outcomes: defaultdict[int, list[AttemptRecord]] = defaultdict(list)
    for pk, attempt in results:
        outcomes[pk].append(attempt)
    now = timezone.now()
    judged = {
        pk: _judge_provider(providers[pk], routes[pk], failed, outcomes[pk], now) for pk in touched
    }
    new = {pk: row for pk, row in judged.items() if row != _stored_columns(providers[pk])}
    rewrite(Provider, [{"id": pk} | columns for pk, columns in new.items()])
    return any(row["switched_at"] != providers[pk].switched_at for pk, row in new.items())


_JUDGED = ("health_status", "health_reason", "consecutive_failures", "switched_at", "flaps")


def _stored_columns(provider: Provider) -> dict[str, Any]:
    return {name: getattr(provider, name) for name in _JUDGED}


def _judge_provider(
    provider: Provider,
    routes: Iterable[RouteState],
    failed: Domains,
    outcomes: list[AttemptRecord],
    now: datetime,
) -> dict[str, Any]:
    """The provider's columns as they should be."""
    states = [domains.effective(failed.attach_breakers(route, ""), failed) for route in routes]
    learned = _learn(provider, states, now)
    policy = snapshot.policy(provider)
    current = health.health(
        policy,
        states,
        now,
        snapshot.fresh(),
        provider.health_status,
        settings.ROUTING_RULES,
        failed.open_models(states),
    )
    failures = _failures(provider.consecutive_failures, outcomes)
    columns = (current.word, current.reason[:300], failures, learned.switched_at, learned.flaps)
    return dict(zip(_JUDGED, columns, strict=True))


def _failures(before: int, outcomes: Iterable[AttemptRecord]) -> int:
    for attempt in outcomes:
        if attempt.outcome == "ok":
            before = 0
        elif attempt.failed:
            before += 1
    return before


def _learn(provider: Provider, routes: list[RouteState], now: datetime) -> preference.Learned:
    """Remember the method that works; write it to the route that showed it."""
    remembered = [r for r in routes if r.learned_at and now - r.learned_at < snapshot.fresh()]
    best = max(remembered, key=lambda r: r.learned_at or now, default=None)
    before = preference.Learned(
        method=best.method if best else None,
        at=best.learned_at if best else None,
        switched_at=provider.switched_at,
        flaps=provider.flaps,
    )
    if provider.routing_method != RoutingMethod.AUTO:
        return before
    preferred = plan.preferred_method(snapshot.policy(provider))
    learned = preference.learn(before, preferred, routes, now, settings.ROUTING_RULES)
    if (learned.method, learned.at) != (before.method, before.at):
        provider.routes.exclude(learned_at=None).update(learned_at=None)
        if learned.method:
            showed = [r for r in routes if r.method == learned.method and r.last_success_at]
            latest = max(showed, key=lambda r: r.last_success_at or now)
            Route.objects.filter(pk=latest.route_id).update(learned_at=learned.at)
    return learned
