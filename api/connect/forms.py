"""The forms of client keys: a new key, its settings, its rotation."""

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from api.models import ClientKey

if TYPE_CHECKING:
    _KeySettingsForm = forms.ModelForm[ClientKey]
else:
    _KeySettingsForm = forms.ModelForm

MAX_ENTRIES = 200  # of a list
MAX_PER_MINUTE = 1_000_000_000
MAX_ENTRY = 200  # characters of one


class NewKeyForm(forms.Form):
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


class KeyForm(NewKeyForm):
    """A new key that a person creates on the page. An operator may choose its owner."""

    owner = forms.CharField(
        max_length=150,
        required=False,
        help_text="A username. Leave empty for yourself. Only operators may change the limits of a "
        "key that you create for somebody else.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, creator: User, *args: Any) -> None:
        super().__init__(*args)
        self._creator = creator
        if not creator.is_staff:
            del self.fields["owner"]

    def clean_owner(self) -> User:
        username = self.cleaned_data["owner"]
        if not username:
            return self._creator
        owner = User.objects.filter(username=username, is_active=True).first()
        if owner is None:
            raise forms.ValidationError("There is no active account with this username.")
        return owner

    @property
    def owner_of_key(self) -> User:
        """Who will own the key: the creator, unless an operator chose somebody else."""
        owner: User = self.cleaned_data.get("owner", self._creator)
        return owner


class DeviceCodeForm(forms.Form):
    """The code that a program shows."""

    code = forms.CharField(
        max_length=20,
        help_text="Your program shows it, such as “WDJB-MJHT”.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
        error_messages={"required": "Enter the code."},
    )


class NamesField(forms.CharField):
    """A list of short texts, one a line or separated by commas."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):  # the stored value of a disabled field
            return value
        entries = (entry.strip() for entry in re.split(r"[\n,]", super().to_python(value) or ""))
        return list(dict.fromkeys(entry for entry in entries if entry))

    def validate(self, value: Any) -> None:
        if len(value) > MAX_ENTRIES:
            raise forms.ValidationError(f"Enter at most {MAX_ENTRIES}.")
        if any(len(entry) > MAX_ENTRY for entry in value):
            raise forms.ValidationError(f"Each may have at most {MAX_ENTRY} characters.")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


def _names_field(rows: int, label: str, help_text: str) -> NamesField:
    attrs = {"rows": rows, "spellcheck": "false", "autocomplete": "off"}
    return NamesField(
        label=label, required=False, help_text=help_text, widget=forms.Textarea(attrs=attrs)
    )


# What only operators may change where the key is locked.
LIMITS = (
    *("allowed_models", "requests_per_minute", "tokens_per_minute"),
    "calls_at_once",
    *("budget", "budget_period", "budget_action", "expires_at"),
)


class KeySettingsForm(_KeySettingsForm):
    """The settings of a key. Limits that an operator has locked are shown and cannot be changed."""

    allowed_models = _names_field(
        3,
        "Allowed models",
        "One name or pattern a line, such as “acme/*” or “fast”. “*” matches anything. Leave empty "
        "to allow all models.",
    )
    requests_per_minute = forms.IntegerField(
        min_value=1,
        max_value=MAX_PER_MINUTE,
        required=False,
        help_text="Leave empty for no limit.",
    )
    tokens_per_minute = forms.IntegerField(
        min_value=1,
        max_value=MAX_PER_MINUTE,
        required=False,
        help_text="Input and output. Leave empty for no limit.",
    )
    calls_at_once = forms.IntegerField(
        min_value=1,
        max_value=MAX_PER_MINUTE,
        required=False,
        help_text="Leave empty for no limit.",
    )
    tags = _names_field(1, "Tags", "Separated by commas.")
    expires_at = forms.DateTimeField(
        label="Expires (UTC)",
        required=False,
        help_text="Leave empty for never.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    class Meta:
        model = ClientKey
        fields = ("name", *LIMITS, "is_locked", "tags", "notes")
        widgets = {"notes": forms.Textarea(attrs={"rows": 3})}

    def __init__(self, editor: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not editor.is_staff:
            del self.fields["is_locked"]
            for name in LIMITS:
                self.fields[name].disabled = self.instance.is_locked

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in LIMITS]


class RotationForm(forms.Form):
    """The time for which the old secret stays valid after a rotation."""

    hours = forms.TypedChoiceField(
        label="The old key works for",
        coerce=int,
        initial=24,
        help_text="Enter the new key in your program within this time.",
        choices=[
            (0, "No longer"),
            (1, "One more hour"),
            (24, "One more day"),
            (168, "One more week"),
            (720, "30 more days"),
        ],
    )

    @property
    def overlap(self) -> timedelta:
        return timedelta(hours=self.cleaned_data["hours"])
