"""Rows that every process keeps a copy of: a change of one is told to all, once it is committed."""

from typing import Any

from django.db import models

from providers.infra import replicas


class Announced(models.Model):
    """What saves and deletes one is told at once; who uses `update()` or `bulk_create()` on many
    calls `changes.announce` itself."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        replicas.publish("providers")

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        replicas.publish("providers")
        return deleted
