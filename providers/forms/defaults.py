"""Default values of the provider form's advanced fields, and the words that state them.

One table fills a new form, ends every help text, and decides whether the Advanced fold opens.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django import forms

from providers.domain.tuning import RULES
from providers.infra import feature_flags
from providers.models import Provider, ProviderType, ReasoningTags
from providers.vendors.presets import Preset


def default_values(preset: Preset) -> dict[str, Any]:
    """By field, for a provider of this vendor. Needs the feature flags as they are stored."""
    is_smart = feature_flags.is_enabled("smart_routing")
    return {
        "provider_type": preset.provider_type if is_smart else ProviderType.LEGACY.value,
        "routing_method": preset.routing_method,
        "prefer_direct": preset.prefer_direct,
        "fallback_enabled": preset.fallback_enabled,
        "alternatives": [],
        "gateway_endpoint": "",
        "kind": preset.kind.value,
        "health_check_interval": preset.health_check_interval,
        "chat_probe": False,
        "chat_probe_cap": Provider._meta.get_field("chat_probe_cap").get_default(),
        "concurrency": None,
        "parameters": {},
        "reasoning_tags": ReasoningTags.DEFAULT.value,
        "enabled": True,
    }


def describe_defaults(
    fields: Mapping[str, forms.Field], preset: Preset, defaults: Mapping[str, Any]
) -> dict[str, str]:
    """What each default is called in the help text of its field."""
    words = {
        "alternatives": "none",
        "gateway_endpoint": "this instance's gateway",
        "chat_probe_cap": f"{defaults['chat_probe_cap']:.2f}",
        "concurrency": str(preset.concurrency or RULES.concurrency),
        "parameters": "none",
        "reasoning_tags": "the vendor's",
    }
    others = {name: value for name, value in defaults.items() if name not in words}
    return words | {name: describe_value(fields[name], each) for name, each in others.items()}


def describe_value(field: forms.Field, value: Any) -> str:
    """The value of a switch, a choice or a line of text as people read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    labels: dict[Any, Any] = {}
    if isinstance(field, forms.ChoiceField):
        labels = dict(cast("Iterable[tuple[Any, Any]]", field.choices))
    return "empty" if value is None else str(labels.get(value, value)) or "empty"


def is_changed(field: forms.BoundField, default: Any) -> bool:
    """Whether the field, stored or typed, holds anything but its default."""
    value, empty = field.value(), field.field.empty_values
    return not (value in empty and default in empty) and field.field.has_changed(default, value)
