"""Further names of language models. Several models may share one; they are tried in order."""

from django.db import models

from providers.models.announced import Replicated
from providers.models.language_model import LanguageModel


class ModelAlias(Replicated):
    """A further name of a model, beside its own alias.

    Of several models with this name the first enabled one answers; the others are its fallbacks, by
    position. A model with this name as its own alias comes first.
    """

    name = models.CharField(max_length=200)
    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="aliases")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name_plural = "model aliases"
        ordering = ("name", "position", "pk")
        constraints = (
            models.UniqueConstraint(fields=("name", "model"), name="further_alias_unique"),
        )

    def __str__(self) -> str:
        return self.name
