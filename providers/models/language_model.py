"""Language models: the rows of a provider's catalogue."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Concat, Lower
from django.utils import timezone

from providers.models.announced import Replicated
from providers.models.provider import Provider


class ModelSource(models.TextChoices):
    DISCOVERED = "discovered", "Discovered"
    CATALOGUE = "catalogue", "Offline catalogue"
    MANUAL = "manual", "Added by hand"


class ModelKind(models.TextChoices):
    """What a model does. Only chat models are enabled unless an operator enables others."""

    CHAT = "chat", "Chat"
    EMBEDDING = "embedding", "Embedding"
    IMAGE = "image", "Image"
    SPEECH = "speech", "Speech"
    TRANSCRIPTION = "transcription", "Transcription"
    RERANK = "rerank", "Reranking"
    MODERATION = "moderation", "Moderation"
    OTHER = "other", "Other"


class LanguageModelQuerySet(models.QuerySet["LanguageModel"]):
    def present(self) -> LanguageModelQuerySet:
        """Those whose provider is not removed."""
        return self.exclude(provider__in=Provider.with_removed.exclude(removed_at=None))

    def usable(self) -> LanguageModelQuerySet:
        return self.filter(
            enabled=True,
            missing_since=None,
            provider__enabled=True,
            provider__removed_at=None,
        )


class LanguageModel(Replicated):
    """One model a provider offers. Prices in USD per million tokens; None where unknown.

    `sources` names the source of each fact. `takes` names the parameters it accepts, None where
    unknown. `parameters` are sent with each request of the chat.
    """

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="language_models")
    model_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=15, choices=ModelKind, default=ModelKind.CHAT)
    context = models.PositiveIntegerField(null=True, blank=True)
    output_limit = models.PositiveIntegerField(null=True, blank=True)
    vision = models.BooleanField(default=False)
    tools = models.BooleanField(default=False)
    reasoning = models.BooleanField(default=False)
    streaming = models.BooleanField(default=True)
    json_output = models.BooleanField(default=False)
    input_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    output_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cache_read_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cache_write_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    enabled = models.BooleanField(default=True)
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(default=timezone.now)
    missing_since = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=12, choices=ModelSource, default=ModelSource.DISCOVERED)
    returned_at = models.DateTimeField(null=True, blank=True)
    sources = models.JSONField(default=dict, blank=True)
    takes = models.JSONField(null=True, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    alias = models.CharField(
        max_length=200, blank=True, default="", help_text="Another name it is asked for by."
    )
    # The text that a search matches, in lower case. The migration gave it a trigram index where the
    # database has pg_trgm; elsewhere a search scans it.
    searched = models.GeneratedField(
        expression=Lower(Concat("model_id", models.Value(" "), "name", models.Value(" "), "alias")),
        output_field=models.TextField(),
        db_persist=True,
    )

    objects = LanguageModelQuerySet.as_manager()

    is_failing: bool = False  # whether a breaker of it is open; pages set it

    class Meta:
        ordering = ("provider__name", "name")
        constraints = (
            models.UniqueConstraint(fields=("provider", "model_id"), name="model_unique"),
            models.UniqueConstraint(
                fields=("alias",), condition=~models.Q(alias=""), name="model_alias_unique"
            ),
        )
        indexes = (
            # the Models page in its usual order
            models.Index(
                models.F("missing_since").asc(nulls_first=True), "name", "id", name="model_listed"
            ),
            # the counts beside it, which look at every model
            models.Index(
                fields=("provider",),
                include=(
                    *("id", "enabled", "missing_since", "first_seen", "context"),
                    *("vision", "tools", "reasoning", "input_price", "output_price"),
                ),
                name="model_counted",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_free(self) -> bool:
        return self.input_price == 0 and self.output_price == 0

    def clean(self) -> None:
        if not isinstance(self.parameters, dict):
            raise ValidationError({"parameters": 'Enter an object, such as {"temperature": 0}.'})
