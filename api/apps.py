"""The `api` application."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        """Keys of a deactivated or deleted user stop working at once."""
        from django.contrib.auth.models import User

        post_save.connect(publish_keys, sender=User, dispatch_uid="api-user-saved")
        post_delete.connect(publish_keys, sender=User, dispatch_uid="api-user-deleted")


def publish_keys(**signal: Any) -> None:
    """Reload the keys in every process, unless the user only signed in."""
    from providers.infra import replicas

    if signal.get("update_fields") != frozenset({"last_login"}):
        replicas.publish("keys")
