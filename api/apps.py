"""The OpenAI-compatible door."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        """The keys of people who may no longer come in stop working with them."""
        from django.contrib.auth.models import User

        post_save.connect(tell_keys, sender=User, dispatch_uid="api-user-saved")
        post_delete.connect(tell_keys, sender=User, dispatch_uid="api-user-deleted")


def tell_keys(**signal: Any) -> None:
    """A sign-in alone changes nothing about keys."""
    from providers.infra import replicas

    if signal.get("update_fields") != frozenset({"last_login"}):
        replicas.publish("keys")
