"""Fields for keys and headers: write-only, and checked before they are stored.

A header's value may be a key as well, so it is treated like one.
"""

import re
from typing import Any

from django import forms

from providers.domain import http_headers
from providers.vendors.presets import HeaderTemplate

_PRINTABLE = re.compile(r"^[\x21-\x7e]*$")
SEALED = (
    "The stored key cannot be decrypted with ENCRYPTION_KEYS. Restore the old encryption key, or"
    " enter the key again."
)


class WriteOnlyTextarea(forms.Textarea):
    """A text area for a secret; never shows its value."""

    def format_value(self, value: Any) -> str:
        return ""


def key_field(label: str, hint: str) -> forms.CharField:
    attrs = {"autocomplete": "off", "spellcheck": "false"}
    widget = forms.PasswordInput(attrs=attrs)
    return forms.CharField(
        label=label, help_text=hint, required=False, max_length=2000, widget=widget
    )


def template_field(template: HeaderTemplate) -> forms.CharField:
    """A field for one header that a vendor supports."""
    attrs = {"autocomplete": "off", "spellcheck": "false", "placeholder": template.example}
    return forms.CharField(
        label=template.name,
        help_text=f"{template.hint} Default: not sent.",
        required=False,
        max_length=500,
        validators=[check_value],
        widget=forms.TextInput(attrs=attrs),
    )


def clean_key(typed: str) -> str:
    """The key as it is sent. Raises ValidationError if it was surely pasted wrong."""
    key = typed.strip()
    if not _PRINTABLE.match(key):
        raise forms.ValidationError("A key has no spaces, line breaks or accents. Paste it again.")
    return key


def clean_headers(typed: str) -> dict[str, str]:
    """Headers from lines of `Name: value`. Raises ValidationError that names the line."""
    lines = enumerate(typed.splitlines(), start=1)
    return dict(_header(line, number) for number, line in lines if line.strip())


def clean_value(typed: str) -> str:
    """A header's value as it is sent. Raises ValidationError."""
    value = typed.strip()
    check_value(value)
    return value


def check_value(value: str) -> None:
    if not http_headers.is_value(value):
        raise forms.ValidationError("A header value must be plain ASCII.")


def _header(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not value:
        raise forms.ValidationError(f"Line {number}: write it as Name: value.")
    if not http_headers.is_name(name):
        raise forms.ValidationError(f"Line {number}: this is not a valid header name.")
    if http_headers.is_own(name):
        raise forms.ValidationError(f"Line {number}: {name} is set by the HTTP client.")
    if not http_headers.is_value(value):
        raise forms.ValidationError(f"Line {number}: a header value must be plain ASCII.")
    return name, value
