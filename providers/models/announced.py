"""Rows that every process keeps a copy of: a committed change is published to all of them."""

from typing import Any

from django.db import models

from providers.infra import replicas


class Replicated(models.Model):
    """`save` and `delete` publish by themselves; a caller of `update()` or `bulk_create()` calls
    `replicas.publish` itself."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        replicas.publish("providers")

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        replicas.publish("providers")
        return deleted
