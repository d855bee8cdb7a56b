"""Audit events of accounts: each sign-in, sign-out and wrong password, each change of a user.

What was typed as a name is noted only where such an account exists: it may be a password. Changes
are noticed as rows are saved, so that the pages, the admin and commands are all covered.
"""

from typing import Any

from allauth.core import context
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.signals import user_logged_out
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.http import HttpRequest

from providers.operations import audit

KIND = "user"
UNKNOWN_ACCOUNT = "an account that does not exist"
_NOT_CHANGES = frozenset({"last_login", "date_joined"})
# Django saves this field alone to store a right password's hash with more rounds.
_REHASH = frozenset({"password"})
_LINKS = {"post_add": "added", "post_remove": "removed", "post_clear": "removed all"}


def note_sign_in(user: User, address: str) -> None:
    audit.note(user, "signed in", user, {"address": ["", address]})


def note_failure(request: HttpRequest, account: str, address: str) -> None:
    """A wrong password, at the sign-in or on a page that requires it again."""
    _note_attempt(request, account, address, ("failed to sign in", "typed a wrong password"))


def note_refused(request: HttpRequest, account: str, address: str) -> None:
    """The first attempt in a while that was not checked: there were too many."""
    _note_attempt(request, account, address, ("refused to sign in", "refused a password"))


def _note_attempt(request: HttpRequest, account: str, address: str, verbs: tuple[str, str]) -> None:
    user = getattr(request, "user", AnonymousUser())
    exists = User.objects.filter(username=account).exists()
    subject = account if exists else UNKNOWN_ACCOUNT
    verb = verbs[1] if user.is_authenticated else verbs[0]
    audit.note(user, verb, subject, {"address": ["", address]}, kind=KIND)


def connect() -> None:
    """Listen to Django's signals; called once, as the apps are ready."""
    user_logged_out.connect(_note_signed_out, dispatch_uid="account-events")
    pre_save.connect(_remember_stored, sender=User, dispatch_uid="account-events")
    post_save.connect(_note_saved, sender=User, dispatch_uid="account-events")
    post_delete.connect(_note_deleted, sender=User, dispatch_uid="account-events")
    for links in (User.groups.through, User.user_permissions.through):
        m2m_changed.connect(_note_linked, sender=links, dispatch_uid="account-events")


def _note_signed_out(user: AbstractBaseUser | None, **signal: Any) -> None:
    if isinstance(user, User):
        audit.note(user, "signed out", user)


def _remember_stored(instance: User, raw: bool = False, **signal: Any) -> None:
    stored = None if raw or not instance.pk else User.objects.filter(pk=instance.pk).first()
    instance._before = _values(stored) if stored else {}  # type: ignore[attr-defined]


def _note_saved(instance: User, created: bool, raw: bool = False, **signal: Any) -> None:
    if raw or signal.get("update_fields") == _REHASH:
        return
    before = instance._before  # type: ignore[attr-defined]
    changes = audit.diff_values(before, _values(instance))
    if "password" in changes and not created:
        changes["password"] = ["stored", "replaced"]
    if changes:
        audit.note(_actor(instance), "created" if created else "changed", instance, changes)


def _values(user: User) -> dict[str, Any]:
    values = {k: v for k, v in audit.values(user).items() if k not in _NOT_CHANGES}
    # Links are noted as they change.
    linked = {each.name for each in user._meta.many_to_many}
    secret = {"password": audit.Secret(user.password)}
    return {k: v for k, v in values.items() if k not in linked} | secret


def _note_deleted(instance: User, **signal: Any) -> None:
    actor = _actor(instance)
    # A row that is gone cannot be referred to.
    audit.note(AnonymousUser() if actor == instance else actor, "deleted", instance)


def _note_linked(
    instance: Model, action: str, model: type[Model], pk_set: Any, **signal: Any
) -> None:
    """Groups and permissions, from either side."""
    if verb := _LINKS.get(action):
        rows = model._default_manager.filter(pk__in=pk_set or ())
        names = ", ".join(sorted(str(row) for row in rows))
        changes = {str(model._meta.verbose_name_plural): ["", f"{verb} {names}".strip()]}
        audit.note(_actor(None), "changed", instance, changes)


def _actor(instance: User | None) -> User | AnonymousUser | None:
    """Who does it: None for a command. Who uses the set-up link makes their own account."""
    request = context.request
    if request is None:
        return None
    user: User | AnonymousUser = getattr(request, "user", AnonymousUser())
    return user if user.is_authenticated or instance is None else instance
