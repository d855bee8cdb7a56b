"""Providers: accounts at vendors, with their policy and their health."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from providers.domain.sealed import is_sealed
from providers.domain.types import Kind, Method
from providers.infra import feature_flags, replicas
from providers.infra.encrypted_fields import EncryptedJSONField, EncryptedTextField, mask
from providers.models.announced import Replicated
from providers.models.bulk import claim_due_checks
from providers.models.connection import Connection, fingerprint
from providers.models.gateway import Gateway
from providers.vendors import presets

if TYPE_CHECKING:
    from providers.models.route import Route


NO_OBJECT = 'Enter an object in JSON, such as {"temperature": 0.2}.'


class RoutingMethod(models.TextChoices):
    AUTO = "auto", "Automatic"
    DIRECT = "direct", "Direct"
    GATEWAY = "gateway", "Gateway"


class ProviderType(models.TextChoices):
    DIRECT_API = "direct-api", "Direct API"
    GATEWAY_REQUIRED = "gateway-required", "Gateway required"
    HYBRID = "hybrid", "Either way"
    LEGACY = "legacy", "Legacy"


class HealthStatus(models.TextChoices):
    HEALTHY = "healthy", "Healthy"
    DEGRADED = "degraded", "Degraded"
    FAILING = "failing", "Failing"
    UNKNOWN = "unknown", "Unknown"


class ReasoningTags(models.TextChoices):
    """What /v1 does with reasoning that a model writes into the text of its answer."""

    DEFAULT = "default", "The vendor's default"
    SPLIT = "split", "Move it to reasoning_content"
    KEEP = "keep", "Leave it in the text"


class ProviderQuerySet(models.QuerySet["Provider"]):
    def in_order(self) -> ProviderQuerySet:
        """As operators ordered them; what has no place yet comes after, by name."""
        return self.order_by(models.F("position").asc(nulls_last=True), "name", "pk")

    def usable(self) -> ProviderQuerySet:
        return self.filter(enabled=True)

    def claim_due(self, now: datetime, limit: int = 100, only: int | None = None) -> list[int]:
        """Claim the providers whose check is due; return their ids, the longest overdue first.

        Each goes to one caller only: the same statement moves their next check, by their interval
        and up to a tenth more or less, so that checks do not come in waves. It skips rows that
        another transaction has locked.
        """
        return claim_due_checks(now, limit, only)


class PresentManager(models.Manager["Provider"]):
    """Without the removed ones."""

    def get_queryset(self) -> models.QuerySet[Provider]:
        return super().get_queryset().filter(removed_at=None)


class Provider(Replicated):
    """An account at a vendor: base URL, key, policy and health.

    A removed one keeps its row, which only `with_removed` lists, until it is deleted for good.
    """

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    preset = models.SlugField(default="custom")
    kind = models.CharField(
        max_length=20, choices=[(k.value, k.name.title()) for k in Kind], default=Kind.OPENAI.value
    )
    # Empty only for a vendor whose address LiteLLM has.
    base_url = models.URLField(max_length=500, blank=True, default="")
    api_key = EncryptedTextField(blank=True, default="")
    extra_headers = EncryptedJSONField(blank=True, default="")
    litellm_provider = models.CharField(
        max_length=50,
        blank=True,
        default="",
        help_text="What LiteLLM calls a vendor that only it speaks to, such as azure or bedrock.",
    )
    litellm_params = EncryptedJSONField(
        blank=True, default="", help_text="Sent to LiteLLM with every call, such as api_version."
    )
    enabled = models.BooleanField(default=True)
    provider_type = models.CharField(
        max_length=20, choices=ProviderType, default=ProviderType.HYBRID
    )
    routing_method = models.CharField(
        max_length=10, choices=RoutingMethod, default=RoutingMethod.AUTO
    )
    gateway_endpoint = models.URLField(max_length=500, null=True, blank=True)
    gateway_api_key = EncryptedTextField(blank=True, default="")
    prefer_direct = models.BooleanField(default=True)
    fallback_enabled = models.BooleanField(default=True)
    health_check_interval = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(5)], help_text="Seconds between checks."
    )
    health_status = models.CharField(
        max_length=10, choices=HealthStatus, default=HealthStatus.UNKNOWN
    )
    last_health_check = models.DateTimeField(null=True, blank=True)
    consecutive_failures = models.PositiveIntegerField(default=0)
    next_check_at = models.DateTimeField(default=timezone.now)
    models_refreshed_at = models.DateTimeField(null=True, blank=True)
    models_error = models.CharField(max_length=300, blank=True, default="")
    models_unread = models.PositiveIntegerField(
        default=0, help_text="Entries of the last list of models that could not be read."
    )
    alternatives = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="+",
        help_text="Providers that may answer with the same model when every route here has failed.",
    )
    parameters = models.JSONField(default=dict, blank=True)
    concurrency = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Most calls at once with this key; the preset's if empty."
    )
    reasoning_tags = models.CharField(
        max_length=10, choices=ReasoningTags, default=ReasoningTags.DEFAULT
    )
    chat_probe = models.BooleanField(
        default=False, help_text="Checks also send one short chat, which the provider charges for."
    )
    chat_probe_cap = models.DecimalField(
        max_digits=8, decimal_places=4, default=Decimal("0.05"), help_text="USD a day, at most."
    )
    health_reason = models.CharField(max_length=300, blank=True, default="")
    switched_at = models.DateTimeField(
        null=True, blank=True, help_text="When the learned method last changed."
    )
    flaps = models.PositiveSmallIntegerField(
        default=0, help_text="How often the preferred method came back and failed again."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    key_set_at = models.DateTimeField(null=True, blank=True)
    key_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    position = models.PositiveIntegerField(
        null=True, blank=True, editable=False, help_text="Its place among the others."
    )
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PresentManager.from_queryset(ProviderQuerySet)()
    with_removed = ProviderQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        indexes = (
            # health.check_scheduler looks for due checks every few seconds
            models.Index("next_check_at", name="provider_due", condition=models.Q(enabled=True)),
        )

    def clean(self) -> None:
        """Read an emptied field as no parameters."""
        if self.parameters is None:
            self.parameters = {}
        if not isinstance(self.parameters, dict):
            raise ValidationError({"parameters": NO_OBJECT})

    def __str__(self) -> str:
        return self.name

    @property
    def splits_reasoning(self) -> bool:
        """Whether /v1 separates reasoning from the text of this provider's answers."""
        if self.reasoning_tags == ReasoningTags.DEFAULT:
            return presets.get(self.preset).splits_reasoning
        return self.reasoning_tags == ReasoningTags.SPLIT

    @property
    def masked_key(self) -> str:
        return mask(self.api_key)

    def connection(self, fallback_gateways: Mapping[str, str]) -> Connection:
        """Its addresses and keys. `fallback_gateways` maps further gateways to their keys."""
        # A sealed value is empty, but must stay recognisable.
        headers, params = self.extra_headers, self.litellm_params
        return Connection(
            preset=self.preset,
            kind=Kind(self.kind),
            base_url=self.base_url,
            api_key=self.api_key,
            # An EncryptedJSONField reads as a dict; for django-stubs it is a TextField.
            headers=cast(dict[str, str], headers if headers or is_sealed(headers) else {}),
            litellm_provider=self.litellm_provider,
            litellm_params=cast(dict[str, Any], params if params or is_sealed(params) else {}),
            gateway_endpoint=self.gateway_endpoint or "",
            gateway_api_key=self.gateway_api_key,
            fallback_gateways=fallback_gateways,
        )

    def fingerprints(self) -> set[str]:
        """The fingerprints of the keys that its routes use."""
        fallback_gateways = {
            each.url: each.api_key for each in Gateway.objects.filter(enabled=True)
        }
        reached = self.connection(fallback_gateways)
        return {
            fingerprint(reached, Method(route.method), route.endpoint)
            for route in self.routes.all()
        }

    def endpoint(self) -> str:
        """The LiteLLM endpoint of this provider; empty for the gateway process."""
        return self.gateway_endpoint or settings.LITELLM_ENDPOINT or ""

    def ensure_routes(self) -> list[Route]:
        """Create the missing routes and delete those of former endpoints; return all.

        Two queries where nothing changed.
        """
        gateways = Gateway.objects.filter(enabled=True).values_list("url", flat=True)
        expected = self.route_keys(tuple(gateways))
        routes = list(self.routes.all())
        existing = {(route.method, route.endpoint) for route in routes}
        if existing == expected:
            return routes
        for method, endpoint in expected - existing:
            self.routes.get_or_create(method=method, endpoint=endpoint)
        for method, endpoint in existing - expected:
            self.routes.filter(method=method, endpoint=endpoint).delete()
        return list(self.routes.all())

    def route_keys(self, gateways: tuple[str, ...]) -> set[tuple[str, str]]:
        """Method and endpoint of every route it should have: direct, its own gateway, and as
        fallbacks the other gateways and the gateway process, if there is one."""
        endpoints = {self.endpoint(), *gateways, *([""] if settings.GATEWAY_TOKEN else [])}
        if not feature_flags.is_enabled("gateway_sdk"):
            endpoints.discard("")
        return {(Method.DIRECT.value, "")} | {(Method.GATEWAY.value, each) for each in endpoints}

    def forget_learned(self) -> None:
        """After a change of key or address: reset its health and every route."""
        Provider.objects.filter(pk=self.pk).update(
            health_status=HealthStatus.UNKNOWN,
            health_reason="",
            consecutive_failures=0,
            switched_at=None,
            flaps=0,
            next_check_at=timezone.now(),
            models_refreshed_at=None,
        )
        # Provider before routes, as everywhere, or two transactions could wait for each other.
        self.routes.all().forget()
        replicas.publish("routes")
