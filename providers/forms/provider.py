"""The provider form: a provider's connection, and under Advanced its routing, checks and limits."""

from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from providers.domain.sealed import is_sealed
from providers.forms import defaults
from providers.forms.connection import ConnectionForm
from providers.infra import replicas
from providers.models import Provider, ReasoningTags, read_flags
from providers.models.connection import Connection
from providers.models.provider import NO_OBJECT
from providers.operations import lifecycle
from providers.router import snapshot
from providers.vendors import presets

# Which connections each type allows; policy/plan.py acts on it.
_TYPES = [
    ("hybrid", "Direct and gateway"),
    ("direct-api", "Direct API, with the gateway as fallback"),
    ("gateway-required", "Gateway only"),
    ("legacy", "Legacy: direct only, without learning or fallback"),
]
_ADVANCED_SECRETS = ("extra_headers", "gateway_api_key")

MAX_UNFILTERED_CHOICES = 8  # checkboxes; more of them have a filter


class ParametersField(forms.JSONField):
    """A JSON object; an empty one is shown as an empty field, with its placeholder."""

    def prepare_value(self, value: Any) -> Any:
        return super().prepare_value(value) if value else ""


class ProviderForm(ConnectionForm):
    """All that operators set for one provider."""

    class Meta(ConnectionForm.Meta):
        fields = (
            *ConnectionForm.Meta.fields,
            "name",
            "provider_type",
            "routing_method",
            "prefer_direct",
            "fallback_enabled",
            "alternatives",
            "health_check_interval",
            "concurrency",
            "parameters",
            "reasoning_tags",
            "chat_probe",
            "chat_probe_cap",
            "enabled",
        )
        labels = ConnectionForm.Meta.labels | {
            "provider_type": "Connections",
            "routing_method": "Routing method",
            "prefer_direct": "Prefer direct connection",
            "fallback_enabled": "Fall back to the other connection",
            "alternatives": "Fallback providers",
            "health_check_interval": "Check interval (seconds)",
            "concurrency": "Concurrent requests",
            "parameters": "Default chat parameters",
            "reasoning_tags": "Reasoning in the answer text",
            "chat_probe": "Check with a short chat",
            "chat_probe_cap": "Daily budget for paid checks (USD)",
            "enabled": "Enabled",
        }
        field_classes: ClassVar = {"parameters": ParametersField}
        # The default is added to each: defaults.py.
        help_texts = ConnectionForm.Meta.help_texts | {
            "name": "Shown in chats and lists.",
            "provider_type": "Which connections can reach this provider.",
            "routing_method": "Automatic starts with the preferred connection and remembers what"
            " works. Direct and Gateway always start there; with fallback off they never switch.",
            "prefer_direct": "With Automatic, start with the direct connection.",
            "fallback_enabled": "If a request fails before its first token, send it over the other"
            " connection.",
            "alternatives": "Used for the same model when every connection to this provider fails.",
            "health_check_interval": "From 5 to 86400. A check requests the list of models, which"
            " is free. It is skipped while requests succeed.",
            "parameters": "Sent with every chat, such as temperature. Model settings override"
            " these. Programs that use /v1 send their own.",
            "reasoning_tags": "For models that write <think>...</think> before their answer."
            " Applies to programs that use /v1; chats always show reasoning separately.",
            "concurrency": "Extra requests are queued. Leave empty for the vendor's default.",
            "chat_probe": "A check also sends a chat of up to 16 tokens, which the provider"
            " charges for.",
            "chat_probe_cap": "Paid checks stop at this amount until midnight (UTC).",
            "enabled": "If off, its models are not offered and it is not checked.",
        }
        widgets = ConnectionForm.Meta.widgets | {
            "routing_method": forms.RadioSelect,
            "alternatives": forms.CheckboxSelectMultiple,
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
            "health_check_interval": forms.NumberInput(attrs={"min": 5, "max": 86_400}),
            "concurrency": forms.NumberInput(attrs={"min": 1, "max": 1000}),
            "parameters": forms.Textarea(
                attrs={"rows": 2, "spellcheck": "false", "placeholder": '{"temperature": 0.2}'}
            ),
            "chat_probe_cap": forms.NumberInput(attrs={"min": 0, "step": "0.01"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["provider_type"]).choices = _TYPES
        self.fields["chat_probe_cap"].required = False
        self.fields["parameters"].error_messages["invalid"] = NO_OBJECT
        if not self.instance.pk:
            self.fields["name"].help_text += " Its short form in URLs is set once, when you save."
        self._offer_alternatives()
        self._offer_reasoning_tags()
        self._state_defaults()

    def _offer_alternatives(self) -> None:
        others = Provider.objects.exclude(pk=self.instance.pk)
        field = cast("forms.ModelMultipleChoiceField[Provider]", self.fields["alternatives"])
        field.queryset = others.order_by("name")

    def _offer_reasoning_tags(self) -> None:
        default = "move it" if self.preset.splits_reasoning else "leave it"
        tags = cast(forms.ChoiceField, self.fields["reasoning_tags"])
        tags.required = False
        tags.choices = [
            (value, f"{label} ({default})" if value == ReasoningTags.DEFAULT else label)
            for value, label in ReasoningTags.choices
        ]

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return defaults.default_values(self.preset)

    def _state_defaults(self) -> None:
        words = defaults.describe_defaults(self.fields, self.preset, self._defaults)
        for name, default in words.items():
            self.fields[name].help_text += f" Default: {default}."
        if not self.preset.probe_chat_allowed:
            probe = self.fields["chat_probe"]
            probe.disabled = True
            probe.help_text = "The vendor's terms do not allow automated test chats."

    def alternatives_filter(self) -> str:
        """The label of the filter of fallback providers; empty where there are few."""
        return "Find a provider" if len(self["alternatives"]) > MAX_UNFILTERED_CHOICES else ""

    def is_advanced_open(self) -> bool:
        """Whether an advanced field has an error or holds anything but its default."""
        secrets = (*_ADVANCED_SECRETS, *(field.name for field in self.header_fields))
        if not {*self._defaults, *secrets}.isdisjoint(self.errors):
            return True
        stored = [getattr(self.instance, name) for name in _ADVANCED_SECRETS]
        return (
            any(value or is_sealed(value) for value in stored)
            or any(defaults.is_changed(self[name], "") for name in secrets)
            or any(defaults.is_changed(self[name], each) for name, each in self._defaults.items())
        )

    @classmethod
    def for_preset(cls, preset: presets.Preset) -> "ProviderForm":
        """An empty form filled with what is known of a vendor."""
        read_flags()
        named = {
            "name": "" if preset.is_custom else preset.name,
            "preset": preset.slug,
            "base_url": preset.base_url,
        }
        return cls(initial=named | defaults.default_values(preset))

    def clean_health_check_interval(self) -> int:
        return max(5, min(86_400, int(self.cleaned_data["health_check_interval"])))

    def clean_concurrency(self) -> int | None:
        typed: int | None = self.cleaned_data["concurrency"]
        if typed == 0:
            raise forms.ValidationError("Enter 1 or more, or leave it empty.")
        return typed

    def clean_reasoning_tags(self) -> str:
        return self.cleaned_data["reasoning_tags"] or self.instance.reasoning_tags

    def clean_chat_probe_cap(self) -> Decimal:
        typed: Decimal | None = self.cleaned_data["chat_probe_cap"]
        if typed is not None and typed < 0:
            raise forms.ValidationError("Enter 0 or more.")
        return self.instance.chat_probe_cap if typed is None else typed

    def store(self, user: User) -> Provider:
        """Saves; a changed connection resets what was learned of every route."""
        provider, new = self.instance, self.instance.pk is None
        before = None if new else snapshot.connection(Provider.objects.get(pk=provider.pk))
        after = self._fill_connection(user)
        if new:
            provider.created_by = user
            lifecycle.save_new(provider)
        else:
            provider.save()
        provider.alternatives.set(self.cleaned_data["alternatives"])
        replicas.publish("providers")
        provider.ensure_routes()
        self.has_new_connection = before != after
        if self.has_new_connection:
            provider.forget_learned()
        return provider

    def _fill_connection(self, user: User) -> Connection:
        """Copies the connection, and who changed the key, to the row."""
        provider, typed = self.instance, self.connection()
        if typed.api_key != provider.api_key:
            provider.key_set_at = timezone.now() if typed.api_key else None
            provider.key_set_by = user if typed.api_key else None
        provider.base_url, provider.api_key = typed.base_url, typed.api_key
        # An EncryptedJSONField takes a dict; django-stubs sees the TextField below it.
        provider.extra_headers = typed.headers  # type: ignore[assignment]
        provider.gateway_endpoint = typed.gateway_endpoint or None
        provider.gateway_api_key = typed.gateway_api_key
        return typed
