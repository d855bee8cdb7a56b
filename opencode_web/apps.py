"""The project as an application: what every process of it does at its start and its end."""

import atexit

from django.apps import AppConfig
from django.db import connections


class OpenCodeWebConfig(AppConfig):
    name = "opencode_web"
    verbose_name = "OpenCode Web"

    def ready(self) -> None:
        """Load the Celery application, so that every process that sends a task, such as the web
        process, has the broker's address."""
        from opencode_web import account_events, celery  # noqa: F401

        account_events.connect()
        atexit.register(close_pools)


def close_pools() -> None:
    """Ends the pools' threads: left to the interpreter, each of them delays its exit by seconds.

    A pool is the process's, whichever thread made it; any connection of its alias can close it.
    """
    for connection in connections.all():
        close_pool = getattr(connection, "close_pool", None)
        if close_pool:
            close_pool()
