"""The form for a new client key."""

from datetime import datetime, timedelta

from django import forms
from django.utils import timezone


class KeyForm(forms.Form):
    """A new key: its name, and when it expires."""

    name = forms.CharField(
        max_length=100,
        help_text="The program or device that will use it, such as “opencode on my laptop”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name."},
    )
    days = forms.TypedChoiceField(
        label="Expires",
        coerce=int,
        initial=0,
        choices=[
            (0, "Never"),
            (30, "In 30 days"),
            (90, "In 90 days"),
            (365, "In one year"),
        ],
    )

    @property
    def expires_at(self) -> datetime | None:
        days: int = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=days) if days else None
