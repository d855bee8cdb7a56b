"""`manage.py rotate_keys`: all stored secrets under the first of ENCRYPTION_KEYS, while it serves.

Each value is written only where it is still what was read, so that a key that somebody saves in
the same moment is not lost; what is there instead is looked at again. Safe to
be stopped and started again.
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
from providers.infra.encrypted_fields import EncryptedTextField, rotated
from providers.operations import audit

SLICE = 500  # rows read at once
TRIES = 5  # for a value that is changed each time between its reading and its writing


class Command(BaseCommand):
    help = "Re-encrypts every stored key and header with the first of ENCRYPTION_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        counts: Counter[str] = Counter()
        for model, column in columns():
            for pk, token in stored(model, column):
                counts[turn(model, column, pk, token, dry_run=dry_run)] += 1
        replicas.publish("providers")
        if counts["rotated"] and not dry_run:
            said = {"secrets": ["", f"{counts['rotated']} re-encrypted"]}
            audit.note(None, "rotated", "encryption keys (command)", said, kind="key")
        words = "would be re-encrypted" if dry_run else "re-encrypted"
        told = f"{counts['rotated']} {words}, {counts['current']} were current"
        if counts["removed"]:
            told += f", {counts['removed']} were removed meanwhile"
        self.stdout.write(f"{told}.")
        if counts["busy"]:
            raise CommandError(f"{counts['busy']} changed again and again: run this once more.")
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


def stored(model: type[Model], column: str) -> Iterator[tuple[int, str]]:
    """What is stored there as it is, not opened; a slice at a time, however many there are."""
    last = 0
    while found := _slice(model, column, last):
        yield from found
        last = found[-1][0]


def _slice(model: type[Model], column: str, after: int) -> list[tuple[int, str]]:
    sql = f"""SELECT id, "{column}" FROM "{model._meta.db_table}"
        WHERE "{column}" <> '' AND id > %s ORDER BY id LIMIT %s"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [after, SLICE])
        return list(cursor.fetchall())


def turn(model: type[Model], column: str, pk: int, token: str, *, dry_run: bool) -> str:
    """One value; what became of it. Where it was changed meanwhile, what is there now is turned."""
    for _ in range(TRIES):
        try:
            new = rotated(token)
        except InvalidToken:
            return "sealed"
        if new is None:
            return "current"
        if dry_run or _replaced(model, column, pk, token, new):
            return "rotated"
        if not (token := _now(model, column, pk)):
            return "removed"
    return "busy"


def _replaced(model: type[Model], column: str, pk: int, token: str, new: str) -> bool:
    """Written only where it is still what was read."""
    sql = f'UPDATE "{model._meta.db_table}" SET "{column}" = %s WHERE id = %s AND "{column}" = %s'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [new, pk, token])
        return bool(cursor.rowcount)


def _now(model: type[Model], column: str, pk: int) -> str:
    """What is stored there now; empty where it was removed."""
    sql = f'SELECT "{column}" FROM "{model._meta.db_table}" WHERE id = %s'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [pk])
        row = cursor.fetchone()
    return row[0] if row else ""
