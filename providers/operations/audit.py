"""Notes who changed what: one event for each change that a person makes, and no secret in it.

What is a secret is told by its field's type, not by its name: one that is added later is hidden as
well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Field, Model

from providers.infra.encrypted_fields import EncryptedTextField
from providers.models import AuditEvent

# What the program writes by itself, or follows from a field beside it.
_BOOKKEEPING = frozenset(
    {
        *("id", "health_status", "health_reason", "last_health_check", "consecutive_failures"),
        *("next_check_at", "switched_at", "flaps", "models_refreshed_at", "models_error"),
        "models_unread",
        *("created_at", "created_by", "key_set_at", "key_set_by", "first_seen", "last_seen"),
        *("missing_since", "hash", "last_used_at"),
    }
)
_LONGEST = 200  # characters of a value
COMMAND = "command line"  # who it was where nobody signed in: whoever may run commands

type Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to be compared, not to be shown."""

    value: Any = field(repr=False)


def values(row: Model) -> dict[str, Any]:
    """What people set on a row, its secrets wrapped; to be taken before and after a change."""
    found = {
        each.name: _value(each, row)
        for each in row._meta.concrete_fields
        if each.name not in _BOOKKEEPING
    }
    linked = row._meta.many_to_many if row.pk else ()
    return found | {
        each.name: ", ".join(sorted(str(other) for other in getattr(row, each.name).all()))
        for each in linked
    }


def _value(each: "Field[Any, Any]", row: Model) -> Any:
    value = getattr(row, each.attname)
    return Secret(value) if isinstance(each, EncryptedTextField) else value


def changed(before: Values, after: Values) -> dict[str, list[str]]:
    """The fields that differ, each with what it was and what it is, in words; those that were
    empty and still are, as where a row is new, are left out."""
    told = {
        name: [_words(before.get(name)), _words(after.get(name))]
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
    return {name: words for name, words in told.items() if any(words)}


def _words(value: Any) -> str:
    if isinstance(value, Secret):
        return "stored" if value.value else ""
    return "" if value is None or value in ({}, []) else str(value)[:_LONGEST]


def note(
    user: "User | AnonymousUser | None",
    verb: str,
    subject: Model | str,
    changes: Mapping[str, list[str]] | None = None,
    *,
    kind: str = "",
) -> AuditEvent:
    """Appends an event, in the transaction of the change itself where there is one.

    `subject` is a row, or the name of what has none; `kind` is then to be given. Without a user it
    was a command.
    """
    row = subject if isinstance(subject, Model) else None
    return AuditEvent.objects.create(
        user=user if isinstance(user, User) else None,
        username=user.get_username() if user else COMMAND,
        verb=verb,
        kind=kind or (str(row._meta.verbose_name) if row else ""),
        subject_id=str(row.pk or "") if row else "",
        subject=str(subject)[:200],
        changes=dict(changes or {}),
    )


def noted(user: "User | AnonymousUser | None", verb: str, row: Model, before: Values) -> None:
    """The same with what has changed since `values(row)` was taken; nothing where nothing has."""
    if changes := changed(before, values(row)):
        note(user, verb, row, changes)
