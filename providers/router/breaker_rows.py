"""The rows of breakers: results folded into them, half-open probes claimed on them.

Rows are locked while they move, in one order by everybody: providers, routes, then the others.
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
    """Whether the caller is to check this key: one of all processes, once in so many seconds."""
    Breaker.objects.ensure([Domain(0, key, "")])
    due = Q(checked_at=None) | Q(checked_at__lt=now - timedelta(seconds=every))
    row = Breaker.objects.filter(due, route=None, key=key, model_id="")
    return row.update(checked_at=now, changed_at=now) == 1


@frozen
class Written:
    """The routes of a batch as they were and are, and all that is known of their models and keys.

    `differ`: other processes decide differently now.
    """

    before: dict[int, RouteState]
    routes: dict[int, RouteState]
    domains: Domains
    differ: bool

    def changed_state(self) -> list[RouteState]:
        """The routes whose breaker is in another state than before."""
        return [
            route
            for pk, route in self.routes.items()
            if route.breaker.state != self.before[pk].breaker.state
        ]


def release_probe(route: RouteState, model_id: str) -> Outcome:
    """What frees half-open probes that came to no verdict, as their call never went out."""
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
    """The route with every half-open probe that a call over it needs; None where one is under way
    or not due yet.

    The rows decide, not the caller's copy of them, which may be behind: a route that is closed by
    now needs no probe. `early` claims before the cooldown is over, but never before a key's.
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
            metrics.breaker_moved(slug, route.method, claimed.breaker.state)
    return claimed


def lock_routes(seen: Iterable[Outcome]) -> dict[int, RouteState]:
    """The states of the rows that the evidence is about, locked."""
    listed = Route.objects.filter(pk__in={each.route_id for each in seen}).order_by("pk")
    return {route.pk: route.as_state() for route in listed.select_for_update(no_key=True)}


def move(before: dict[int, RouteState], seen: Iterable[Outcome]) -> Written:
    """Folds the evidence into the locked routes, and the rows of their models and keys."""
    known = [each for each in seen if each.route_id in before]
    rows = _domain_rows(known)
    others = Domains(row.as_state() for row in rows.values())
    routes = dict(before)
    for each in known:
        moved = domains.apply_outcome(routes[each.route_id], others, each, settings.ROUTING_RULES)
        routes[each.route_id] = moved.route
        for other in moved.others:
            others.put(other)
    differs = [pk for pk, route in routes.items() if route.breaker != before[pk].breaker]
    rewrite(Route, [{"id": pk} | route_columns(r) for pk, r in routes.items() if r != before[pk]])
    moved_domains = _write_domains(rows, others)
    return Written(
        before=before, routes=routes, domains=others, differ=bool(differs or moved_domains)
    )


def _write_domains(rows: dict[Domain, Breaker], others: Domains) -> bool:
    """Writes what changed; whether a breaker did."""
    now = [(row, state) for row in rows.values() if (state := others.get(row.domain))]
    changed = [(row, state) for row, state in now if state != row.as_state()]
    rewrite(Breaker, [_domain_row(row.pk, state) for row, state in changed])
    return any(state.breaker != row.breaker for row, state in changed)


def _domain_rows(seen: Iterable[Outcome]) -> dict[Domain, Breaker]:
    """The locked rows of the models and keys that calls went to; made for those that now failed."""
    listed = list(seen)
    Breaker.objects.ensure({d for each in listed if each.kind and each.judges for d in _new(each)})
    concerned = Breaker.objects.concerning({e.route_id for e in listed}, {e.key for e in listed})
    locked = concerned.order_by("pk").select_for_update(no_key=True)
    return {row.domain: row for row in locked}


def _new(seen: Outcome) -> list[Domain]:
    """The domains that a failure may be the first of."""
    found = [domains.domain_of(seen.scope, seen.route_id, seen.key, seen.model_id)]
    if seen.kind == ErrorKind.AUTH:  # a second refused model is the key's
        found.append(Domain(0, seen.key, ""))
    return [each for each in found if each and (each.route_id or each.key)]


def _domain_row(pk: int, state: DomainState) -> dict[str, Any]:
    return {"id": pk} | domain_columns(state)
