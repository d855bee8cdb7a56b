"""What people say of a client key, cleaned into what the flow takes."""

from datetime import datetime, timedelta

from django import forms
from django.utils import timezone


class KeyForm(forms.Form):
    """A new key: what it is for, and how long it works."""

    name = forms.CharField(
        max_length=100,
        help_text="What it is for, such as the laptop or the tool that will hold it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the key a name."},
    )
    days = forms.TypedChoiceField(
        label="Works",
        coerce=int,
        initial=0,
        choices=[
            (0, "until it is revoked"),
            (30, "for 30 days"),
            (90, "for 90 days"),
            (365, "for a year"),
        ],
    )

    @property
    def expires_at(self) -> datetime | None:
        days: int = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=days) if days else None
