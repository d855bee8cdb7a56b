"""`manage.py rotate_keys`: re-encrypts stored secrets with the first of ENCRYPTION_KEYS.

Safe while serving: a value is written only if it is still the one that was read, and read again
otherwise. Safe to stop and restart.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import Model

from providers.infra import replicas
from providers.infra.encrypted_fields import EncryptedTextField, reencrypt
from providers.operations import audit

BATCH_SIZE = 500  # rows read at once
MAX_TRIES = 5  # for a value that changes each time between read and write


class Command(BaseCommand):
    help = "Re-encrypts every stored key and header with the first of ENCRYPTION_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count without writing anything")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        counts: Counter[str] = Counter()
        for model, column in columns():
            for pk, token in read_tokens(model, column):
                counts[rotate_value(model, column, pk, token, dry_run=dry_run)] += 1
        replicas.publish("providers")
        if counts["rotated"] and not dry_run:
            changes = {"secrets": ["", f"{counts['rotated']} re-encrypted"]}
            audit.note(None, "rotated", "encryption keys (command)", changes, kind="key")
        words = "would be re-encrypted" if dry_run else "re-encrypted"
        summary = f"{counts['rotated']} {words}, {counts['current']} up to date"
        if counts["removed"]:
            summary += f", {counts['removed']} were removed in the meantime"
        self.stdout.write(f"{summary}.")
        if counts["busy"]:
            raise CommandError(f"{counts['busy']} changed during every try. Run it again.")
        if counts["sealed"]:
            raise CommandError(
                f"{counts['sealed']} cannot be decrypted with ENCRYPTION_KEYS and were left"
                " unchanged. Restore the key that encrypted them, or enter these secrets again."
            )


def columns() -> list[tuple[type[Model], str]]:
    """Every column of every table that holds secrets."""
    return [
        (model, each.get_attname())
        for model in apps.get_models()
        for each in model._meta.concrete_fields
        if isinstance(each, EncryptedTextField)
    ]


def read_tokens(model: type[Model], column: str) -> Iterator[tuple[int, str]]:
    """The stored values, still encrypted, read in batches."""
    last = 0
    while rows := _read_batch(model, column, last):
        yield from rows
        last = rows[-1][0]


def _read_batch(model: type[Model], column: str, after: int) -> list[tuple[int, str]]:
    sql = f"""SELECT id, "{column}" FROM "{model._meta.db_table}"
        WHERE "{column}" <> '' AND id > %s ORDER BY id LIMIT %s"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [after, BATCH_SIZE])
        return list(cursor.fetchall())


def rotate_value(model: type[Model], column: str, pk: int, token: str, *, dry_run: bool) -> str:
    """Re-encrypts one value and returns the outcome; reads it again if it changed meanwhile."""
    for _ in range(MAX_TRIES):
        try:
            new = reencrypt(token)
        except InvalidToken:
            return "sealed"
        if new is None:
            return "current"
        if dry_run or _replace(model, column, pk, token, new):
            return "rotated"
        if not (token := _read_current(model, column, pk)):
            return "removed"
    return "busy"


def _replace(model: type[Model], column: str, pk: int, token: str, new: str) -> bool:
    """Writes only if the stored value is still the one that was read."""
    sql = f'UPDATE "{model._meta.db_table}" SET "{column}" = %s WHERE id = %s AND "{column}" = %s'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [new, pk, token])
        return bool(cursor.rowcount)


def _read_current(model: type[Model], column: str, pk: int) -> str:
    """The value stored now; empty if it was removed."""
    sql = f'SELECT "{column}" FROM "{model._meta.db_table}" WHERE id = %s'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [pk])
        row = cursor.fetchone()
    return row[0] if row else ""
