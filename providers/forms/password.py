"""Forms that ask for the user's own password, checked under the sign-in throttle."""

from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordChangeForm

from providers.infra import passwords


class PasswordForm(PasswordChangeForm):
    """Changes the user's own password; asks for the old one first."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        passwords.confirm(self.user, old)
        return old

    def clean(self) -> dict[str, Any]:
        """Hashes the new password; the caller saves `user`."""
        data = super().clean() or self.cleaned_data
        if not self.errors:
            with passwords.hashing():
                self.user.set_password(data["new_password1"])
        return data


def password_field(hint: str) -> forms.CharField:
    """A field for the user's own password; the form decides whether it is required."""
    attrs = {"autocomplete": "current-password"}
    widget = forms.PasswordInput(attrs=attrs)
    return forms.CharField(
        label="Your password", required=False, strip=False, help_text=hint, widget=widget
    )
