"""Write a batch of finished results: attempts, breakers of their routes, health of their providers.

Real traffic, health checks and tests all end in `write_results`, so there is one truth about every
route. Writing is three steps of one transaction, which each hand a value to the next: `write_rows`
appends the attempts and applies their outcomes to the locked breakers, `derive_health` updates what
follows for the providers, `publish` notifies the other processes. A result that was written before
changes nothing: where a connection breaks as it commits, the writer cannot know whether it did, and
writes the same results again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction

from providers.domain.errors import CallError
from providers.domain.frozen import frozen
from providers.infra import metrics, replicas
from providers.models import Provider, Route, add_key_costs
from providers.policy import preference
from providers.policy.route_state import Outcome
from providers.router import attempt_rows, breaker_rows, provider_health
from providers.router.breaker_rows import RouteChanges
from providers.router.key_usage import costs_of
from providers.router.results import Entry, Result, outcome_of


@frozen
class WrittenRows:
    """What a batch wrote: its locked providers, the results that are new, and the routes' change.

    Results of a provider that is gone are not among them.
    """

    providers: dict[int, Provider]
    results: list[Result]
    changes: RouteChanges


def write_results(entries: Sequence[Entry]) -> RouteChanges:
    """Write the results in one transaction; return the routes as they were and are."""
    with transaction.atomic():
        rows = write_rows(entries)
        method_changed = derive_health(rows)
        publish(rows, method_changed=method_changed)
    _count(rows)
    return rows.changes


def write_rows(entries: Sequence[Entry]) -> WrittenRows:
    """Append the attempts, apply their outcomes to the breakers, add their costs to the keys' days.

    Locks providers, then routes, then the other breakers, then the days of keys, each by id: every
    writer locks in this order, or two batches could wait for each other.
    """
    outcomes = [outcome for entry in entries if (outcome := outcome_of(entry))]
    results = [entry for entry in entries if isinstance(entry, Result)]
    providers = _lock_providers(results, outcomes)
    before = breaker_rows.lock_routes(outcomes)
    new = attempt_rows.append([each for each in results if each.provider_id in providers], before)
    changes = breaker_rows.apply_outcomes(before, _new_outcomes(entries, new))
    add_key_costs(costs_of(new))
    return WrittenRows(providers=providers, results=new, changes=changes)


def derive_health(rows: WrittenRows) -> bool:
    """Update health, failures in a row and the learned method of the providers concerned.

    Return whether a learned method changed, which the other processes decide by.
    """
    attempts = [(result.provider_id, result.attempt) for result in rows.results]
    return provider_health.derive(rows.providers, attempts, rows.changes.after.values())


def publish(rows: WrittenRows, *, method_changed: bool) -> None:
    """Have other processes read the routes again, where they decide differently now."""
    if rows.changes.breakers_changed or method_changed:
        replicas.publish("routes")


def _lock_providers(results: Iterable[Result], outcomes: Iterable[Outcome]) -> dict[int, Provider]:
    routes = Route.objects.filter(pk__in=[outcome.route_id for outcome in outcomes])
    ids = {result.provider_id for result in results}
    ids |= set(routes.values_list("provider_id", flat=True))
    providers = Provider.objects.filter(pk__in=ids).order_by("pk")
    return {provider.pk: provider for provider in providers.select_for_update(no_key=True)}


def _new_outcomes(entries: Iterable[Entry], new: Iterable[Result]) -> list[Outcome]:
    """The outcomes in their order, without those of results that were written before."""
    uuids = {result.uuid for result in new}
    counted = (each for each in entries if isinstance(each, Outcome) or each.uuid in uuids)
    return [outcome for entry in counted if (outcome := outcome_of(entry))]


def _count(rows: WrittenRows) -> None:
    """Count the attempts and the breakers that changed their state."""
    for result in rows.results:
        slug = rows.providers[result.provider_id].slug
        metrics.count_attempt(slug, result.model_id, result.purpose, result.attempt)
    metrics.flush()
    for state in rows.changes.with_new_breaker_state():
        if provider := rows.providers.get(state.provider_id):
            metrics.count_breaker_move(provider.slug, state.method, state.breaker.state)


def update_provider_type(
    provider_id: int, direct: CallError | None, gateway: CallError | None
) -> None:
    """Store by which methods the provider can be reached, as a test of both has shown."""
    with transaction.atomic():
        provider = Provider.objects.filter(pk=provider_id).select_for_update(no_key=True).first()
        if provider is None:
            return
        provider_type = preference.provider_type(provider.provider_type, direct, gateway)
        if provider_type != provider.provider_type:
            provider.provider_type = provider_type
            provider.save(update_fields=["provider_type"])


def mark_checked(provider_ids: Iterable[int], now: datetime) -> None:
    """Record when the health check of these providers ended."""
    with transaction.atomic():
        # Locked in the order of write_results.
        providers = Provider.objects.filter(pk__in=list(provider_ids)).order_by("pk")
        ids = list(providers.select_for_update(no_key=True).values_list("pk", flat=True))
        Provider.objects.filter(pk__in=ids).update(last_health_check=now)
