"""Fields for keys and headers: empty on every page, checked before they are kept.

A header's value may be a key as well, so both are write-only.
"""

import re
from typing import Any

from django import forms

from providers.vendors.presets import HeaderTemplate

_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, token
# Set by the HTTP client itself, for each call.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
# Headers that carry a key: one of these replaces the key of its own field.
CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key"})
_PRINTABLE = re.compile(r"^[\x21-\x7e]*$")
SEALED = (
    "A key is stored that ENCRYPTION_KEYS cannot open: bring the old encryption key back, or enter"
    " the key again."
)


class Unseen(forms.Textarea):
    """A text area that takes a secret and never shows one."""

    def format_value(self, value: Any) -> str:
        return ""


def key_field(label: str, hint: str) -> forms.CharField:
    attrs = {"autocomplete": "off", "spellcheck": "false"}
    widget = forms.PasswordInput(attrs=attrs)
    return forms.CharField(
        label=label, help_text=hint, required=False, max_length=2000, widget=widget
    )


def template_field(template: HeaderTemplate) -> forms.CharField:
    """A field for one header that a vendor takes."""
    attrs = {"autocomplete": "off", "spellcheck": "false", "placeholder": template.example}
    return forms.CharField(
        label=template.name,
        help_text=template.hint,
        required=False,
        max_length=500,
        validators=[check_value],
        widget=forms.TextInput(attrs=attrs),
    )


def clean_key(typed: str) -> str:
    """A key as it is sent. Raises ValidationError for what is surely pasted wrong."""
    key = typed.strip()
    if not _PRINTABLE.match(key):
        raise forms.ValidationError(
            "A key has no spaces, line breaks or accents in it. Paste it again."
        )
    return key


def clean_headers(typed: str) -> dict[str, str]:
    """Headers from lines of `Name: value`. Raises ValidationError, which names the line."""
    lines = enumerate(typed.splitlines(), start=1)
    return dict(_header(line, number) for number, line in lines if line.strip())


def clean_value(typed: str) -> str:
    """A header's value as it is sent. Raises ValidationError."""
    value = typed.strip()
    check_value(value)
    return value


def check_value(value: str) -> None:
    if not value.isascii() or not value.isprintable():
        raise forms.ValidationError("A header's value is plain ASCII.")


def _header(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not value:
        raise forms.ValidationError(f"Line {number} is not of the form Name: value.")
    if not _HEADER_NAME.match(name):
        raise forms.ValidationError(f"Line {number}: this is no header's name.")
    if name.lower() in _OWN_HEADERS:
        raise forms.ValidationError(f"Line {number}: {name} is set by the program itself.")
    if not value.isascii() or not value.isprintable():
        raise forms.ValidationError(f"Line {number}: a header's value is plain ASCII.")
    return name, value
