"""The project as an application: what every process of it does at its start and its end."""

import atexit

from django.apps import AppConfig
from django.db import connections


class OpenCodeWebConfig(AppConfig):
    name = "opencode_web"
    verbose_name = "OpenCode Web"

    def ready(self) -> None:
        """Every process that sends a task has to know the broker, the web process too."""
        from opencode_web import celery  # noqa: F401

        atexit.register(close_pools)


def close_pools() -> None:
    """Ends the pools' threads: left to the interpreter, each of them delays its exit by seconds."""
    for connection in connections.all(initialized_only=True):
        close_pool = getattr(connection, "close_pool", None)
        if close_pool:
            close_pool()
