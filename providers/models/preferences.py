"""What people make of the catalogue: favourites, visits, presets of parameters, changes to undo."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from providers.infra import replicas
from providers.models.language_model import LanguageModel

A_VISIT = timedelta(minutes=30)  # looks at the catalogue that are no further apart are one visit


class Favourite(models.Model):
    """A language model that a person wants first in every list."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="favourites")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "model"), name="favourite_unique"),)

    def __str__(self) -> str:
        return str(self.model)


class CatalogueVisit(models.Model):
    """When a person last looked at the catalogue, and when the visit before that ended."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    seen_at = models.DateTimeField()
    before = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.user} {self.seen_at:%Y-%m-%d %H:%M}"

    @classmethod
    def note(cls, user: User, now: datetime) -> datetime | None:
        """Takes a look down; returns since when a model is new: None at the first visit."""
        visit, first = cls.objects.get_or_create(user=user, defaults={"seen_at": now})
        if not first:
            if now - visit.seen_at > A_VISIT:
                visit.before = visit.seen_at
            visit.seen_at = now
            visit.save(update_fields=["seen_at", "before"])
        return visit.before


class ParameterPreset(models.Model):
    """Values of parameters under a name, to be given to any number of models."""

    name = models.CharField(max_length=60, unique=True)
    values = models.JSONField(default=dict)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class BulkChange(models.Model):
    """A person's last change of many models at once, with what was there before it.

    `before` is groups of ids, the value of `field` that they had, and the one they were given.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    said = models.CharField(max_length=200)
    field = models.CharField(max_length=20)
    before = models.JSONField()
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.said

    def undo(self) -> tuple[int, int]:
        """Puts back what was there; what somebody has changed since stays. How many of each."""
        done = left = 0
        for ids, value, given in self.before:
            same = LanguageModel.objects.filter(pk__in=ids, **{self.field: given})
            count = same.update(**{self.field: value})
            done, left = done + count, left + len(ids) - count
        self.delete()
        replicas.publish("providers")
        return done, left
