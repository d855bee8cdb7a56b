"""`manage.py runner`: start a process that executes chat turns; any number may run."""

from typing import Any

from django.core.management.base import BaseCommand

from chat import runner


class Command(BaseCommand):
    requires_system_checks = []  # it serves no pages, and starts a second sooner
    help = "Execute chat turns until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        runner.main()
