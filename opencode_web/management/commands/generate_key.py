"""`manage.py generate_key`: prints a new key for ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand

from opencode_web.launcher.home import generate_encryption_key


class Command(BaseCommand):
    help = "Prints a new Fernet key. Put it first in ENCRYPTION_KEYS; the older ones still decrypt."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(generate_encryption_key())
