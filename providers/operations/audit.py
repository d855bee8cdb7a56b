"""Records who changed what: one event for each change that a person makes, without secrets.

Secrets are recognized by their field's type, so that one added later is hidden as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Field, Model

from providers.infra.encrypted_fields import EncryptedTextField
from providers.models import AuditEvent

# Written by the program itself, or derived from another field.
_BOOKKEEPING = frozenset(
    {
        *("id", "health_status", "health_reason", "last_health_check", "consecutive_failures"),
        *("next_check_at", "switched_at", "flaps", "models_refreshed_at", "models_error"),
        "models_unread",
        *("created_at", "created_by", "key_set_at", "key_set_by", "first_seen", "last_seen"),
        *("missing_since", "hash", "previous_hash", "last_used_at"),
        "favoured_by",
    }
)
_LONGEST = 200  # characters of a value
COMMAND = "command line"  # the username of events without a signed-in user

type Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that can be compared, and is never shown."""

    value: Any = field(repr=False)


def values(row: Model) -> dict[str, Any]:
    """The fields that people set on a row, secrets wrapped; call it before and after a change."""
    own_values = {
        each.name: _value(each, row)
        for each in row._meta.concrete_fields
        if each.name not in _BOOKKEEPING
    }
    linked = row._meta.many_to_many if row.pk else ()
    return own_values | {
        each.name: ", ".join(sorted(str(other) for other in getattr(row, each.name).all()))
        for each in linked
        if each.name not in _BOOKKEEPING
    }


def _value(each: "Field[Any, Any]", row: Model) -> Any:
    value = getattr(row, each.attname)
    return Secret(value) if isinstance(each, EncryptedTextField) else value


def diff_values(before: Values, after: Values) -> dict[str, list[str]]:
    """The fields that differ, each with its former and new value in words. Fields that are empty
    in both are left out."""
    differences = {
        name: [_describe(before.get(name)), _describe(after.get(name))]
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
    return {name: words for name, words in differences.items() if any(words)}


def _describe(value: Any) -> str:
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
    """Appends an event; call it in the transaction of the change.

    `subject` is a row, or the name of something without a row, which needs a `kind`. No user means
    that a command did it.
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


def note_changes(
    user: "User | AnonymousUser | None", verb: str, row: Model, before: Values
) -> None:
    """Appends an event with the changes since `values(row)` was called, if there are any."""
    if changes := diff_values(before, values(row)):
        note(user, verb, row, changes)
