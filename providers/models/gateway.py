"""Gateways: LiteLLM endpoints beside the instance's own."""

from django.db import models

from providers.fields import EncryptedTextField
from providers.models.announced import Announced


class Gateway(Announced):
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
