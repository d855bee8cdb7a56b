"""The breakers of models and keys: one row for each that has failed, none for the others.

A state changes by compare-and-set, or while its row is locked. A key is stored as its fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from providers.domain.errors import ErrorKind
from providers.policy import breaker
from providers.policy.breaker import Domain, DomainState

KEEP_CLOSED = timedelta(hours=1)  # longer than any call: a late result still finds its epoch
KEEP_OPEN = timedelta(days=30)  # without a change for so long, its key is no longer in use


def breaker_columns(state: breaker.BreakerState) -> dict[str, Any]:
    """The columns of a breaker, for `update()` and `filter()`."""
    return {
        "state": state.state.value,
        "consecutive_failures": state.failures,
        "consecutive_successes": state.successes,
        "trips": state.trips,
        "opened_at": state.opened_at,
        "retry_at": state.retry_at,
        "last_kind": state.last_kind.value if state.last_kind else "",
        "proven": state.proven,
        "epoch": state.epoch,
    }


class BreakerColumns(models.Model):
    """The columns that every row with a breaker has."""

    state = models.CharField(
        max_length=10,
        choices=[(s.value, s.name.title()) for s in breaker.State],
        default=breaker.State.CLOSED.value,
    )
    consecutive_failures = models.FloatField(default=0)
    consecutive_successes = models.PositiveIntegerField(default=0)
    trips = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    last_kind = models.CharField(max_length=12, blank=True, default="")
    proven = models.BooleanField(default=False)
    epoch = models.PositiveBigIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True, default="")
    last_failure_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def breaker(self) -> breaker.BreakerState:
        return breaker.BreakerState(
            state=breaker.State(self.state),
            failures=self.consecutive_failures,
            successes=self.consecutive_successes,
            trips=self.trips,
            opened_at=self.opened_at,
            retry_at=self.retry_at,
            last_kind=ErrorKind(self.last_kind) if self.last_kind else None,
            proven=self.proven,
            epoch=self.epoch,
        )


class BreakerQuerySet(models.QuerySet["Breaker"]):
    def concerning(self, route_ids: Iterable[int], keys: Iterable[str]) -> BreakerQuerySet:
        """The rows of these routes' models and of these keys."""
        return self.filter(Q(route__in=list(route_ids)) | Q(key__in=[key for key in keys if key]))

    def of(self, domains: Iterable[Domain]) -> BreakerQuerySet:
        """The rows of these very domains."""
        matches = Q(pk__in=[])
        for each in domains:
            matches |= Q(route=each.route_id or None, key=each.key, model_id=each.model_id)
        return self.filter(matches)

    def ensure(self, domains: Iterable[Domain]) -> None:
        """Create a closed row for each domain without one, in the order in which everybody does."""
        rows = [
            Breaker(route_id=each.route_id or None, key=each.key, model_id=each.model_id)
            for each in sorted(domains)
        ]
        if rows:
            self.bulk_create(rows, ignore_conflicts=True)

    def forget(self) -> None:
        """Reset these rows, and begin a new epoch: results of calls in progress are ignored."""
        columns = breaker_columns(breaker.BreakerState()) | {
            "last_error": "",
            "last_failure_at": None,
        }
        del columns["epoch"]
        self.update(**columns, epoch=F("epoch") + 1, changed_at=timezone.now(), checked_at=None)

    def expired(self, now: datetime) -> BreakerQuerySet:
        """Rows that can be deleted: closed for an hour, or of a key that is no longer in use."""
        closed = Q(state=breaker.State.CLOSED.value, changed_at__lt=now - KEEP_CLOSED)
        return self.filter(closed | Q(changed_at__lt=now - KEEP_OPEN))


class Breaker(BreakerColumns):
    """The breaker of one model of a route, of a key, or of one model of a key."""

    route = models.ForeignKey(
        "providers.Route", null=True, on_delete=models.CASCADE, related_name="model_breakers"
    )
    key = models.CharField(max_length=32, blank=True, default="", db_index=True)
    model_id = models.CharField(max_length=200, blank=True, default="")
    changed_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When its list of models was last read to check the key."
    )

    objects = BreakerQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("route", "key", "model_id"), name="breaker_unique", nulls_distinct=False
            ),
        )

    def __str__(self) -> str:
        return " ".join(filter(None, (self.domain.scope.value, self.model_id)))

    @property
    def domain(self) -> Domain:
        return Domain(self.route_id or 0, self.key, self.model_id)

    def as_state(self) -> DomainState:
        """The row as a value for `policy`."""
        return DomainState(
            domain=self.domain,
            breaker=self.breaker,
            last_error=self.last_error,
            last_failure_at=self.last_failure_at,
        )


def domain_columns(state: DomainState) -> dict[str, Any]:
    """The columns of a domain that change, for `update()`. PostgreSQL stores no NUL."""
    return breaker_columns(state.breaker) | {
        "last_error": state.last_error[:300].replace("\0", ""),
        "last_failure_at": state.last_failure_at,
        "changed_at": timezone.now(),
    }
