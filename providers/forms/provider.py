"""A provider as operators type it: its connection, its routing, its limits and checks."""

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from providers.forms.connection import ConnectionForm
from providers.infra import feature_flags, replicas
from providers.models import Provider, ProviderType, ReasoningTags, read_flags
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

_FURTHER = frozenset(
    {"concurrency", "health_check_interval", "chat_probe", "chat_probe_cap", "parameters"}
)

SEEN_AT_ONE_LOOK = 8  # checkboxes; more of them have a filter


class ProviderForm(ConnectionForm):
    """All that operators set of one provider."""

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
            "enabled": "In use",
        }
        help_texts = ConnectionForm.Meta.help_texts | {
            "name": "Shown in the chat and in lists. Its name in URLs is made from it once.",
            "provider_type": "Which connections can reach this provider. Default: both.",
            "routing_method": "Automatic starts with the preferred connection and remembers what"
            " works. Direct and Gateway always start there; with fallback off they never switch.",
            "prefer_direct": "With Automatic, start with the direct connection. Default: on.",
            "fallback_enabled": "If a request fails before its first token, send it over the other"
            " connection. Default: on.",
            "alternatives": "Used for the same model when every connection to this provider"
            " fails. Default: none.",
            "health_check_interval": "A check requests the list of models, which is free. It is"
            " skipped while requests succeed.",
            "parameters": "Sent with every chat, such as temperature. Model settings override"
            " these. Programs that use /v1 send their own.",
            "reasoning_tags": "For models that write &lt;think&gt;...&lt;/think&gt; before their"
            " answer. Applies to programs; the chat always shows reasoning apart.",
            "concurrency": "Extra requests are queued. Leave empty for the vendor's default.",
            "chat_probe": "Sends up to 16 tokens, which the provider charges for. Default: off.",
            "chat_probe_cap": "No paid check is sent beyond it until tomorrow (UTC).",
            "enabled": "If off, its models are not offered and it is not checked.",
        }
        widgets = ConnectionForm.Meta.widgets | {
            "routing_method": forms.RadioSelect,
            "alternatives": forms.CheckboxSelectMultiple,
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
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
        if not self.initial.get("parameters"):
            self.initial.pop("parameters", None)
        self._offer_alternatives()
        if not self.preset.probe_chat_allowed:
            self.fields["chat_probe"].disabled = True
            self.fields[
                "chat_probe"
            ].help_text = "The vendor's terms do not allow automated test chats."
        default = "move it" if self.preset.splits_reasoning else "leave it"
        tags = cast(forms.ChoiceField, self.fields["reasoning_tags"])
        tags.required = False
        tags.choices = [
            (value, f"{label} ({default})" if value == ReasoningTags.DEFAULT else label)
            for value, label in ReasoningTags.choices
        ]
        if known := self.preset.concurrency:
            self.fields["concurrency"].widget.attrs["placeholder"] = str(known)

    def _offer_alternatives(self) -> None:
        others = Provider.objects.exclude(pk=self.instance.pk)
        field = cast("forms.ModelMultipleChoiceField[Provider]", self.fields["alternatives"])
        field.queryset = others.order_by("name")

    def find_alternative(self) -> str:
        """What the filter of those who may stand in says; none where they are seen at one look."""
        return "Find a provider" if len(self["alternatives"]) > SEEN_AT_ONE_LOOK else ""

    def has_further_errors(self) -> bool:
        """Whether something is wrong in the fold that is closed where all is well."""
        return not _FURTHER.isdisjoint(self.errors)

    @classmethod
    def for_preset(cls, preset: presets.Preset) -> "ProviderForm":
        """An empty form filled with what is known of a vendor."""
        read_flags()
        smart = feature_flags.on("smart_routing")
        return cls(
            initial={
                "name": "" if preset.is_custom else preset.name,
                "preset": preset.slug,
                "kind": preset.kind.value,
                "base_url": preset.base_url,
                "provider_type": preset.provider_type if smart else ProviderType.LEGACY,
                "routing_method": preset.routing_method,
                "prefer_direct": preset.prefer_direct,
                "fallback_enabled": preset.fallback_enabled,
                "health_check_interval": preset.health_check_interval,
                "enabled": True,
            }
        )

    def clean_health_check_interval(self) -> int:
        return max(5, min(86_400, int(self.cleaned_data["health_check_interval"])))

    def clean_concurrency(self) -> int | None:
        typed: int | None = self.cleaned_data["concurrency"]
        if typed == 0:
            raise forms.ValidationError("At least one, or no call would ever go out.")
        return typed

    def clean_reasoning_tags(self) -> str:
        return self.cleaned_data["reasoning_tags"] or self.instance.reasoning_tags

    def clean_chat_probe_cap(self) -> Decimal:
        typed: Decimal | None = self.cleaned_data["chat_probe_cap"]
        if typed is not None and typed < 0:
            raise forms.ValidationError("Not below zero.")
        return self.instance.chat_probe_cap if typed is None else typed

    def store(self, user: User) -> Provider:
        """Saves; a changed key or address makes every route start anew."""
        provider, new = self.instance, self.instance.pk is None
        before = None if new else snapshot.connection(Provider.objects.get(pk=provider.pk))
        wanted = self._fill(user)
        if new:
            provider.created_by = user
            lifecycle.save_new(provider)
        else:
            provider.save()
        provider.alternatives.set(self.cleaned_data["alternatives"])
        replicas.publish("providers")
        provider.ensure_routes()
        self.is_new_road = before != wanted
        if self.is_new_road:
            provider.forget_learned()
        return provider

    def _fill(self, user: User) -> Connection:
        """Puts the connection into the row, and who changed the key."""
        provider, wanted = self.instance, self.connection()
        if wanted.api_key != provider.api_key:
            provider.key_set_at = timezone.now() if wanted.api_key else None
            provider.key_set_by = user if wanted.api_key else None
        provider.base_url, provider.api_key = wanted.base_url, wanted.api_key
        # An EncryptedJSONField takes a dict; django-stubs sees the TextField below it.
        provider.extra_headers = wanted.headers  # type: ignore[assignment]
        provider.gateway_endpoint = wanted.gateway_endpoint or None
        provider.gateway_api_key = wanted.gateway_api_key
        return wanted
