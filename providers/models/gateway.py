"""Gateways: LiteLLM endpoints beside the instance's own, and the last check of each."""

from django.db import models
from django.utils import timezone

from providers.domain.types import Method
from providers.infra import replicas
from providers.infra.encrypted_fields import EncryptedTextField
from providers.models.announced import Replicated
from providers.models.route import Route
from providers.policy.breaker import State


class Gateway(Replicated):
    """A LiteLLM endpoint that any provider may be reached through, beside the instance's own."""

    name = models.CharField(max_length=100)
    url = models.URLField(max_length=500, unique=True)
    api_key = EncryptedTextField(blank=True, default="")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def start_anew(self) -> None:
        """After a change of its key: delete its check, and make its open routes due for a half-open
        probe. Call it within a transaction."""
        GatewayCheck.objects.filter(endpoint=self.url).delete()
        open_routes = Route.objects.filter(
            method=Method.GATEWAY, endpoint=self.url, state=State.OPEN
        ).order_by("pk")
        # Locked in the order of write_results, or the two could wait for each other.
        ids = list(open_routes.select_for_update().values_list("pk", flat=True))
        Route.objects.filter(pk__in=ids).update(retry_at=timezone.now())
        replicas.publish("routes")


class GatewayCheck(models.Model):
    """The last check of a gateway. The gateway process has the empty endpoint."""

    class Liveness(models.TextChoices):
        UP = "up", "Up"
        STARTING = "starting", "Starting"
        DOWN = "down", "Down"

    endpoint = models.CharField(max_length=500, unique=True, blank=True)
    checked_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=Liveness)
    problem = models.CharField(max_length=300, blank=True, default="")
    ms = models.PositiveIntegerField()
    version = models.CharField(max_length=50, blank=True, default="")
    serves = models.PositiveIntegerField(default=0, help_text="Models that it lists.")
    listed = models.JSONField(default=list, help_text="The first of them.")
    vendors = models.JSONField(default=list, help_text="Vendors that LiteLLM speaks to.")

    def __str__(self) -> str:
        return self.endpoint or "Gateway process"
