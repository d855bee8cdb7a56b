"""Incidents, derived from the providers' health: opened, made worse, closed, counted.

Every change compares what is with what should be, so that no process has to remember one, any
number may look at once, and what a dead one left undone is done by the next look.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q
from django.db.models.functions import Coalesce, Now

from health.models import Incident
from health.outcome_filters import BAD
from providers.domain.frozen import frozen
from providers.models import Attempt, HealthStatus, Provider

ILL = (HealthStatus.DEGRADED.value, HealthStatus.FAILING.value)  # from bad to worse
AT_ONCE = 200  # differences in one look, which must not keep the next tick waiting
ONE_AND_THE_SAME = timedelta(minutes=5)  # what fails again within it has not been well
BEFORE = timedelta(minutes=2)  # the failures that opened an incident came before it
COUNT_EVERY = timedelta(minutes=1)
COUNT_AFTER = timedelta(minutes=15)  # answers that began in an incident may end so much later


@frozen
class Difference:
    """A provider whose open incident, if there is one, does not say what its health does."""

    provider_id: int
    health: str
    reason: str
    incident_id: int | None  # None: none is open
    told: str | None
    worst: str | None


def reconcile(now: datetime) -> None:
    """Makes incidents true; one query where they are. Many at once are done in several looks."""
    differing = list(islice(_differences(), AT_ONCE))
    for found in differing:
        if found.health not in ILL:
            _close(found, now)
        elif found.incident_id is None:
            _open(found, now)
        else:
            _change(found, now)
    if not differing:
        return
    changed = Q(closed_at=None) | Q(closed_at=now)
    providers = [found.provider_id for found in differing]
    _count(Incident.objects.filter(changed, provider__in=providers), now)


def _differences() -> Iterator[Difference]:
    is_ill = Q(enabled=True, removed_at=None, health_status__in=ILL)
    agrees = Q(is_open__status=F("health_status"))
    is_open = Q(is_open__pk__isnull=False)
    rows = Provider.with_removed.annotate(
        is_open=FilteredRelation("incidents", condition=Q(incidents__closed_at=None))
    ).filter((is_ill & ~(is_open & agrees)) | (~is_ill & is_open))
    columns = ("pk", "enabled", "removed_at", "health_status", "health_reason")
    for pk, enabled, removed_at, health, reason, incident_id, told, worst in rows.values_list(
        *columns, "is_open__pk", "is_open__status", "is_open__worst"
    ):
        yield Difference(
            provider_id=pk,
            health=health if enabled and not removed_at else HealthStatus.UNKNOWN.value,
            reason=reason,
            incident_id=incident_id,
            told=told,
            worst=worst,
        )


def _open(found: Difference, now: datetime) -> None:
    """A new incident, or the last one again. Another process that was first has done the same."""
    cause, sentence = _cause(found, now)
    shown = {"status": found.health, "cause": cause, "sentence": sentence}
    recent = Incident.objects.filter(
        provider=found.provider_id, closed_at__gt=now - ONE_AND_THE_SAME
    )
    last = recent.order_by("-closed_at").values_list("pk", "worst").first()
    try:
        with transaction.atomic():
            if last:
                pk, worst = last
                again = Incident.objects.filter(pk=pk).exclude(closed_at=None)
                again.update(closed_at=None, worst=_worse(worst, found.health), **shown)
            else:
                opened = Incident(
                    provider_id=found.provider_id, worst=found.health, opened_at=now, **shown
                )
                opened.save()
    except IntegrityError:
        return  # it is open already, or the provider is gone


def _change(found: Difference, now: datetime) -> None:
    """Better or worse; the cause told is that of the worst."""
    shown = {"status": found.health}
    worst = _worse(found.worst or found.health, found.health)
    if worst != found.worst:
        cause, sentence = _cause(found, now)
        shown |= {"worst": worst, "cause": cause, "sentence": sentence}
    theirs = Incident.objects.filter(provider=found.provider_id, closed_at=None)
    theirs.filter(status=found.told).update(**shown)


def _close(found: Difference, now: datetime) -> None:
    theirs = Incident.objects.filter(provider=found.provider_id, closed_at=None)
    theirs.update(closed_at=now)


def _worse(one: str, other: str) -> str:
    return max(one, other, key=ILL.index)


def _cause(found: Difference, now: datetime) -> tuple[str, str]:
    """The kind of the last failure, and what all may read of it; without one it is slow."""
    failed = Attempt.objects.filter(
        BAD, provider=found.provider_id, started_at__gt=now - COUNT_AFTER
    )
    last = failed.order_by("-started_at").first()
    return (last.outcome, last.public_message) if last else ("", found.reason)


def count(now: datetime) -> None:
    """Counts anew, each minute, what open and just closed incidents have done."""
    lately = Q(closed_at=None) | Q(closed_at__gt=now - COUNT_AFTER)
    due = Q(counted_at=None) | Q(counted_at__lte=now - COUNT_EVERY)
    _count(Incident.objects.filter(lately & due), now)


def _count(incidents: Iterable[Incident], now: datetime) -> None:
    counted = {incident.pk: incident for incident in incidents}
    if not counted:
        return
    for incident in counted.values():
        incident.counted_at = now
    since = min(incident.opened_at for incident in counted.values()) - BEFORE
    for incident_id, names, rescued in _figures(counted, since):
        counted[incident_id].affected_models = sorted(names)
        counted[incident_id].rescued = rescued
    fields = ["counted_at", "rescued", "affected_models"]
    Incident.objects.bulk_update(counted.values(), fields, batch_size=500)


def _figures(incident_ids: Iterable[int], since: datetime) -> Iterator[tuple[int, list[str], int]]:
    """By incident: the models that failed, and how many of those requests were answered after
    all, by another route or another provider."""
    rescue = Attempt.objects.filter(request_id=OuterRef("request_id"), position__gt=1, outcome="ok")
    ended = Coalesce("provider__incidents__closed_at", Now())
    failed = Attempt.objects.filter(
        BAD,
        Q(started_at__gte=since),  # so that the index on time serves
        provider__incidents__in=list(incident_ids),
        started_at__gte=F("provider__incidents__opened_at") - BEFORE,
        started_at__lte=ended,
    )
    figures = (
        failed.order_by()
        .values("provider__incidents")
        .annotate(
            names=ArrayAgg("model_id", distinct=True, filter=~Q(model_id="")),
            rescued=Count("request_id", distinct=True, filter=Exists(rescue)),
        )
    )
    for row in figures:
        yield row["provider__incidents"], row["names"] or [], row["rescued"]
