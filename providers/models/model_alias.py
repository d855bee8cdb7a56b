"""Further names of language models: several models of one name are tried in order."""

from django.db import models

from providers.models.announced import Announced
from providers.models.language_model import LanguageModel


class ModelAlias(Announced):
    """One more name of a model, beside its own alias.

    Several models may have the same one: the first that is in use answers, the others are its
    fallbacks by position. A model whose own alias it is comes before them all.
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
