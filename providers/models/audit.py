"""Audit events: who changed what, and when. Appended, never changed; no secret is ever in one."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """One change of a provider, a key, a model, a gateway or a flag.

    `changes` maps a field to its old and new value, in words. Of a secret it only says that it
    changed.
    """

    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Names, not only ids: the account or the subject may be deleted since.
    username = models.CharField(max_length=150, blank=True, default="")
    verb = models.CharField(max_length=30)
    kind = models.CharField(max_length=30)
    subject_id = models.CharField(max_length=40, blank=True, default="")
    subject = models.CharField(max_length=200)
    changes = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        indexes = (
            models.Index(fields=("-at", "-id"), name="audit_newest"),
            models.Index(fields=("kind", "subject_id"), name="audit_subject"),
        )

    def __str__(self) -> str:
        return f"{self.username or 'nobody'} {self.verb} {self.kind} {self.subject}"
