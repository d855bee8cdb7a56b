"""Change the rows of breakers: apply outcomes to them, and claim half-open probes on them.

A row is locked while it changes. Everybody locks in one order: providers, routes, then the breakers
of models and keys, each by id.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from providers.domain.errors import ErrorKind
from providers.domain.frozen import frozen
from providers.infra import metrics, replicas
from providers.models import Breaker, Provider, Route, domain_columns, rewrite, route_columns
from providers.policy import domains
from providers.policy.breaker import Domain, DomainState, Scope
from providers.policy.domains import Domains
from providers.policy.route_state import Outcome, RouteState


def claim_check(key: str, now: datetime, every: float) -> bool:
    """Claim the check of a key; False where any process claimed it in the last `every` seconds."""
    Breaker.objects.ensure([Domain(0, key, "")])
    due = Q(checked_at=None) | Q(checked_at__lt=now - timedelta(seconds=every))
    row = Breaker.objects.filter(due, route=None, key=key, model_id="")
    return row.update(checked_at=now, changed_at=now) == 1


@frozen
class RouteChanges:
    """The routes that a batch touched, `before` and `after` it, and every breaker beside them.

    `breakers_changed`: other processes decide differently now.
    """

    before: dict[int, RouteState]
    after: dict[int, RouteState]
    domains: Domains
    breakers_changed: bool

    def with_new_breaker_state(self) -> list[RouteState]:
        """The routes whose breaker opened, closed or became half-open."""
        return [
            route
            for pk, route in self.after.items()
            if route.breaker.state != self.before[pk].breaker.state
        ]


def release_probe(route: RouteState, model_id: str) -> Outcome:
    """The outcome that frees half-open probes whose call never went out."""
    return Outcome(
        route_id=route.route_id,
        epoch=route.breaker.epoch,
        at=timezone.now(),
        kind=ErrorKind.STOPPED,
        scope=Scope.NOTHING,
        model_id=model_id,
        key=route.key,
        epochs=route.epochs,
    )


def claim_trial(
    route: RouteState, model_id: str, now: datetime, *, early: bool = False
) -> RouteState | None:
    """Claim every half-open probe that a call over this route needs; return the route with them.

    None where one is under way, or not due yet. The rows decide, not the caller's copy of them,
    which may be behind: a route that is closed by now needs no probe. `early` claims before a
    cooldown is over, but never before that of a key.
    """
    with transaction.atomic():
        # By its id: the usual order of routes joins their providers, which would be locked as well.
        routes = Route.objects.filter(pk=route.route_id).order_by("pk")
        row = routes.select_for_update(no_key=True).first()
        if row is None:
            return None
        concerned = domains.domains_of(route.route_id, route.key, model_id)
        rows = Breaker.objects.of(concerned).order_by("pk").select_for_update(no_key=True)
        current = replace(route, breaker=row.breaker, others=tuple(r.as_state() for r in rows))
        if not domains.may_claim(current, now, early=early):
            return None
        claimed = domains.claim_probe(current, now, settings.ROUTING_RULES)
        if claimed == current:
            return current
        Route.objects.change(row.pk, current.breaker, claimed.breaker)
        rewrite(Breaker, [_domain_row(r.pk, s) for r, s in zip(rows, claimed.others, strict=True)])
        replicas.publish("routes")
    if current.breaker != claimed.breaker:
        for slug in Provider.objects.filter(pk=route.provider_id).values_list("slug", flat=True):
            metrics.count_breaker_move(slug, route.method, claimed.breaker.state)
    return claimed


def lock_routes(outcomes: Iterable[Outcome]) -> dict[int, RouteState]:
    """Lock the rows that the outcomes are about; return their states."""
    rows = Route.objects.filter(pk__in={outcome.route_id for outcome in outcomes}).order_by("pk")
    return {row.pk: row.as_state() for row in rows.select_for_update(no_key=True)}


def apply_outcomes(before: dict[int, RouteState], outcomes: Iterable[Outcome]) -> RouteChanges:
    """Apply the outcomes to the locked routes, and to the breakers of their models and keys."""
    counted = [outcome for outcome in outcomes if outcome.route_id in before]
    rows = _lock_domain_rows(counted)
    states = Domains(row.as_state() for row in rows.values())
    after = dict(before)
    for outcome in counted:
        moved = domains.apply_outcome(
            after[outcome.route_id], states, outcome, settings.ROUTING_RULES
        )
        after[outcome.route_id] = moved.route
        for state in moved.others:
            states.put(state)
    routes_changed = _write_routes(before, after)
    domains_changed = _write_domains(rows, states)
    return RouteChanges(
        before=before,
        after=after,
        domains=states,
        breakers_changed=routes_changed or domains_changed,
    )


def _write_routes(before: dict[int, RouteState], after: dict[int, RouteState]) -> bool:
    """Write the routes that changed; return whether a breaker did."""
    changed = {pk: route for pk, route in after.items() if route != before[pk]}
    rewrite(Route, [{"id": pk} | route_columns(route) for pk, route in changed.items()])
    return any(route.breaker != before[pk].breaker for pk, route in changed.items())


def _write_domains(rows: dict[Domain, Breaker], states: Domains) -> bool:
    """Write the breakers that changed; return whether any did."""
    current = [(row, state) for row in rows.values() if (state := states.get(row.domain))]
    changed = [(row, state) for row, state in current if state != row.as_state()]
    rewrite(Breaker, [_domain_row(row.pk, state) for row, state in changed])
    return any(state.breaker != row.breaker for row, state in changed)


def _lock_domain_rows(outcomes: list[Outcome]) -> dict[Domain, Breaker]:
    """Lock the breakers of the models and keys that were called; create those that fail first."""
    failures = [outcome for outcome in outcomes if outcome.kind and outcome.judges]
    Breaker.objects.ensure({domain for each in failures for domain in _failed_domains(each)})
    rows = Breaker.objects.concerning(
        {outcome.route_id for outcome in outcomes}, {outcome.key for outcome in outcomes}
    )
    return {row.domain: row for row in rows.order_by("pk").select_for_update(no_key=True)}


def _failed_domains(failure: Outcome) -> list[Domain]:
    """The domains that a failure may count for."""
    failed = [domains.domain_of(failure.scope, failure.route_id, failure.key, failure.model_id)]
    if failure.kind == ErrorKind.AUTH:  # the second model that is refused counts for the key
        failed.append(Domain(0, failure.key, ""))
    return [domain for domain in failed if domain and (domain.route_id or domain.key)]


def _domain_row(pk: int, state: DomainState) -> dict[str, Any]:
    return {"id": pk} | domain_columns(state)
