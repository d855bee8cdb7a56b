"""What people keep about the catalogue: favourites, visits, presets, the last bulk change."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from providers.infra import replicas
from providers.models.language_model import LanguageModel

VISIT_GAP = timedelta(minutes=30)  # page views closer together belong to one visit


class Favourite(models.Model):
    """A language model that a person has put first in every list."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="favourites")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "model"), name="favourite_unique"),)

    def __str__(self) -> str:
        return str(self.model)


class CatalogueVisit(models.Model):
    """When a person last viewed the catalogue, and when the visit before that ended."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    seen_at = models.DateTimeField()
    before = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.user} {self.seen_at:%Y-%m-%d %H:%M}"

    @classmethod
    def note(cls, user: User, now: datetime) -> datetime | None:
        """Record a page view; return since when a model counts as new. None at the first visit."""
        visit, first = cls.objects.get_or_create(user=user, defaults={"seen_at": now})
        if not first:
            if now - visit.seen_at > VISIT_GAP:
                visit.before = visit.seen_at
            visit.seen_at = now
            visit.save(update_fields=["seen_at", "before"])
        return visit.before


class ParameterPreset(models.Model):
    """Named parameter values that can be applied to any number of models."""

    name = models.CharField(max_length=60, unique=True)
    values = models.JSONField(default=dict)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class BulkChange(models.Model):
    """A person's last change of many models at once, which can be undone.

    `before` lists groups of ids with the old and the new value of `field`.
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
        """Restore the old values, except where somebody has changed them since; count both."""
        restored = skipped = 0
        for ids, value, given in self.before:
            same = LanguageModel.objects.filter(pk__in=ids, **{self.field: given})
            count = same.update(**{self.field: value})
            restored, skipped = restored + count, skipped + len(ids) - count
        self.delete()
        replicas.publish("providers")
        return restored, skipped
