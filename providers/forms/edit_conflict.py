"""Detects that two people edited one provider; the second chooses a version of each field.

The form carries the values stored when it was opened, signed; of a secret only a digest, which
shows that it changed and nothing else. Django holds no lock between two requests.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.crypto import salted_hmac

from providers.domain.frozen import frozen
from providers.forms.defaults import describe_value
from providers.forms.provider import ProviderForm
from providers.models import Provider

_SALT = "providers.edit"
_SECRETS = {
    "api_key": "remove_key",
    "extra_headers": "remove_headers",
    "gateway_api_key": "remove_gateway_key",
}
_FIELDS = (*ProviderForm.Meta.fields, "base_url", "gateway_endpoint", *_SECRETS)
CHOICE = "keep_"  # before a field's name: whose version of it is kept


@frozen
class FieldConflict:
    """A field that somebody else changed, in both versions; secrets are not shown."""

    name: str
    label: str
    theirs: str
    yours: str
    keeps_yours: bool

    @property
    def choice(self) -> str:
        return f"{CHOICE}{self.name}"


def version(provider: Provider) -> str:
    """The stored values, signed, for a form that is being opened."""
    return signing.dumps(_stored_values(provider), salt=_SALT, compress=True)


def find_conflicts(form: ProviderForm, opened: str, stored: Provider) -> list[FieldConflict]:
    """The fields changed since the form was opened, to something else than was typed.

    Needs a valid form.
    """
    try:
        before: Mapping[str, Any] = signing.loads(opened, salt=_SALT)
    except signing.BadSignature:
        return []
    now = _stored_values(stored)
    changed = [name for name in _FIELDS if name in before and before[name] != now[name]]
    typed = {name: _typed_value(form, name, now) for name in changed}
    shown = ProviderForm(instance=stored)
    return [
        FieldConflict(
            name=name,
            label=str(form.fields[name].label or name),
            theirs=_describe(shown, name, now[name]),
            yours=_describe(form, name, typed[name]),
            keeps_yours=typed[name] != before[name],
        )
        for name in changed
        if typed[name] != now[name]
    ]


def with_choices(posted: QueryDict, stored: Provider) -> QueryDict:
    """The posted data, with the stored value of each field for which that was chosen."""
    data, shown = posted.copy(), ProviderForm(instance=stored)
    for name in _FIELDS:
        if posted.get(f"{CHOICE}{name}") != "theirs":
            continue
        if name in _SECRETS:
            data.pop(name, None)
            data.pop(_SECRETS[name], None)
            continue
        stored_value = shown[name].value()
        many = isinstance(stored_value, list | tuple | QuerySet)
        values = [getattr(each, "pk", each) for each in stored_value] if many else [stored_value]
        data.setlist(name, [str(each) for each in values if each not in (None, False)])
    return data


def _stored_values(provider: Provider) -> dict[str, Any]:
    return {name: _comparable(name, getattr(provider, name)) for name in _FIELDS}


def _typed_value(form: ProviderForm, name: str, now: Mapping[str, Any]) -> Any:
    """A blank secret means the stored one."""
    typed = form.cleaned_data.get(name)
    if name not in _SECRETS:
        return _comparable(name, typed)
    if form.cleaned_data.get(_SECRETS[name]):
        return ""
    return _comparable(name, typed) if typed else now[name]


def _comparable(name: str, raw: Any) -> Any:
    """A field's value, stored or typed, in a form that can be compared."""
    if name in _SECRETS:
        return _digest(raw) if raw else ""
    if name == "alternatives":
        rows = raw.all() if hasattr(raw, "all") else raw or ()
        return sorted(each.pk for each in rows)
    if isinstance(raw, Decimal):
        return f"{raw.normalize():f}"
    return "" if raw is None else raw


def _digest(secret: Any) -> str:
    return salted_hmac(_SALT, json.dumps(secret, sort_keys=True), algorithm="sha256").hexdigest()


def _describe(form: ProviderForm, name: str, value: Any) -> str:
    """A value as people read it; of a secret only whether there is one."""
    if name in _SECRETS:
        return "stored" if value else "none"
    if isinstance(value, list):
        names = (
            Provider.objects.filter(pk__in=value).order_by("name").values_list("name", flat=True)
        )
        return ", ".join(names) or "none"
    if isinstance(value, dict):
        return json.dumps(value) if value else "empty"
    return describe_value(form.fields[name], value)
