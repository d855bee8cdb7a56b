"""Open, update, close and count incidents, derived from the providers' health.

Every pass compares the stored incidents with the providers, so no process keeps state, any number
may run at once, and the next pass completes what a dead process left unfinished.
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

UNHEALTHY = (HealthStatus.DEGRADED.value, HealthStatus.FAILING.value)  # from bad to worse
MAX_CHANGES = 200  # in one pass, so that it does not delay the next tick
REOPEN_WITHIN = timedelta(minutes=5)  # a provider that fails again so soon had not recovered
LEAD_TIME = timedelta(minutes=2)  # the failures that opened an incident precede it
COUNT_INTERVAL = timedelta(minutes=1)
COUNT_AFTER = timedelta(minutes=15)  # answers that began in an incident may end so much later


@frozen
class Mismatch:
    """A provider whose open incident, if any, does not match its health."""

    provider_id: int
    health: str
    reason: str
    incident_id: int | None  # None: no incident is open
    status: str | None  # of the open incident
    worst: str | None


def reconcile(now: datetime) -> None:
    """Make the incidents match the providers' health; one query where they do already.

    More than MAX_CHANGES are left to the next passes.
    """
    mismatches = list(islice(_find_mismatches(), MAX_CHANGES))
    for mismatch in mismatches:
        if mismatch.health not in UNHEALTHY:
            _close(mismatch, now)
        elif mismatch.incident_id is None:
            _open(mismatch, now)
        else:
            _change(mismatch, now)
    if not mismatches:
        return
    changed = Q(closed_at=None) | Q(closed_at=now)
    providers = [mismatch.provider_id for mismatch in mismatches]
    _count_effects(Incident.objects.filter(changed, provider__in=providers), now)


def _find_mismatches() -> Iterator[Mismatch]:
    is_ill = Q(enabled=True, removed_at=None, health_status__in=UNHEALTHY)
    agrees = Q(is_open__status=F("health_status"))
    is_open = Q(is_open__pk__isnull=False)
    rows = Provider.with_removed.annotate(
        is_open=FilteredRelation("incidents", condition=Q(incidents__closed_at=None))
    ).filter((is_ill & ~(is_open & agrees)) | (~is_ill & is_open))
    columns = ("pk", "enabled", "removed_at", "health_status", "health_reason")
    for pk, enabled, removed_at, health, reason, incident_id, status, worst in rows.values_list(
        *columns, "is_open__pk", "is_open__status", "is_open__worst"
    ):
        yield Mismatch(
            provider_id=pk,
            health=health if enabled and not removed_at else HealthStatus.UNKNOWN.value,
            reason=reason,
            incident_id=incident_id,
            status=status,
            worst=worst,
        )


def _open(mismatch: Mismatch, now: datetime) -> None:
    """Open an incident, or reopen the last one. Another process may do the same at once."""
    cause, sentence = _find_cause(mismatch, now)
    shown = {"status": mismatch.health, "cause": cause, "sentence": sentence}
    recent = Incident.objects.filter(
        provider=mismatch.provider_id, closed_at__gt=now - REOPEN_WITHIN
    )
    last = recent.order_by("-closed_at").values_list("pk", "worst").first()
    try:
        with transaction.atomic():
            if last:
                pk, worst = last
                again = Incident.objects.filter(pk=pk).exclude(closed_at=None)
                again.update(closed_at=None, worst=_worse_status(worst, mismatch.health), **shown)
            else:
                opened = Incident(
                    provider_id=mismatch.provider_id, worst=mismatch.health, opened_at=now, **shown
                )
                opened.save()
    except IntegrityError:
        return  # another process opened it, or the provider is deleted


def _change(mismatch: Mismatch, now: datetime) -> None:
    """Set the status; the cause is that of the worst status."""
    shown = {"status": mismatch.health}
    worst = _worse_status(mismatch.worst or mismatch.health, mismatch.health)
    if worst != mismatch.worst:
        cause, sentence = _find_cause(mismatch, now)
        shown |= {"worst": worst, "cause": cause, "sentence": sentence}
    theirs = Incident.objects.filter(provider=mismatch.provider_id, closed_at=None)
    theirs.filter(status=mismatch.status).update(**shown)


def _close(mismatch: Mismatch, now: datetime) -> None:
    theirs = Incident.objects.filter(provider=mismatch.provider_id, closed_at=None)
    theirs.update(closed_at=now)


def _worse_status(one: str, other: str) -> str:
    return max(one, other, key=UNHEALTHY.index)


def _find_cause(mismatch: Mismatch, now: datetime) -> tuple[str, str]:
    """The kind of the last failure and its public message; no kind where it is slow."""
    failed = Attempt.objects.filter(
        BAD, provider=mismatch.provider_id, started_at__gt=now - COUNT_AFTER
    )
    last = failed.order_by("-started_at").first()
    return (last.outcome, last.public_message) if last else ("", mismatch.reason)


def count_effects(now: datetime) -> None:
    """Count, once a minute, the effects of open and recently closed incidents."""
    recent = Q(closed_at=None) | Q(closed_at__gt=now - COUNT_AFTER)
    due = Q(counted_at=None) | Q(counted_at__lte=now - COUNT_INTERVAL)
    _count_effects(Incident.objects.filter(recent & due), now)


def _count_effects(incidents: Iterable[Incident], now: datetime) -> None:
    by_id = {incident.pk: incident for incident in incidents}
    if not by_id:
        return
    for incident in by_id.values():
        incident.counted_at = now
    since = min(incident.opened_at for incident in by_id.values()) - LEAD_TIME
    for incident_id, names, rescued in _load_effects(by_id, since):
        by_id[incident_id].affected_models = sorted(names)
        by_id[incident_id].rescued = rescued
    fields = ["counted_at", "rescued", "affected_models"]
    Incident.objects.bulk_update(by_id.values(), fields, batch_size=500)


def _load_effects(
    incident_ids: Iterable[int], since: datetime
) -> Iterator[tuple[int, list[str], int]]:
    """For each incident: the models that failed, and how many of the failed requests another route
    or provider answered."""
    rescue = Attempt.objects.filter(request_id=OuterRef("request_id"), position__gt=1, outcome="ok")
    ended = Coalesce("provider__incidents__closed_at", Now())
    failed = Attempt.objects.filter(
        BAD,
        Q(started_at__gte=since),  # lets the index on time be used
        provider__incidents__in=list(incident_ids),
        started_at__gte=F("provider__incidents__opened_at") - LEAD_TIME,
        started_at__lte=ended,
    )
    rows = (
        failed.order_by()
        .values("provider__incidents")
        .annotate(
            names=ArrayAgg("model_id", distinct=True, filter=~Q(model_id="")),
            rescued=Count("request_id", distinct=True, filter=Exists(rescue)),
        )
    )
    for row in rows:
        yield row["provider__incidents"], row["names"] or [], row["rescued"]
