"""`manage.py runner`: the process that executes chat turns. As many may run as are wanted."""

from typing import Any

from django.core.management.base import BaseCommand

from chat import runner


class Command(BaseCommand):
    requires_system_checks = []  # it serves no pages, and starts a second sooner
    help = "Executes chat turns until it is told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        runner.main()
