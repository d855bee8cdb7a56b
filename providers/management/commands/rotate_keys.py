"""`manage.py rotate_keys`: all stored secrets under the first of ENCRYPTION_KEYS, while it serves.

Each value is written only where it is still what was read, so that a key that somebody saves in
the same moment is not lost. Safe to be stopped and started again.
"""

from typing import Any

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import Model

from providers import changes
from providers.fields import EncryptedTextField, rotated


class Command(BaseCommand):
    help = "Re-encrypts every stored key and header with the first of ENCRYPTION_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        counts = {"rotated": 0, "current": 0, "sealed": 0}
        for model, column in columns():
            for pk, token in stored(model, column):
                counts[turn(model, column, pk, token, dry_run=dry_run)] += 1
        changes.announce("providers")
        words = "would be re-encrypted" if dry_run else "re-encrypted"
        self.stdout.write(f"{counts['rotated']} {words}, {counts['current']} were current.")
        if counts["sealed"]:
            raise CommandError(
                f"{counts['sealed']} cannot be opened by any of ENCRYPTION_KEYS and stay as they"
                " are: bring the key back that sealed them, or enter these secrets anew."
            )


def columns() -> list[tuple[type[Model], str]]:
    """Every column of every table that holds secrets."""
    return [
        (model, each.get_attname())
        for model in apps.get_models()
        for each in model._meta.concrete_fields
        if isinstance(each, EncryptedTextField)
    ]


def stored(model: type[Model], column: str) -> list[tuple[int, str]]:
    """What is stored there as it is, not opened."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id, "{column}" FROM "{table}" WHERE "{column}" <> \'\'')  # noqa: S608
        return list(cursor.fetchall())


def turn(model: type[Model], column: str, pk: int, token: str, *, dry_run: bool) -> str:
    """One value; what became of it. One that was saved meanwhile is under the new key already."""
    try:
        new = rotated(token)
    except InvalidToken:
        return "sealed"
    if new is None:
        return "current"
    if not dry_run:
        table = model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s AND "{column}" = %s',  # noqa: S608
                [new, pk, token],
            )
    return "rotated"
