"""Virtual models: one name that several language models serve, in an order and by a strategy."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from providers.models.announced import Replicated
from providers.models.language_model import LanguageModel
from providers.models.model_alias import ModelAlias
from providers.policy.members import Strategy

MAX_WEIGHT = 1000

STRATEGIES = (
    (Strategy.PRIORITY.value, "Priority: the first that can answer"),
    (Strategy.WEIGHTED.value, "Weighted: by each member's share"),
    (Strategy.FASTEST.value, "Fastest: the shortest time to first token"),
    (Strategy.CHEAPEST.value, "Cheapest: the lowest price for the request"),
    (Strategy.LEAST_BUSY.value, "Least busy: the most free calls"),
)


class VirtualModel(Replicated):
    """A name that is requested like a model. `notes` are the operators' own."""

    name = models.CharField(
        max_length=200,
        unique=True,
        validators=[RegexValidator(r"^[!-~]+$", "Use letters, digits and signs without spaces.")],
        help_text="The name that clients request, such as fast or gpt-4o.",
    )
    description = models.CharField(max_length=300, blank=True, default="")
    strategy = models.CharField(max_length=12, choices=STRATEGIES, default=Strategy.PRIORITY.value)
    enabled = models.BooleanField(default=True)
    notes = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    favoured_by = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", editable=False
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def strategy_name(self) -> str:
        """The strategy in a word or two."""
        return str(self.get_strategy_display()).partition(":")[0]

    def clean(self) -> None:
        """Refuse a name that means another model already."""
        if owner := find_name_owner(self.name):
            raise ValidationError({"name": f"This name already means {owner}."})


class VirtualMember(Replicated):
    """A language model that answers for a virtual model. `weight` is its share with the strategy
    *weighted*; 0 for one that answers only where the others fail."""

    virtual_model = models.ForeignKey(
        VirtualModel, on_delete=models.CASCADE, related_name="members"
    )
    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="memberships")
    position = models.PositiveSmallIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=1)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("position", "pk")
        constraints = (
            models.UniqueConstraint(fields=("virtual_model", "model"), name="member_unique"),
        )

    def __str__(self) -> str:
        return f"{self.virtual_model}: {self.model}"


def find_name_owner(name: str) -> str:
    """The model whose alias or full name this is, in words; empty where there is none. A plain
    model id is free: a virtual model may have the name of the model that its members serve."""
    slug, _, model_id = name.partition("/")
    named = models.Q(alias=name) | models.Q(
        pk__in=ModelAlias.objects.filter(name=name).values("model")
    )
    if model_id:
        named |= models.Q(provider__slug=slug, model_id=model_id)
    model = LanguageModel.objects.filter(named).select_related("provider").first()
    return f"{model.name} of {model.provider.name}" if model else ""
