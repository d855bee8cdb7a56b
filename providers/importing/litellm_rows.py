"""Reads one row of LiteLLM's `model_list`: the model, its vendor and its account. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from providers.domain.frozen import frozen
from providers.importing.fields import Section
from providers.importing.litellm_vendors import (
    CHAT_PARAMETERS,
    COMPATIBLE,
    LITELLM_ONLY,
    PRESETS,
    VENDORS,
    is_forwarded,
)
from providers.importing.schema import Malformed, Unsupported
from providers.protocols import model_list
from providers.vendors import offline_catalog, presets

# Presets that name a program and not a vendor: they hold wherever it runs.
_PROGRAMS = frozenset({"ollama", "lm-studio", "vllm", "llama-cpp", "litellm"})
_ABILITIES = {
    "vision": "supports_vision",
    "tools": "supports_function_calling",
    "reasoning": "supports_reasoning",
    "json_output": "supports_response_schema",
}


@frozen
class LitellmAccount:
    """The vendor and the credentials of a row; rows with the same become one provider.

    `litellm_provider` is set if only LiteLLM can reach the vendor. Texts may be placeholders.
    """

    preset: str
    litellm_provider: str
    address: str
    key: str = field(repr=False)
    headers: str = field(repr=False)  # JSON, to be compared
    params: str = field(repr=False)  # JSON, to be compared


@frozen
class Deployment:
    """A row: the name that clients request, and the model behind it. `order`: lower comes first."""

    name: str
    model_id: str
    account: LitellmAccount
    place: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    order: float = 0

    @property
    def is_wildcard(self) -> bool:
        """Whether it means all models of its vendor."""
        return "*" in self.model_id


class Params:
    """The `litellm_params` of a row, completed by the credential that they refer to."""

    def __init__(self, own: Section, credentials: Mapping[str, Section]) -> None:
        self.own = own
        self._behind = credentials.get(own.text("litellm_credential_name"))

    def text(self, *names: str) -> str:
        """The first of these that has a value."""
        sections = [self.own, *([self._behind] if self._behind else [])]
        values = [section.words(name) for section in sections for name in names]
        return next((each.strip() for each in values if each.strip()), "")

    def forwarded_parameters(self) -> dict[str, Any]:
        """The parameters sent to LiteLLM with every call."""
        sections = [*([self._behind] if self._behind else []), self.own]
        return {
            name: section.take(name)
            for section in sections
            for name in section.fields
            if is_forwarded(name) and section.fields[name] is not None
        }

    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name in ("headers", "extra_headers"):
            table = self.own.take(name)
            if table is not None and not isinstance(table, dict):
                raise Malformed(f"{self.own.where(name)}: an object is expected here.")
            headers |= {str(key): str(each) for key, each in (table or {}).items()}
        return headers


def read_row(
    row: Section,
    credentials: Mapping[str, Section],
    priced: Mapping[str, offline_catalog.PricedModel],
) -> Deployment:
    """Raises Malformed, with the reason."""
    params = Params(row.table("litellm_params"), credentials)
    written = params.text("model")
    if not written:
        raise Malformed(f"{params.own.where('model')}: a model is expected here.")
    if written == "*":
        raise Unsupported("`*` means every vendor of LiteLLM. Add the ones that you use.")
    vendor, model_id = split_model(written, params.text("custom_llm_provider"), priced)
    name = row.words("model_name").strip() or written
    for text in (name, model_id):
        if not model_list.is_storable(text) or not text.isprintable():
            raise Malformed(f"{row.place}: a model's name has 1 to 200 printable characters.")
    return Deployment(
        name=name,
        model_id=model_id,
        account=_account(vendor, params),
        place=row.place,
        facts=_facts(row, params, name, vendor, model_id, priced),
        order=_order(params.own),
    )


def split_model(
    written: str, custom: str, priced_models: Mapping[str, offline_catalog.PricedModel]
) -> tuple[str, str]:
    """Splits `vendor/model`; the vendor is empty if it is not known.

    As LiteLLM's get_llm_provider: `custom_llm_provider` decides, then the beginning where it is a
    vendor's name, then its list of models.
    """
    head, slash, rest = written.partition("/")
    if custom:
        return custom, rest if slash and head == custom else written
    if slash and head in VENDORS:
        return head, rest
    if priced := priced_models.get(written):
        return _plain_vendor(priced.vendor), written
    if slash and presets.is_known(head):
        return head, rest
    return "" if slash else "openai", written


def _plain_vendor(vendor: str) -> str:
    """LiteLLM's price list has names such as `vertex_ai-language-models`."""
    plain = vendor if vendor in VENDORS else vendor.partition("-")[0]
    return "bedrock" if plain == "bedrock_converse" else plain


def _account(vendor: str, params: Params) -> LitellmAccount:
    url = params.text("api_base", "base_url")
    preset = _preset(vendor, url)
    through = "" if preset else vendor
    if through and through not in VENDORS:
        raise Unsupported(f"It has no api_base, and the vendor {through} is not known here.")
    if not preset and not through:
        raise Unsupported("It has no api_base, and no vendor.")
    headers = params.headers()
    if not through and (organization := params.text("organization")):
        headers = {"OpenAI-Organization": organization} | headers
    forwarded = params.forwarded_parameters() if through else {}
    return LitellmAccount(
        preset=preset or "custom",
        litellm_provider=through,
        address=url or (presets.get(preset).base_url if preset else ""),
        key=params.text("api_key"),
        headers=json.dumps(headers, sort_keys=True),
        params=json.dumps(forwarded, sort_keys=True),
    )


def _preset(vendor: str, url: str) -> str:
    """The preset for calling it directly; empty if only LiteLLM can."""
    if vendor in LITELLM_ONLY:
        return ""
    slug = PRESETS.get(vendor, vendor if presets.is_known(vendor) else "")
    if not url:
        return slug if slug and not presets.get(slug).is_custom else ""
    if slug and (slug in _PROGRAMS or _host(url) == _host(presets.get(slug).base_url)):
        return slug
    if vendor == "anthropic":
        return "custom-anthropic"
    return "custom" if vendor in COMPATIBLE or vendor not in VENDORS else ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # a placeholder in brackets
        return url


def complete_address(url: str, preset: str) -> str:
    """Adds the `/v1` that LiteLLM's users leave out, for programs that need it."""
    needs_version = preset in _PROGRAMS or preset in ("anthropic", "custom-anthropic")
    base = url.rstrip("/")
    if preset == "ollama":
        base = base.removesuffix("/api")
    path = base.partition("://")[2].partition("/")[2]
    is_bare = not path if preset in _PROGRAMS else not path.split("/")[-1].startswith("v1")
    return f"{base}/v1" if needs_version and is_bare else url


def _order(params: Section) -> float:
    text = params.optional(Section.words, "order")
    try:
        return float(text or 0)
    except ValueError:
        return 0


def _facts(
    row: Section,
    params: Params,
    name: str,
    vendor: str,
    model_id: str,
    priced: Mapping[str, offline_catalog.PricedModel],
) -> dict[str, Any]:
    info = row.table("model_info")
    facts: dict[str, Any] = {"name": name[:200]}
    facts["kind"] = _kind(info, priced, vendor, model_id, name)
    limits = {
        "context": ("max_input_tokens",),
        "output_limit": ("max_output_tokens", "max_tokens"),
    }
    for column, keys in limits.items():
        numbers = [info.optional(Section.number, key) for key in keys]
        if number := next((each for each in numbers if each), None):
            facts[column] = number
    for column, key in _ABILITIES.items():
        if (can := info.optional(Section.flag, key)) is not None:
            facts[column] = can
    facts |= _prices(params.own, info)
    if parameters := _parameters(params.own):
        facts["parameters"] = parameters
    return facts


def _kind(
    info: Section,
    priced: Mapping[str, offline_catalog.PricedModel],
    vendor: str,
    model_id: str,
    name: str,
) -> str:
    """From the row itself, LiteLLM's list, or the names."""
    base = str(info.take("base_model") or "")
    listed = (priced.get(each) for each in (base, f"{vendor}/{model_id}", model_id))
    mode = next((each.mode for each in listed if each), "")
    stated = model_list.kind_of(info.take("mode")) or model_list.kind_of(mode)
    guesses = (model_list.guess_kind(each) for each in (model_id, name))
    return stated or next((each for each in guesses if each != "chat"), "chat")


_PRICES = {
    "input_price": "input_cost_per_token",
    "output_price": "output_cost_per_token",
    "cache_read_price": "cache_read_input_token_cost",
    "cache_write_price": "cache_creation_input_token_cost",
}


def _prices(params: Section, info: Section) -> dict[str, Any]:
    """LiteLLM's prices are per token. Input and output prices are used as a pair."""
    columns: dict[str, Any] = {}
    for column, key in _PRICES.items():
        prices = [each.optional(Section.price_per_token, key) for each in (params, info)]
        if given := [price for price in prices if price is not None]:
            columns[column] = given[0]
    return columns if {"input_price", "output_price"} <= columns.keys() else {}


def _parameters(params: Section) -> dict[str, Any]:
    """The row's chat parameters; a number may be written as text."""
    parameters = {name: params.take(name) for name in CHAT_PARAMETERS if name in params}
    return {name: _as_number(each) for name, each in parameters.items()}


def _as_number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
