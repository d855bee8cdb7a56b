"""What operators type about a provider, cleaned into what is stored and what a test takes.

Secrets are write-only: a field for one is always empty on the page, blank keeps what is stored, and
removing it is said in so many words.
"""

import re
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from providers import addresses, presets, roster, snapshot
from providers.fields import Sealed, SealedHeaders
from providers.models import LanguageModel, ModelSource, Provider
from providers.targets import Connection
from providers.types import Kind

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Provider]
else:
    _ModelForm = forms.ModelForm

_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, token
# Set by the HTTP client itself, for each call.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
# The two addresses of one vendor are two presets: what the plan forbids goes with the address.
_ZAI = ("zai", "zai-coding")
_FORMATS = [(Kind.OPENAI.value, "OpenAI-compatible"), (Kind.ANTHROPIC.value, "Anthropic Messages")]
SEALED = (
    "A key is stored that ENCRYPTION_KEYS cannot open: bring the old encryption key back, or enter"
    " the key again."
)
_REMOVES = {
    "api_key": "remove_key",
    "extra_headers": "remove_headers",
    "gateway_api_key": "remove_gateway_key",
}
_PRINTABLE = re.compile(r"^[\x21-\x7e]*$")


class _Unseen(forms.Textarea):
    """A text area that takes a secret and never shows one."""

    def format_value(self, value: Any) -> str:
        return ""


def _secret(label: str, hint: str) -> forms.CharField:
    attrs = {"autocomplete": "off", "spellcheck": "false"}
    widget = forms.PasswordInput(attrs=attrs)
    return forms.CharField(
        label=label, help_text=hint, required=False, max_length=2000, widget=widget
    )


class ProviderForm(_ModelForm):
    """Connection and routing of one provider. `changes` says what was tidied, per field."""

    # Outside Meta: the model's URL validator refuses the bare host names of containers.
    base_url = forms.CharField(
        label="Base URL",
        max_length=500,
        help_text="The API's address, as it stands before /chat/completions.",
        widget=forms.TextInput(attrs={"inputmode": "url", "spellcheck": "false"}),
    )
    api_key = _secret("API key", "")
    remove_key = forms.BooleanField(label="Remove the stored key", required=False)
    extra_headers = forms.CharField(
        label="Extra headers",
        required=False,
        max_length=4000,
        help_text="One a line, as Name: value. Stored encrypted and not shown again.",
        widget=_Unseen(attrs={"rows": 2, "spellcheck": "false"}),
    )
    remove_headers = forms.BooleanField(label="Remove the stored headers", required=False)
    gateway_endpoint = forms.CharField(
        label="LiteLLM gateway",
        required=False,
        max_length=500,
        help_text="The address of a LiteLLM proxy. Empty: the instance's own gateway.",
        widget=forms.TextInput(attrs={"inputmode": "url", "spellcheck": "false"}),
    )
    gateway_api_key = _secret("Gateway key", "")
    remove_gateway_key = forms.BooleanField(label="Remove the stored gateway key", required=False)

    class Meta:
        model = Provider
        fields = (
            "name",
            "preset",
            "kind",
            "provider_type",
            "routing_method",
            "prefer_direct",
            "fallback_enabled",
            "health_check_interval",
            "enabled",
        )
        labels = {
            "kind": "Wire format",
            "provider_type": "Reachable by",
            "routing_method": "Routing method",
            "prefer_direct": "Prefer the direct road",
            "fallback_enabled": "Fall back to the other road",
            "health_check_interval": "Seconds between checks",
            "enabled": "In use",
        }
        help_texts = {"health_check_interval": ""}
        widgets = {
            "preset": forms.HiddenInput,
            "routing_method": forms.RadioSelect,
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes: dict[str, tuple[str, ...]] = {}
        cast(forms.ChoiceField, self.fields["kind"]).choices = _FORMATS
        stored = self.instance
        if stored.pk:
            self.initial.setdefault("base_url", stored.base_url)
            self.initial.setdefault("gateway_endpoint", stored.gateway_endpoint or "")
        self._say_what_is_stored()

    @classmethod
    def for_preset(cls, preset: presets.Preset) -> "ProviderForm":
        """An empty form filled with what is known of a vendor."""
        return cls(
            initial={
                "name": "" if preset.is_custom else preset.name,
                "preset": preset.slug,
                "kind": preset.kind.value,
                "base_url": preset.base_url,
                "provider_type": preset.provider_type,
                "routing_method": preset.routing_method,
                "prefer_direct": preset.prefer_direct,
                "fallback_enabled": preset.fallback_enabled,
                "health_check_interval": preset.health_check_interval,
                "enabled": True,
            }
        )

    @property
    def preset(self) -> presets.Preset:
        return presets.get(str(self["preset"].value() or ""))

    @property
    def header_names(self) -> list[str]:
        return sorted(self.instance.extra_headers or {})

    def _say_what_is_stored(self) -> None:
        """A stored secret shows as its last four characters; what is not stored has no switch."""
        stored, key = self.instance, self.fields["api_key"]
        if stored.pk and stored.api_key:
            since = f" since {stored.key_set_at:%d %b %Y}" if stored.key_set_at else ""
            key.help_text = f"{stored.masked_key} is stored{since}. Leave empty to keep it."
        else:
            key.help_text = SEALED if isinstance(stored.api_key, Sealed) else self.preset.key_hint
            key.required = self.preset.needs_key and not stored.pk
            key.error_messages["required"] = f"{self.preset.name} needs a key."
            del self.fields["remove_key"]
        if stored.gateway_api_key:
            self.fields["gateway_api_key"].help_text = "One is stored. Leave empty to keep it."
        else:
            del self.fields["remove_gateway_key"]
        if self.header_names:
            names = ", ".join(self.header_names)
            self.fields["extra_headers"].help_text += f" Stored: {names}. Leave empty to keep them."
        else:
            del self.fields["remove_headers"]

    def clean_preset(self) -> str:
        return presets.get(self.cleaned_data["preset"]).slug

    def clean_base_url(self) -> str:
        return self._tidied("base_url")

    def clean_gateway_endpoint(self) -> str:
        return self._tidied("gateway_endpoint") if self.cleaned_data["gateway_endpoint"] else ""

    def _tidied(self, name: str) -> str:
        tidied = addresses.tidy(self.cleaned_data[name])
        if tidied.problem:
            raise forms.ValidationError(tidied.problem)
        self.changes[name] = tidied.changes
        return tidied.url

    def clean_api_key(self) -> str:
        return self._key("api_key")

    def clean_gateway_api_key(self) -> str:
        return self._key("gateway_api_key")

    def _key(self, name: str) -> str:
        key = str(self.cleaned_data[name]).strip()
        if not _PRINTABLE.match(key):
            raise forms.ValidationError(
                "A key has no spaces, line breaks or accents in it. Paste it again."
            )
        return key

    def clean_extra_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["extra_headers"].splitlines(), start=1):
            if line.strip():
                name, value = _header(line, number)
                headers[name] = value
        return headers

    def clean_health_check_interval(self) -> int:
        return max(5, min(86_400, int(self.cleaned_data["health_check_interval"])))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("preset") in _ZAI and data.get("base_url"):
            data["preset"] = _ZAI[addresses.is_zai_coding(data["base_url"])]
        self._keep_secrets_at_home(data)
        return data

    def _keep_secrets_at_home(self, data: dict[str, Any]) -> None:
        """A stored secret never goes to another server than the one it was typed for."""
        if not self.instance.pk or self.errors:
            return
        moved: list[str] = []
        if addresses.origin(data["base_url"]) != addresses.origin(self.instance.base_url):
            moved += ["api_key", "extra_headers"]
        before, now = self.instance.gateway_endpoint or "", data["gateway_endpoint"]
        if addresses.origin(now) not in ("", addresses.origin(before)):
            moved.append("gateway_api_key")
        for name in moved:
            if self._kept(name, _REMOVES[name]) and not data.get(name):
                self.add_error(
                    name, "The address is another server now: enter this again, or remove it."
                )

    def blank_secrets_note(self) -> bool:
        """Whether a secret was typed that this page, shown again, cannot give back."""
        typed = ("api_key", "gateway_api_key", "extra_headers")
        return self.is_bound and any(self.data.get(name) for name in typed)

    def connection(self) -> Connection:
        """The form's values with what is stored where it was left blank, for a test."""
        data = self.cleaned_data
        return Connection(
            preset=data.get("preset") or presets.CUSTOM.slug,
            kind=Kind(data["kind"]),
            base_url=data["base_url"],
            api_key=self._kept("api_key", "remove_key"),
            headers=self._kept("extra_headers", "remove_headers"),
            gateway_endpoint=data["gateway_endpoint"],
            gateway_api_key=self._kept("gateway_api_key", "remove_gateway_key"),
        )

    def _kept(self, name: str, remove: str) -> Any:
        empty: Any = {} if name == "extra_headers" else ""
        if typed := self.cleaned_data.get(name):
            return typed
        if self.cleaned_data.get(remove):
            return empty
        stored = getattr(self.instance, name)
        return stored if stored or isinstance(stored, Sealed | SealedHeaders) else empty

    def store(self, user: User) -> Provider:
        """Saves; a changed key or address makes every route start anew."""
        provider, new = self.instance, self.instance.pk is None
        before = None if new else snapshot.connection(Provider.objects.get(pk=provider.pk))
        wanted = self.connection()
        if wanted.api_key != provider.api_key:
            provider.key_set_at = timezone.now() if wanted.api_key else None
        provider.base_url, provider.api_key = wanted.base_url, wanted.api_key
        # An EncryptedJSONField takes a dict; django-stubs sees the TextField below it.
        provider.extra_headers = wanted.headers  # type: ignore[assignment]
        provider.gateway_endpoint = wanted.gateway_endpoint or None
        provider.gateway_api_key = wanted.gateway_api_key
        if new:
            provider.created_by = user
            roster.save_new(provider)
        else:
            provider.save()
        provider.ensure_routes()
        self.is_new_road = before != wanted
        if self.is_new_road:
            provider.forget_learned()
        return provider


def _header(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not value:
        raise forms.ValidationError(f"Line {number} is not of the form Name: value.")
    if not _HEADER_NAME.match(name):
        raise forms.ValidationError(f"Line {number}: this is no header's name.")
    if name.lower() in _OWN_HEADERS:
        raise forms.ValidationError(f"Line {number}: {name} is set by the program itself.")
    if not value.isascii() or not value.isprintable():
        raise forms.ValidationError(f"Line {number}: a header's value is plain ASCII.")
    return name, value


class AddModelForm(forms.Form):
    """A language model added by hand."""

    model_id = forms.CharField(
        label="Model id",
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, provider: Provider, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.provider = provider

    def clean_model_id(self) -> str:
        model_id = str(self.cleaned_data["model_id"])
        if self.provider.language_models.filter(model_id=model_id).exists():
            raise forms.ValidationError("This model is in the list already.")
        return model_id

    def store(self) -> LanguageModel:
        model_id = self.cleaned_data["model_id"]
        model, _ = LanguageModel.objects.get_or_create(
            provider=self.provider,
            model_id=model_id,
            defaults={"name": model_id, "source": ModelSource.MANUAL},
        )
        return model
