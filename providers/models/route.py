"""Routes: provider x method x endpoint, each with its breaker and its moving averages.

A state changes by compare-and-set, or while its row is locked; never by read, modify and save.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from providers.domain.types import Method
from providers.infra import metrics
from providers.models.breaker import Breaker, BreakerColumns, breaker_columns
from providers.policy import breaker
from providers.policy.route_state import RouteState

# Columns that outcomes change. `learned_at` is not one: it is decided for the provider.
OUTCOME_COLUMNS = (
    *("last_outcome", "last_outcome_at", "last_error", "last_success_at", "last_failure_at"),
    *("good_streak", "judged", "error_share", "ttft_ms", "ttft_p95_ms", "ttft_baseline_ms"),
)


def route_columns(state: RouteState) -> dict[str, Any]:
    """The columns of a route that change, for `update()`. PostgreSQL stores no NUL."""
    columns = {name: getattr(state, name) for name in OUTCOME_COLUMNS}
    last_error = {"last_error": state.last_error[:300].replace("\0", "")}
    return breaker_columns(state.breaker) | columns | last_error


# The reset columns, for a changed key or address. The epoch is left out: it goes up by one.
FORGOTTEN = route_columns(RouteState(route_id=0, method=Method.DIRECT)) | {"learned_at": None}
del FORGOTTEN["epoch"]


class RouteQuerySet(models.QuerySet["Route"]):
    def change(self, pk: int, old: breaker.BreakerState, new: breaker.BreakerState) -> bool:
        """Compare and set one breaker; return False where another process changed it first."""
        if old == new:
            return True
        unchanged = self.filter(
            pk=pk,
            epoch=old.epoch,
            state=old.state.value,
            consecutive_failures=old.failures,
            retry_at=old.retry_at,
        )
        return unchanged.update(**breaker_columns(new)) == 1

    def forget(self) -> None:
        """Reset these routes, and begin a new epoch: results of calls in progress are ignored."""
        not_closed = self.exclude(state=breaker.State.CLOSED.value)
        for slug, method in not_closed.values_list("provider__slug", "method"):
            metrics.count_breaker_move(slug, method, breaker.State.CLOSED)
        keys = {
            key
            for route in self.select_related("provider")
            for key in route.provider.fingerprints()
        }
        Breaker.objects.concerning(self.values_list("pk", flat=True), keys).forget()
        self.update(**FORGOTTEN, epoch=models.F("epoch") + 1)


class Route(BreakerColumns):
    """One way to a provider: its breaker, and the averages behind the provider's health."""

    provider = models.ForeignKey(
        "providers.Provider", on_delete=models.CASCADE, related_name="routes"
    )
    method = models.CharField(max_length=10, choices=[(m.value, m.name.title()) for m in Method])
    endpoint = models.CharField(max_length=500, blank=True, default="")
    last_outcome = models.CharField(max_length=12, blank=True, default="")
    last_outcome_at = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    learned_at = models.DateTimeField(null=True, blank=True)
    good_streak = models.PositiveSmallIntegerField(
        default=0, help_text="Good results in a row; counted up to what any rule asks for."
    )
    judged = models.PositiveSmallIntegerField(
        default=0, help_text="Results behind the averages, counted up to what makes them count."
    )
    error_share = models.FloatField(default=0, help_text="Moving average, 0 to 1.")
    ttft_ms = models.FloatField(null=True, blank=True, help_text="Moving average.")
    ttft_p95_ms = models.FloatField(null=True, blank=True, help_text="Moving 95th percentile.")
    ttft_baseline_ms = models.FloatField(null=True, blank=True, help_text="What is usual here.")

    objects = RouteQuerySet.as_manager()

    class Meta:
        ordering = ("provider", "method", "endpoint")
        constraints = (
            models.UniqueConstraint(fields=("provider", "method", "endpoint"), name="route_unique"),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.method}"

    def as_state(self, *, is_fallback: bool = False, key: str = "") -> RouteState:
        """The row as a value for `policy`. `key` is the fingerprint of the key it uses."""
        return RouteState(
            route_id=self.pk,
            provider_id=self.provider_id,
            method=Method(self.method),
            endpoint=self.endpoint,
            breaker=self.breaker,
            learned_at=self.learned_at,
            is_fallback=is_fallback,
            key=key,
            **{name: getattr(self, name) for name in OUTCOME_COLUMNS},
        )
