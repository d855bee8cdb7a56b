"""Form fields of a provider's connection: base URL, keys, headers, wire format.

Secrets are write-only: their fields are always empty on the page, a blank field keeps the stored
value, and removing it takes a checkbox.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.conf import settings
from django.utils import timezone

from providers.diagnosis import wording
from providers.domain import base_url as base_url_module
from providers.domain import http_headers
from providers.domain.sealed import Sealed, SealedHeaders
from providers.domain.types import Kind
from providers.forms import secret
from providers.models import Provider
from providers.models.connection import Connection
from providers.vendors import presets

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Provider]
else:
    _ModelForm = forms.ModelForm

# One vendor, two addresses, two presets: the plan's terms hold for its own address alone.
_ZAI = ("zai", "zai-coding")
_FORMATS = [(Kind.OPENAI.value, "OpenAI-compatible"), (Kind.ANTHROPIC.value, "Anthropic Messages")]
_REMOVES = {
    "api_key": "remove_key",
    "extra_headers": "remove_headers",
    "gateway_api_key": "remove_gateway_key",
}
_ADDRESS = {"inputmode": "url", "spellcheck": "false", "autocomplete": "off"}


class ConnectionForm(_ModelForm):
    """Everything that a test needs. `changes` lists the corrections made to each field."""

    # Outside Meta: the model's URL validator refuses the bare host names of containers.
    base_url = forms.CharField(
        label="Base URL",
        max_length=500,
        help_text="The address of the API, without /chat/completions at the end.",
        widget=forms.TextInput(attrs=_ADDRESS),
    )
    api_key = secret.key_field("API key", "")
    environment_key = forms.BooleanField(required=False)
    remove_key = forms.BooleanField(label="Remove the stored key", required=False)
    extra_headers = forms.CharField(
        label="Extra headers",
        required=False,
        max_length=4000,
        help_text="One header per line, as Name: value. Stored encrypted and never shown again."
        " Default: none.",
        widget=secret.WriteOnlyTextarea(attrs={"rows": 2, "spellcheck": "false"}),
    )
    remove_headers = forms.BooleanField(label="Remove the stored headers", required=False)
    gateway_endpoint = forms.CharField(
        label="Gateway URL",
        required=False,
        max_length=500,
        help_text="The address of a LiteLLM proxy for this provider only.",
        widget=forms.TextInput(attrs=_ADDRESS),
    )
    gateway_api_key = secret.key_field("Gateway key", "The key of that proxy. Default: none.")
    remove_gateway_key = forms.BooleanField(label="Remove the stored gateway key", required=False)

    class Meta:
        model = Provider
        fields: tuple[str, ...] = ("preset", "kind")
        labels = {"kind": "Wire format"}
        help_texts = {"kind": "The protocol that the API speaks."}
        widgets: dict[str, Any] = {"preset": forms.HiddenInput}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes: dict[str, tuple[str, ...]] = {}
        cast(forms.ChoiceField, self.fields["kind"]).choices = _FORMATS
        stored = self.instance
        if stored.pk:
            self.initial.setdefault("base_url", stored.base_url)
            self.initial.setdefault("gateway_endpoint", stored.gateway_endpoint or "")
        self._describe_base_url()
        self._describe_key_field()
        self._offer_environment_key()
        self._describe_other_secrets()
        self._templates = dict(enumerate(self.preset.header_templates))
        for number, template in self._templates.items():
            self.fields[f"header_{number}"] = secret.template_field(template)

    def _describe_base_url(self) -> None:
        """Some vendors are reached by LiteLLM alone, which may know the address; of its imported
        parameters only the names are shown."""
        field = self.fields["base_url"]
        if vendor := self.instance.litellm_provider:
            field.required = False
            names = ", ".join(sorted(self.instance.litellm_params or {}))
            sent = f" Parameters sent with every request: {names}." if names else ""
            field.help_text = (
                f"LiteLLM connects to this vendor ({vendor}). Leave empty for its usual address."
                f"{sent}"
            )
        elif self.preset.is_custom:
            field.widget.attrs["placeholder"] = "https://api.example.com/v1"

    @property
    def preset(self) -> presets.Preset:
        return presets.get(str(self["preset"].value() or ""))

    @property
    def header_names(self) -> list[str]:
        return sorted(self.instance.extra_headers or {})

    @property
    def header_fields(self) -> list[forms.BoundField]:
        """A field for each header that the vendor supports."""
        return [self[f"header_{number}"] for number in self._templates]

    def _describe_key_field(self) -> None:
        """Shows the last four characters of a stored key, and offers to remove it."""
        stored, key = self.instance, self.fields["api_key"]
        if stored.pk and stored.api_key:
            key.help_text = f"{_describe_key(stored)} Leave empty to keep it."
            key.widget.attrs["placeholder"] = "Replace the stored key"
            return
        key.help_text = (
            secret.SEALED if isinstance(stored.api_key, Sealed) else self.preset.key_hint
        )
        from_environment = self.is_bound and bool(self.data.get("environment_key"))
        key.required = self.preset.needs_key and not stored.pk and not from_environment
        key.error_messages["required"] = f"{self.preset.name} needs a key."
        del self.fields["remove_key"]

    def _offer_environment_key(self) -> None:
        """Shows the name of the vendor's environment variable, never its value."""
        name = self.preset.key_env
        if name and settings.PROVIDER_KEY(name):
            offer = self.fields["environment_key"]
            offer.label = f"Use {name}"
            offer.help_text = (
                "This variable is set on the server. Its value is copied and encrypted."
            )
        else:
            del self.fields["environment_key"]

    def _describe_other_secrets(self) -> None:
        if self.instance.gateway_api_key:
            self.fields["gateway_api_key"].help_text = "A key is stored. Leave empty to keep it."
        else:
            del self.fields["remove_gateway_key"]
        if self.header_names:
            names = ", ".join(self.header_names)
            warning = _warn_of_credentials(self.header_names)
            self.fields[
                "extra_headers"
            ].help_text += f" Stored: {names}. Leave empty to keep them. {warning}".rstrip()
        else:
            del self.fields["remove_headers"]

    def clean_preset(self) -> str:
        return presets.get(self.cleaned_data["preset"]).slug

    def clean_base_url(self) -> str:
        # LiteLLM knows the address of its own vendors.
        if not self.cleaned_data["base_url"] and self.instance.litellm_provider:
            return ""
        return self._clean_url("base_url")

    def clean_gateway_endpoint(self) -> str:
        return self._clean_url("gateway_endpoint") if self.cleaned_data["gateway_endpoint"] else ""

    def _clean_url(self, name: str) -> str:
        tidied = base_url_module.tidy(self.cleaned_data[name])
        if tidied.problem:
            raise forms.ValidationError(tidied.problem)
        self.changes[name] = tidied.changes
        return tidied.url

    def clean_api_key(self) -> str:
        return secret.clean_key(self.cleaned_data["api_key"])

    def clean_gateway_api_key(self) -> str:
        return secret.clean_key(self.cleaned_data["gateway_api_key"])

    def clean_extra_headers(self) -> dict[str, str]:
        headers = secret.clean_headers(self.cleaned_data["extra_headers"])
        if warning := _warn_of_credentials(headers):
            self.changes["extra_headers"] = (warning,)
        return headers

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("environment_key") and data.get("base_url"):
            self._use_environment_key(data)
        if data.get("preset") in _ZAI and data.get("base_url"):
            data["preset"] = _ZAI[base_url_module.is_zai_coding(data["base_url"])]
        self._check_secrets_stay(data)
        return data

    def _use_environment_key(self, data: dict[str, Any]) -> None:
        """Only for the vendor that the variable belongs to."""
        home = self.preset.base_url
        if data.get("api_key"):
            self.add_error("environment_key", "Either enter a key or use this one, not both.")
        elif base_url_module.origin(data["base_url"]) != base_url_module.origin(home):
            host = base_url_module.host(home)
            self.add_error("environment_key", f"{self.preset.key_env} is only sent to {host}.")
        else:
            data["api_key"] = settings.PROVIDER_KEY(self.preset.key_env)

    def _check_secrets_stay(self, data: dict[str, Any]) -> None:
        """A stored secret is never sent to another server than the one it was entered for."""
        if not self.instance.pk or self.errors:
            return
        moved: list[str] = []
        if base_url_module.origin(data["base_url"]) != base_url_module.origin(
            self.instance.base_url
        ):
            moved += ["api_key", "extra_headers"]
        before, now = self.instance.gateway_endpoint or "", data["gateway_endpoint"]
        if base_url_module.origin(now) not in ("", base_url_module.origin(before)):
            moved.append("gateway_api_key")
        for name in moved:
            if self._effective_secret(name) and not data.get(name):
                self.add_error(
                    name, "The address is now on another server. Enter this again, or remove it."
                )

    def has_blanked_secrets(self) -> bool:
        """Whether a secret was typed, on this page or the one before it, that the page does not
        send back."""
        typed = ("api_key", "gateway_api_key", "extra_headers", "secrets_were_typed")
        return self.is_bound and any(self.data.get(name) for name in typed)

    def connection(self) -> Connection:
        """The form's values, with the stored secrets where a field was left blank."""
        data = self.cleaned_data
        return Connection(
            preset=data.get("preset") or presets.CUSTOM.slug,
            kind=Kind(data["kind"]),
            base_url=data["base_url"],
            api_key=self._effective_secret("api_key"),
            headers=self._headers(),
            litellm_provider=self.instance.litellm_provider,
            # An EncryptedJSONField reads as a dict; django-stubs sees the TextField below it.
            litellm_params=cast("dict[str, Any]", self.instance.litellm_params or {}),
            gateway_endpoint=data["gateway_endpoint"],
            gateway_api_key=self._effective_secret("gateway_api_key"),
        )

    def _headers(self) -> Any:
        """Stored or typed headers, with the vendor's own that were filled in."""
        headers = self._effective_secret("extra_headers")
        named = {
            template.name: value
            for number, template in self._templates.items()
            if (value := self.cleaned_data.get(f"header_{number}"))
        }
        return http_headers.merge(headers or {}, named) if named else headers

    def _effective_secret(self, name: str) -> Any:
        """The secret after a save: typed, removed, or the stored one."""
        empty: Any = {} if name == "extra_headers" else ""
        if typed := self.cleaned_data.get(name):
            return typed
        if self.cleaned_data.get(_REMOVES[name]):
            return empty
        stored = getattr(self.instance, name)
        return stored if stored or isinstance(stored, Sealed | SealedHeaders) else empty


def _warn_of_credentials(names: Iterable[str]) -> str:
    """A warning if one of these headers replaces the key."""
    credentials = [name for name in names if name.lower() in http_headers.CREDENTIALS]
    if not credentials:
        return ""
    return f"Your own {credentials[0]} header is sent in place of the API key."


def _describe_key(stored: Provider) -> str:
    """The key's last four characters, who added it and when, and when it was last used."""
    by = f" by {stored.key_set_by}" if stored.key_set_by else ""
    since = f", added{by} on {stored.key_set_at:%d %b %Y}" if stored.key_set_at else ""
    attempts = stored.attempts.exclude(method="").order_by("-started_at")
    used = attempts.values_list("started_at", flat=True).first()
    if stored.key_set_at and used and used < stored.key_set_at:
        used = None
    last = f"last used {wording.format_age(timezone.now(), used)}" if used else "not used yet"
    return f"{stored.masked_key} is stored{since}, {last}."
