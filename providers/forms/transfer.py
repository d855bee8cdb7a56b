"""Forms for imports and exports; files, pasted text and passphrases are never shown again."""

from typing import Any

from django import forms
from django.contrib.auth.models import User

from providers.forms.password import password_field
from providers.forms.secret import WriteOnlyTextarea
from providers.importing.schema import MAX_FILE_BYTES
from providers.infra import passwords

_OFF = {"autocomplete": "new-password"}
_FORMATS = [
    ("own", "This program's format, without secrets"),
    ("sealed", "This program's format with the secrets, encrypted with a passphrase"),
    ("opencode", "An opencode.json, without secrets"),
]


def _text(data: dict[str, Any], name: str) -> str:
    """The text of the file, or the pasted text. Raises ValidationError."""
    upload = data.get(f"{name}_file")
    if upload is None:
        return str(data.get(name) or "")
    if upload.size > MAX_FILE_BYTES:
        raise forms.ValidationError(
            {f"{name}_file": f"The file is larger than {MAX_FILE_BYTES // 2**20} MB."}
        )
    try:
        return str(upload.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise forms.ValidationError({f"{name}_file": "The file is not UTF-8 text."}) from None


class ImportForm(forms.Form):
    source_file = forms.FileField(
        label="Configuration file",
        required=False,
        help_text="opencode.json, LiteLLM's config.yaml, or an export of this program.",
        widget=forms.FileInput(attrs={"accept": ".json,.jsonc,.yaml,.yml"}),
    )
    source = forms.CharField(
        label="Or paste its contents",
        required=False,
        help_text="May contain keys, so it is not shown again.",
        widget=WriteOnlyTextarea(attrs={"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
    )
    auth_file = forms.FileField(
        label="OpenCode's auth.json",
        required=False,
        help_text="The keys that OpenCode stores, in ~/.local/share/opencode/auth.json.",
        widget=forms.FileInput(attrs={"accept": ".json"}),
    )
    passphrase = forms.CharField(
        label="Passphrase",
        required=False,
        strip=False,
        help_text="For an encrypted export.",
        widget=forms.PasswordInput(attrs=_OFF),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        data["source"], data["auth"] = _text(data, "source"), _text(data, "auth")
        if not data["source"].strip():
            if not data["auth"].strip():
                raise forms.ValidationError(
                    {"source_file": "Choose a file, or paste its contents."}
                )
            data["source"] = '{"provider": {}}'
        return data


class ExportForm(forms.Form):
    """An export with keys needs the password again: an open browser is not enough."""

    way = forms.ChoiceField(
        label="Format", choices=_FORMATS, initial="own", widget=forms.RadioSelect
    )
    passphrase = forms.CharField(
        label="Passphrase",
        required=False,
        strip=False,
        max_length=200,
        help_text="At least 12 characters. Nobody can open the file without it, including us.",
        widget=forms.PasswordInput(attrs=_OFF),
    )
    again = forms.CharField(
        label="Repeat passphrase",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs=_OFF),
    )
    password = password_field("Your sign-in password. Needed only for an export with secrets.")

    def __init__(self, user: User, *args: Any) -> None:
        self.user = user
        super().__init__(*args)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("way") != "sealed":
            return data
        if len(data.get("passphrase") or "") < 12:
            self.add_error("passphrase", "Enter at least 12 characters.")
        elif data["passphrase"] != data.get("again"):
            self.add_error("again", "The passphrases differ.")
        if not self.errors:
            self._confirm(data.get("password") or "")
        return data

    def _confirm(self, password: str) -> None:
        try:
            passwords.confirm(self.user, password)
        except forms.ValidationError as error:
            self.add_error("password", error)
