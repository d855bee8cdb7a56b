"""`manage.py check_keys`: whether ENCRYPTION_KEYS can decrypt every stored secret."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.infra.encrypted_fields import opens
from providers.management.commands.rotate_keys import columns, stored


class Command(BaseCommand):
    help = "Fails where a stored key or header cannot be decrypted with ENCRYPTION_KEYS."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = sum(
            not opens(token) for model, column in columns() for _, token in stored(model, column)
        )
        if unreadable:
            raise CommandError(f"{unreadable} stored secrets cannot be decrypted.", returncode=3)
        self.stdout.write("Every stored secret can be decrypted.")
