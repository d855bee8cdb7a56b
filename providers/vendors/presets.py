"""Presets: known vendors as data, with the defaults of their form and their requirements.

The rows are in presets.toml; further vendors come from the offline catalogue. A preset decides
nothing at run time beyond its row; an unknown slug means `custom`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache
from typing import Any

from providers.domain import base_url as base_url_module
from providers.domain import vendor_data
from providers.domain.frozen import frozen
from providers.domain.types import Kind
from providers.vendors import offline_catalog


@frozen
class HeaderTemplate:
    """A header that a vendor supports, whose value only the operator knows."""

    name: str
    example: str
    hint: str


@frozen
class Preset:
    """One vendor. `first_token` and `silence` override the time-outs, in seconds, where it thinks
    long.

    `concurrency` is how many calls at once its keys allow, where that is known to be few.
    `litellm_prefix` is what LiteLLM calls the wire format (`openai/<model>` with our base URL);
    `catalogue` is the vendor's id in the offline catalogue, empty where it has none;
    `key_env` is the environment variable in which people keep its key;
    `takes_responses`: its models take OpenAI's Responses API beside chat completions;
    `codes` says what its own error codes mean, by kind (errors.py reads them too); `headers` go
    with every call; `splits_reasoning`: its models may write reasoning into the text of an answer,
    and programs get it apart; `probe_chat_allowed` is false where the vendor's terms forbid
    synthetic chats.
    """

    slug: str
    name: str
    hint: str
    base_url: str
    kind: Kind = Kind.OPENAI
    provider_type: str = "hybrid"
    routing_method: str = "auto"
    prefer_direct: bool = True
    fallback_enabled: bool = True
    needs_key: bool = True
    key_hint: str = ""
    key_url: str = ""
    key_env: str = ""
    docs_url: str = ""
    litellm_prefix: str = "openai"
    catalogue: str = ""
    first_token: float | None = None
    silence: float | None = None
    concurrency: int | None = None
    splits_reasoning: bool = True
    takes_responses: bool = False
    health_check_interval: int = 60
    probe_chat_allowed: bool = True
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    header_templates: tuple[HeaderTemplate, ...] = ()

    @property
    def is_custom(self) -> bool:
        """Whether it is a wire format without a vendor."""
        return not self.base_url


def _preset(row: Mapping[str, Any]) -> Preset:
    templates = tuple(HeaderTemplate(**each) for each in row.get("header_templates", ()))
    kind = Kind(row.get("kind", Kind.OPENAI))
    return Preset(**{**row, "kind": kind, "header_templates": templates})


PRESETS: tuple[Preset, ...] = tuple(_preset(row) for row in vendor_data.PRESETS)
_BY_SLUG = {preset.slug: preset for preset in PRESETS}
CUSTOM = _BY_SLUG["custom"]

# The two wire formats by their names in the catalogue.
_FORMATS = {"@ai-sdk/openai-compatible": Kind.OPENAI, "@ai-sdk/anthropic": Kind.ANTHROPIC}


@cache
def catalogue_presets() -> Mapping[str, Preset]:
    """The further vendors of the offline catalogue by slug, read on first use."""
    named = {preset.catalogue for preset in PRESETS} | vendor_data.LEFT_OUT
    others = (vendor for vendor in offline_catalog.vendors() if vendor.vendor_id not in named)
    return {preset.slug: preset for vendor in others for preset in _from_catalogue(vendor)}


def _from_catalogue(vendor: offline_catalog.Vendor) -> Iterator[Preset]:
    """Yields a preset if the vendor has one base URL and a supported wire format."""
    kind, tidied = _FORMATS.get(vendor.package), base_url_module.tidy(vendor.base_url)
    slug = re.sub(r"[^a-z0-9]+", "-", vendor.vendor_id.lower()).strip("-")
    if kind is None or tidied.problem or "{" in tidied.url or slug in _BY_SLUG:
        return
    keys = [name for name in vendor.variables if name.endswith(("KEY", "TOKEN", "PAT"))]
    yield Preset(
        slug=slug,
        name=vendor.name,
        hint=base_url_module.host(tidied.url),
        base_url=tidied.url,
        kind=kind,
        needs_key=not base_url_module.is_local(tidied.url),
        key_env=keys[0] if keys else "",
        docs_url=vendor.docs_url,
        litellm_prefix=kind.value,
        catalogue=vendor.vendor_id,
        splits_reasoning=vendor.vendor_id not in vendor_data.KEEPS_REASONING,
    )


def get(slug: str) -> Preset:
    """The preset of a slug; `custom` if it is unknown."""
    return _BY_SLUG.get(slug) or catalogue_presets().get(slug, CUSTOM)


def is_known(slug: str) -> bool:
    return slug in _BY_SLUG or slug in catalogue_presets()


def search(words: str) -> tuple[Preset, ...]:
    """The presets with all these words in their name, hint or URL; those of presets.toml first."""
    terms = words.lower().split()
    every = (
        *PRESETS,
        *sorted(catalogue_presets().values(), key=lambda preset: preset.name.lower()),
    )
    return tuple(row for row in every if all(word in _search_text(row) for word in terms))


def _search_text(preset: Preset) -> str:
    return f"{preset.slug} {preset.name} {preset.hint} {preset.base_url}".lower()
