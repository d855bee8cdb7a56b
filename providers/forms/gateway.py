"""The form of a LiteLLM gateway; its key is only sent to the server it was entered for."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings

from providers.domain import base_url
from providers.forms.secret import clean_key, key_field
from providers.models import Gateway

if TYPE_CHECKING:
    _GatewayForm = forms.ModelForm[Gateway]
else:
    _GatewayForm = forms.ModelForm


class GatewayForm(_GatewayForm):
    """The key is write-only."""

    # Not the model's own field: that refuses a name without a dot, as containers have.
    address = forms.CharField(
        max_length=500,
        help_text="The URL of a LiteLLM proxy, such as http://litellm.example:4000.",
        widget=forms.TextInput(attrs={"inputmode": "url", "spellcheck": "false"}),
    )
    new_key = key_field("Key", "A master or virtual key. Leave empty to keep the stored key.")

    class Meta:
        model = Gateway
        fields = ("name", "enabled")
        labels = {"enabled": "Enabled"}

    field_order = ("name", "address", "new_key", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("address", self.instance.url)

    def clean_address(self) -> str:
        tidied = base_url.tidy(self.cleaned_data["address"])
        if tidied.problem:
            raise forms.ValidationError(tidied.problem)
        if tidied.url == settings.LITELLM_ENDPOINT:
            raise forms.ValidationError("This gateway is already set as LITELLM_ENDPOINT.")
        if Gateway.objects.exclude(pk=self.instance.pk).filter(url=tidied.url).exists():
            raise forms.ValidationError("A gateway with this address exists already.")
        return tidied.url

    def clean_new_key(self) -> str:
        return clean_key(self.cleaned_data["new_key"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        server = base_url.origin(cleaned.get("address", self.instance.url))
        moved = server != base_url.origin(self.instance.url)
        if self.instance.api_key and moved and not cleaned.get("new_key"):
            self.add_error("new_key", "The address is now on another server. Enter its key.")
        return cleaned

    def save(self, commit: bool = True) -> Gateway:
        self.instance.url = self.cleaned_data["address"]
        self.instance.api_key = self.cleaned_data["new_key"] or self.instance.api_key
        saved = super().save(commit)
        if self.cleaned_data["new_key"]:
            saved.start_anew()
        return saved
