"""`manage.py check_keys`: whether ENCRYPTION_KEYS can decrypt every stored secret.

`./dev up` and the Procfile run it before each start: a provider must not be called without its key.
"""

import argparse
from typing import Any

import django.db
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers.infra.encrypted_fields import can_decrypt
from providers.management.commands.rotate_keys import columns, read_tokens


class Command(BaseCommand):
    help = "Fails if a stored key or header cannot be decrypted with ENCRYPTION_KEYS."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--at-start",
            action="store_true",
            help="Succeed where the database is not available, and where ACCEPT_LOST_KEYS is set.",
        )

    def handle(self, *args: Any, at_start: bool = False, **options: Any) -> None:
        try:
            unreadable = _count_unreadable()
        except django.db.Error:
            if not at_start:
                raise
            self.stderr.write("The database is not available, so stored keys were not checked.")
            return
        if not unreadable:
            self.stdout.write("Every stored secret can be decrypted.")
        elif at_start and settings.ACCEPT_LOST_KEYS:
            self.stderr.write(f"{unreadable} stored secrets cannot be decrypted.")
        else:
            raise CommandError(LOST.format(count=unreadable), returncode=3)


LOST = (
    "{count} stored secrets cannot be decrypted: ENCRYPTION_KEYS is missing a key that encrypted"
    " them, or was replaced. Restore it and start again. If it is lost for good, start with"
    " ACCEPT_LOST_KEYS=true and enter the keys of your providers again."
)


def _count_unreadable() -> int:
    return sum(
        not can_decrypt(token)
        for model, column in columns()
        for _, token in read_tokens(model, column)
    )
