"""Whom we can call and how, as rows: providers, their routes, their models, and every attempt.

State changes are compare-and-set updates, never read-modify-save: where the row count is not 1,
another process was first, and its word stands.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from providers import breaker
from providers.errors import ErrorKind
from providers.fields import EncryptedJSONField, EncryptedTextField, mask
from providers.types import Kind, Method


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


class ProviderQuerySet(models.QuerySet["Provider"]):
    def usable(self) -> ProviderQuerySet:
        return self.filter(enabled=True)

    def claim_due(self, now: datetime, limit: int = 100) -> list[int]:
        """Ids of providers whose check is due, each given to one caller only."""
        due = (
            self.usable()
            .filter(next_check_at__lte=now)
            .order_by("next_check_at")
            .values_list("pk", "next_check_at", "health_check_interval")[:limit]
        )
        return [
            pk
            for pk, was_due, interval in due
            if self.filter(pk=pk, next_check_at=was_due).update(
                next_check_at=now + timedelta(seconds=interval)
            )
        ]


class Provider(models.Model):
    """An account at a vendor: base URL, key, policy, and what is known of its health."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    preset = models.SlugField(default="custom")
    kind = models.CharField(
        max_length=20, choices=[(k.value, k.name.title()) for k in Kind], default=Kind.OPENAI.value
    )
    base_url = models.URLField(max_length=500)
    api_key = EncryptedTextField(blank=True, default="")
    extra_headers = EncryptedJSONField(blank=True, default="")
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
    alternatives = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="+",
        help_text="Providers that may answer with the same model when every route here has failed.",
    )
    concurrency = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Most calls at once with this key; the preset's if empty."
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
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProviderQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        indexes = (
            # health.monitor asks every few seconds which checks are due
            models.Index("next_check_at", name="provider_due", condition=models.Q(enabled=True)),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def masked_key(self) -> str:
        return mask(self.api_key)

    def endpoint(self) -> str:
        """The LiteLLM endpoint of this provider; empty for our own gateway process."""
        return self.gateway_endpoint or settings.LITELLM_ENDPOINT or ""

    def ensure_routes(self) -> list[Route]:
        """The rows of both methods at the current endpoint: made where they are missing, those of
        earlier endpoints dropped. One query where nothing changed."""
        wanted = {(Method.DIRECT.value, ""), (Method.GATEWAY.value, self.endpoint())}
        routes = list(self.routes.all())
        existing = {(route.method, route.endpoint) for route in routes}
        if existing == wanted:
            return routes
        for method, endpoint in wanted - existing:
            self.routes.get_or_create(method=method, endpoint=endpoint)
        for method, endpoint in existing - wanted:
            self.routes.filter(method=method, endpoint=endpoint).delete()
        return list(self.routes.all())

    def forget_learned(self) -> None:
        """A changed key or address: every route starts anew, and so does the health."""
        self.routes.update(**route_columns(breaker.Breaker()), learned_at=None, last_outcome="")
        Provider.objects.filter(pk=self.pk).update(
            health_status=HealthStatus.UNKNOWN,
            consecutive_failures=0,
            next_check_at=timezone.now(),
            models_refreshed_at=None,
        )


def route_columns(state: breaker.Breaker) -> dict[str, Any]:
    """A breaker's columns, as `update()` and `filter()` take them."""
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


class RouteQuerySet(models.QuerySet["Route"]):
    def change(self, pk: int, old: breaker.Breaker, new: breaker.Breaker) -> bool:
        """Compare-and-set of one breaker; False where another process was first."""
        if old == new:
            return True
        unchanged = self.filter(
            pk=pk,
            epoch=old.epoch,
            state=old.state.value,
            consecutive_failures=old.failures,
            retry_at=old.retry_at,
        )
        return unchanged.update(**route_columns(new)) == 1


class Route(models.Model):
    """Provider x method x endpoint: the row that carries breaker state."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="routes")
    method = models.CharField(max_length=10, choices=[(m.value, m.name.title()) for m in Method])
    endpoint = models.CharField(max_length=500, blank=True, default="")
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
    last_outcome = models.CharField(max_length=12, blank=True, default="")
    last_outcome_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    last_success_at = models.DateTimeField(null=True, blank=True)
    learned_at = models.DateTimeField(null=True, blank=True)
    last_failure_at = models.DateTimeField(null=True, blank=True)
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

    @property
    def breaker(self) -> breaker.Breaker:
        return breaker.Breaker(
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


class Gateway(models.Model):
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


class ModelSource(models.TextChoices):
    DISCOVERED = "discovered", "Discovered"
    CATALOGUE = "catalogue", "Offline catalogue"
    MANUAL = "manual", "Added by hand"


class LanguageModelQuerySet(models.QuerySet["LanguageModel"]):
    def usable(self) -> LanguageModelQuerySet:
        return self.filter(enabled=True, missing_since=None, provider__enabled=True)


class LanguageModel(models.Model):
    """One model a provider offers. Prices in USD per million tokens; None where unknown."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="language_models")
    model_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    context = models.PositiveIntegerField(null=True, blank=True)
    output_limit = models.PositiveIntegerField(null=True, blank=True)
    vision = models.BooleanField(default=False)
    tools = models.BooleanField(default=False)
    reasoning = models.BooleanField(default=False)
    streaming = models.BooleanField(default=True)
    json_output = models.BooleanField(default=False)
    input_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    output_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    enabled = models.BooleanField(default=True)
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(default=timezone.now)
    missing_since = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=12, choices=ModelSource, default=ModelSource.DISCOVERED)
    parameters = models.JSONField(default=dict, blank=True)
    alias = models.CharField(
        max_length=200, blank=True, default="", help_text="Another name it is asked for by."
    )

    objects = LanguageModelQuerySet.as_manager()

    class Meta:
        ordering = ("provider__name", "name")
        constraints = (
            models.UniqueConstraint(fields=("provider", "model_id"), name="model_unique"),
            models.UniqueConstraint(
                fields=("alias",), condition=~models.Q(alias=""), name="model_alias_unique"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not isinstance(self.parameters, dict):
            raise ValidationError({"parameters": 'Enter an object, such as {"temperature": 0}.'})


class Purpose(models.TextChoices):
    CHAT = "chat", "Chat"
    API = "api", "API"
    TEST = "test", "Test"
    PROBE = "probe", "Probe"


class Attempt(models.Model):
    """One call over one route. Appended, never changed; pruned by age.

    A request that no route was free for is one attempt without a route, so that it shows too.
    """

    request_id = models.UUIDField(db_index=True)
    position = models.PositiveSmallIntegerField(default=1, help_text="Among its request's.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # The id of the client key it was asked with; no foreign key, as those rows are api's.
    client_key = models.PositiveBigIntegerField(null=True, blank=True)
    route = models.ForeignKey(Route, null=True, on_delete=models.SET_NULL, related_name="attempts")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="attempts")
    method = models.CharField(max_length=10)
    endpoint = models.CharField(max_length=500, blank=True, default="")
    model_id = models.CharField(max_length=200, blank=True, default="")
    purpose = models.CharField(max_length=10, choices=Purpose)
    outcome = models.CharField(max_length=12)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=100, blank=True, default="")
    error_message = models.CharField(max_length=300, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-started_at",)
        indexes = (
            # the provider page's activity, and the status page's last hours
            models.Index(fields=("provider", "-started_at"), name="attempt_recent"),
            # the activity page without a filter, roll-ups and pruning, which go by time alone
            models.Index(fields=("-started_at",), name="attempt_time"),
            # a person's own activity
            models.Index(
                fields=("user", "-started_at"),
                name="attempt_of_user",
                condition=models.Q(user__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.method} {self.outcome}"
