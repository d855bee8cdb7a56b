"""The filter form of the activity log.

An invalid value gets an error at its field and is not applied; the other filters still are.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from providers.diagnosis.trace import OUTCOMES, SETTLED
from providers.models import Provider, Purpose
from providers.operations.activity import ANY_PURPOSE, FAILED, NO_ROUTE, OWN, Filters

SPANS = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
NO_REQUEST_ID = (
    "This is not a request id. Every response of /v1 has one in its x-request-id header, such as"
    " 3f2b8c1e-9d47-4c60-8a15-7e0d6b5f4a32."
)
LARGEST_KEY = 2**63 - 1


def _choice(label: str, choices: list[tuple[str, str]], first: str = "Any") -> forms.ChoiceField:
    return forms.ChoiceField(label=label, required=False, choices=[("", first), *choices])


def _purposes(viewer: User) -> forms.ChoiceField:
    """Operators may filter by every purpose, others by their own."""
    purposes = list(Purpose) if viewer.is_staff else OWN
    choices = [(purpose.value, str(purpose.label)) for purpose in purposes]
    if not viewer.is_staff:
        return _choice("For", choices)
    return _choice("For", [*choices, (ANY_PURPOSE, "All, including probes")], "All except probes")


def _moment(label: str) -> forms.DateTimeField:
    widget = forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(label=label, required=False, widget=widget)


def _outcomes() -> Iterator[tuple[str, str]]:
    yield "ok", OUTCOMES["ok"].word
    yield FAILED, "Any failure"
    yield "stopped", OUTCOMES["stopped"].word
    for name, outcome in OUTCOMES.items():
        if name not in SETTLED:
            yield str(name), outcome.word


class FilterForm(forms.Form):
    """The filters for one viewer; only operators filter by person."""

    model = forms.CharField(label="Model", required=False, max_length=200)
    provider = _choice("Provider", [])
    outcome = _choice("Outcome", list(_outcomes()))
    span = _choice("When", [(name, words) for name, (words, _) in SPANS.items()])
    fell_back = forms.BooleanField(label="Fell back only", required=False)
    purpose = _choice("For", [])
    method = _choice(
        "Route",
        [("direct", "Direct"), ("gateway", "Gateway"), (NO_ROUTE, "No route available")],
    )
    since = _moment("From (UTC)")
    until = _moment("To (UTC)")
    request = forms.UUIDField(
        label="Request id", required=False, error_messages={"invalid": NO_REQUEST_ID}
    )
    person = forms.CharField(label="Person", required=False, max_length=150)
    key = forms.IntegerField(
        label="Client key number", required=False, min_value=1, max_value=LARGEST_KEY
    )

    FRONT: ClassVar = ("model", "provider", "outcome", "span", "fell_back")

    def __init__(self, data: Any, viewer: User) -> None:
        super().__init__(data)
        rows = list(Provider.objects.order_by("name").values_list("pk", "slug", "name"))
        self._providers = {slug: pk for pk, slug, _ in rows}
        providers = [(slug, name) for _, slug, name in rows]
        self.fields["provider"] = _choice("Provider", providers)
        self.fields["purpose"] = _purposes(viewer)
        if not viewer.is_staff:
            del self.fields["person"]

    def clean_person(self) -> int | None:
        name = self.cleaned_data["person"].strip()
        if not name:
            return None
        user_id = User.objects.filter(username__iexact=name).values_list("pk", flat=True).first()
        if user_id is None:
            raise forms.ValidationError(f"There is no user {name}.")
        return user_id

    def clean(self) -> dict[str, Any]:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and until < since:
            self.add_error("until", "This is before the start.")
        return self.cleaned_data

    def filters(self) -> Filters:
        """The filters to apply: every valid field."""
        self.is_valid()
        given = self.cleaned_data
        return Filters(
            provider_id=self._providers.get(given.get("provider", "")),
            model=given.get("model", ""),
            outcome=given.get("outcome", ""),
            purpose=given.get("purpose", ""),
            method=given.get("method", ""),
            fell_back=given.get("fell_back", False),
            since=self._since(),
            until=given.get("until"),
            request_id=given.get("request"),
            user_id=given.get("person"),
            client_key=given.get("key"),
        )

    def _since(self) -> datetime | None:
        """The later of the typed moment and the start of the chosen span."""
        span = SPANS.get(self.cleaned_data.get("span", ""))
        start = timezone.now() - span[1] if span else None
        typed: datetime | None = self.cleaned_data.get("since")
        return max(typed, start) if typed and start else typed or start

    def entered_values(self) -> dict[str, str]:
        """What was typed or chosen, valid or not, for the page's URL."""
        return {name: value for name in self.fields if (value := self.data.get(name, ""))}

    @property
    def front(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FRONT]

    @property
    def more(self) -> list[forms.BoundField]:
        """The filters that are folded until one is used."""
        return [self[name] for name in self.fields if name not in self.FRONT]

    @property
    def uses_more(self) -> bool:
        return any(name not in self.FRONT for name in self.entered_values())

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Label and message of each invalid value."""
        return [
            (str(self[name].label), str(words))
            for name, list_ in self.errors.items()
            for words in list_
        ]
