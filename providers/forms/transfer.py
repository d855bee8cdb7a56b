"""What operators give to an import and ask of an export; nothing of it is shown again."""

from typing import Any

from django import forms
from django.contrib.auth.models import User

from providers.forms.password import password_field
from providers.forms.secret import WriteOnlyTextarea
from providers.importing.schema import LARGEST
from providers.infra import passwords

_OFF = {"autocomplete": "new-password"}
_WAYS = [
    ("own", "This program's format, without secrets"),
    ("sealed", "This program's format with the secrets, encrypted with a passphrase"),
    ("opencode", "An opencode.json, without secrets"),
]


def _text(data: dict[str, Any], name: str) -> str:
    """A file's text, else what was pasted. Raises ValidationError."""
    upload = data.get(f"{name}_file")
    if upload is None:
        return str(data.get(name) or "")
    if upload.size > LARGEST:
        raise forms.ValidationError({f"{name}_file": f"At most {LARGEST // 2**20} MB are taken."})
    try:
        return str(upload.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise forms.ValidationError({f"{name}_file": "This is no text in UTF-8."}) from None


class ImportForm(forms.Form):
    source_file = forms.FileField(
        label="Configuration file",
        required=False,
        help_text="opencode.json, LiteLLM's config.yaml, or an export of this program.",
        widget=forms.FileInput(attrs={"accept": ".json,.jsonc,.yaml,.yml"}),
    )
    source = forms.CharField(
        label="Or paste it",
        required=False,
        help_text="It is not shown again: there may be keys in it.",
        widget=WriteOnlyTextarea(attrs={"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
    )
    auth_file = forms.FileField(
        label="OpenCode's auth.json",
        required=False,
        help_text="~/.local/share/opencode/auth.json has the keys that OpenCode was told.",
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
                raise forms.ValidationError({"source_file": "Choose a file, or paste it below."})
            data["source"] = '{"provider": {}}'
        return data


class ExportForm(forms.Form):
    """Keys leave only with the password of who exports them: an open browser is not enough."""

    way = forms.ChoiceField(label="As", choices=_WAYS, initial="own", widget=forms.RadioSelect)
    passphrase = forms.CharField(
        label="Passphrase",
        required=False,
        strip=False,
        max_length=200,
        help_text="Twelve characters at least. Without it nobody can open the file, nor can we.",
        widget=forms.PasswordInput(attrs=_OFF),
    )
    again = forms.CharField(
        label="The same again",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs=_OFF),
    )
    password = password_field("The one you sign in with. Needed only for an export with secrets.")

    def __init__(self, user: User, *args: Any) -> None:
        self.user = user
        super().__init__(*args)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("way") != "sealed":
            return data
        if len(data.get("passphrase") or "") < 12:
            self.add_error("passphrase", "Twelve characters at least.")
        elif data["passphrase"] != data.get("again"):
            self.add_error("again", "This is not the same.")
        if not self.errors:
            self._confirm(data.get("password") or "")
        return data

    def _confirm(self, password: str) -> None:
        try:
            passwords.confirm(self.user, password)
        except forms.ValidationError as error:
            self.add_error("password", error)
