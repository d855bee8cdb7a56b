"""Two people edit one provider: the second is shown both versions and chooses, field by field.

The form carries what was stored when it was opened, signed; of a secret only a digest, which tells
that it was changed and nothing else. Django keeps no lock between two requests.
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
class Difference:
    """A field that somebody else changed meanwhile, in both versions; a secret's are not shown."""

    name: str
    label: str
    theirs: str
    yours: str
    keeps_yours: bool

    @property
    def choice(self) -> str:
        return f"{CHOICE}{self.name}"


def version(provider: Provider) -> str:
    """What is stored now, for a form that is opened."""
    return signing.dumps(_stored(provider), salt=_SALT, compress=True)


def differences(form: ProviderForm, opened: str, stored: Provider) -> list[Difference]:
    """What was changed since the form was opened and is not what was typed. Needs a valid form."""
    try:
        before: Mapping[str, Any] = signing.loads(opened, salt=_SALT)
    except signing.BadSignature:
        return []
    now = _stored(stored)
    changed = [name for name in _FIELDS if name in before and before[name] != now[name]]
    typed = {name: _typed(form, name, now) for name in changed}
    shown = ProviderForm(instance=stored)
    return [
        Difference(
            name=name,
            label=str(form.fields[name].label or name),
            theirs=_words(shown, name, now[name]),
            yours=_words(form, name, typed[name]),
            keeps_yours=typed[name] != before[name],
        )
        for name in changed
        if typed[name] != now[name]
    ]


def with_choices(posted: QueryDict, stored: Provider) -> QueryDict:
    """What was posted, with the stored version of each field for which that was chosen."""
    data, shown = posted.copy(), ProviderForm(instance=stored)
    for name in _FIELDS:
        if posted.get(f"{CHOICE}{name}") != "theirs":
            continue
        if name in _SECRETS:
            data.pop(name, None)
            data.pop(_SECRETS[name], None)
            continue
        kept = shown[name].value()
        many = isinstance(kept, list | tuple | QuerySet)
        values = [getattr(each, "pk", each) for each in kept] if many else [kept]
        data.setlist(name, [str(each) for each in values if each not in (None, False)])
    return data


def _stored(provider: Provider) -> dict[str, Any]:
    return {name: _value(name, getattr(provider, name)) for name in _FIELDS}


def _typed(form: ProviderForm, name: str, now: Mapping[str, Any]) -> Any:
    """A secret that was left blank is the stored one."""
    typed = form.cleaned_data.get(name)
    if name not in _SECRETS:
        return _value(name, typed)
    if form.cleaned_data.get(_SECRETS[name]):
        return ""
    return _value(name, typed) if typed else now[name]


def _value(name: str, found: Any) -> Any:
    """A field's value as it is compared, stored or typed."""
    if name in _SECRETS:
        return _digest(found) if found else ""
    if name == "alternatives":
        rows = found.all() if hasattr(found, "all") else found or ()
        return sorted(each.pk for each in rows)
    if isinstance(found, Decimal):
        return f"{found.normalize():f}"
    return "" if found is None else found


def _digest(secret: Any) -> str:
    return salted_hmac(_SALT, json.dumps(secret, sort_keys=True), algorithm="sha256").hexdigest()


def _words(form: ProviderForm, name: str, found: Any) -> str:
    """A value as people read it; a secret is only said to be there."""
    if name in _SECRETS:
        return "stored" if found else "none"
    if isinstance(found, list):
        names = (
            Provider.objects.filter(pk__in=found).order_by("name").values_list("name", flat=True)
        )
        return ", ".join(names) or "none"
    if isinstance(found, dict):
        return json.dumps(found) if found else "empty"
    return describe_value(form.fields[name], found)
