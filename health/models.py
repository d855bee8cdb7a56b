"""Incidents, and attempts rolled up by hour, both kept longer than the attempts."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from providers.models import HealthStatus, Provider


class Incident(models.Model):
    """An interval in which a provider was failing or degraded. A provider has at most one open."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="incidents")
    status = models.CharField(max_length=10, choices=HealthStatus)
    worst = models.CharField(max_length=10, choices=HealthStatus)
    cause = models.CharField(
        max_length=12, blank=True, default="", help_text="An error kind; empty: it is slow."
    )
    sentence = models.CharField(max_length=300, blank=True, default="")
    affected_models = models.JSONField(default=list, blank=True)
    rescued = models.PositiveIntegerField(
        default=0, help_text="Requests that failed here and were answered by another route."
    )
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    counted_at = models.DateTimeField(
        null=True, blank=True, help_text="When rescued and affected models were last counted."
    )

    class Meta:
        ordering = ("-opened_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("provider",), condition=models.Q(closed_at=None), name="incident_one_open"
            ),
        )
        indexes = (
            # the status page's past incidents, reopening, and pruning
            models.Index(fields=("-closed_at",), name="incident_closed"),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.worst}"


class HealthRollup(models.Model):
    """The attempts over one route in one clock hour, probes and tests included.

    `good` and `bad` count the attempts that say something about the route; a wrong request or a
    refused probe counts in neither. `rescued` are requests that this route answered after another
    one had failed.
    """

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="rollups")
    method = models.CharField(max_length=10, blank=True)
    endpoint = models.CharField(max_length=500, blank=True, default="")
    hour = models.DateTimeField()
    good = models.PositiveIntegerField(default=0)
    bad = models.PositiveIntegerField(default=0)
    stopped = models.PositiveIntegerField(default=0)
    rescued = models.PositiveIntegerField(default=0)
    ttft_p50_ms = models.PositiveIntegerField(null=True, blank=True)
    ttft_p95_ms = models.PositiveIntegerField(null=True, blank=True)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    cost = models.DecimalField(max_digits=16, decimal_places=8, default=0)
    estimated_cost = models.DecimalField(
        max_digits=16, decimal_places=8, default=0, help_text="The part of it that is estimated."
    )

    class Meta:
        ordering = ("-hour",)
        constraints = (
            models.UniqueConstraint(
                fields=("provider", "method", "endpoint", "hour"), name="rollup_unique"
            ),
        )
        indexes = (
            # the status page's bars and pruning select by time
            models.Index(fields=("hour",), name="rollup_hour"),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.method} {self.hour:%Y-%m-%d %H:00}"
