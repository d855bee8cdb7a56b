"""The project as an application: its commands and the first-run page."""

from django.apps import AppConfig


class OpenCodeWebConfig(AppConfig):
    name = "opencode_web"
    verbose_name = "OpenCode Web"

    def ready(self) -> None:
        """Every process that sends a task has to know the broker, the web process too."""
        from opencode_web import celery  # noqa: F401
