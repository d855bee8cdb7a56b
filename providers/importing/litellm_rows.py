"""One row of LiteLLM's `model_list`: which model it is, whose, and how it is reached. No I/O."""

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
    is_kept,
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
class Account:
    """Whom a row calls and with what: rows that are equal in this are one provider.

    `litellm_provider` is set where LiteLLM alone speaks to the vendor. Texts may be placeholders.
    """

    preset: str
    litellm_provider: str
    address: str
    key: str = field(repr=False)
    headers: str = field(repr=False)  # JSON, to be compared
    params: str = field(repr=False)  # JSON, to be compared


@frozen
class Deployment:
    """A row: the name that clients ask for, and the model behind it. `order`: lower comes first."""

    name: str
    model_id: str
    account: Account
    place: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    order: float = 0

    @property
    def is_wildcard(self) -> bool:
        """Whether it means all models of its vendor."""
        return "*" in self.model_id


class Params:
    """The `litellm_params` of a row, with the credential that they name behind them."""

    def __init__(self, own: Section, credentials: Mapping[str, Section]) -> None:
        self.own = own
        self._behind = credentials.get(own.text("litellm_credential_name"))

    def text(self, *names: str) -> str:
        """The first of these that is there."""
        sections = [self.own, *([self._behind] if self._behind else [])]
        found = [section.words(name) for section in sections for name in names]
        return next((each.strip() for each in found if each.strip()), "")

    def kept(self) -> dict[str, Any]:
        """What goes to LiteLLM with every call."""
        sections = [*([self._behind] if self._behind else []), self.own]
        return {
            name: section.take(name)
            for section in sections
            for name in section.fields
            if is_kept(name) and section.fields[name] is not None
        }

    def headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in ("headers", "extra_headers"):
            table = self.own.take(name)
            if table is not None and not isinstance(table, dict):
                raise Malformed(f"{self.own.where(name)}: an object is expected here.")
            found |= {str(key): str(each) for key, each in (table or {}).items()}
        return found


def read_row(
    row: Section,
    credentials: Mapping[str, Section],
    known: Mapping[str, offline_catalog.PricedModel],
) -> Deployment:
    """Raises Malformed, with the reason."""
    params = Params(row.table("litellm_params"), credentials)
    written = params.text("model")
    if not written:
        raise Malformed(f"{params.own.where('model')}: a model is expected here.")
    if written == "*":
        raise Unsupported("It means every vendor that LiteLLM knows: add those that you use.")
    vendor, model_id = split_model(written, params.text("custom_llm_provider"), known)
    name = row.words("model_name").strip() or written
    for text in (name, model_id):
        if not model_list.is_storable(text) or not text.isprintable():
            raise Malformed(f"{row.place}: a model's name has 1 to 200 printable characters.")
    return Deployment(
        name=name,
        model_id=model_id,
        account=_account(vendor, params),
        place=row.place,
        facts=_facts(row, params, name, vendor, model_id, known),
        order=_order(params.own),
    )


def split_model(
    written: str, custom: str, known: Mapping[str, offline_catalog.PricedModel]
) -> tuple[str, str]:
    """Vendor and model id of `vendor/model`; the vendor is empty where nothing says it.

    As LiteLLM's get_llm_provider: `custom_llm_provider` decides, then the beginning where it is a
    vendor's name, then its list of models.
    """
    head, slash, rest = written.partition("/")
    if custom:
        return custom, rest if slash and head == custom else written
    if slash and head in VENDORS:
        return head, rest
    if priced := known.get(written):
        return _plain_vendor(priced.vendor), written
    if slash and presets.known(head):
        return head, rest
    return "" if slash else "openai", written


def _plain_vendor(vendor: str) -> str:
    """LiteLLM's list of prices says `vertex_ai-language-models` and the like."""
    plain = vendor if vendor in VENDORS else vendor.partition("-")[0]
    return "bedrock" if plain == "bedrock_converse" else plain


def _account(vendor: str, params: Params) -> Account:
    url = params.text("api_base", "base_url")
    preset = _preset(vendor, url)
    through = "" if preset else vendor
    if through and through not in VENDORS:
        raise Unsupported(f"There is no api_base, and {through} is no vendor known here.")
    if not preset and not through:
        raise Unsupported("There is no api_base, and its vendor is not named.")
    headers = params.headers()
    if not through and (organization := params.text("organization")):
        headers = {"OpenAI-Organization": organization} | headers
    kept = params.kept() if through else {}
    return Account(
        preset=preset or "custom",
        litellm_provider=through,
        address=url or (presets.get(preset).base_url if preset else ""),
        key=params.text("api_key"),
        headers=json.dumps(headers, sort_keys=True),
        params=json.dumps(kept, sort_keys=True),
    )


def _preset(vendor: str, url: str) -> str:
    """The preset by which we speak to it ourselves; empty where only LiteLLM does."""
    if vendor in LITELLM_ONLY:
        return ""
    slug = PRESETS.get(vendor, vendor if presets.known(vendor) else "")
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
    """The address with the `/v1` that LiteLLM's users leave out, where the program has one."""
    needs_version = preset in _PROGRAMS or preset in ("anthropic", "custom-anthropic")
    base = url.rstrip("/")
    if preset == "ollama":
        base = base.removesuffix("/api")
    path = base.partition("://")[2].partition("/")[2]
    is_bare = not path if preset in _PROGRAMS else not path.split("/")[-1].startswith("v1")
    return f"{base}/v1" if needs_version and is_bare else url


def _order(params: Section) -> float:
    found = params.optional(Section.words, "order")
    try:
        return float(found or 0)
    except ValueError:
        return 0


def _facts(
    row: Section,
    params: Params,
    name: str,
    vendor: str,
    model_id: str,
    known: Mapping[str, offline_catalog.PricedModel],
) -> dict[str, Any]:
    info = row.table("model_info")
    facts: dict[str, Any] = {"name": name[:200]}
    facts["kind"] = _kind(info, known, vendor, model_id, name)
    limits = {
        "context": ("max_input_tokens",),
        "output_limit": ("max_output_tokens", "max_tokens"),
    }
    for column, keys in limits.items():
        found = [info.optional(Section.number, key) for key in keys]
        if number := next((each for each in found if each), None):
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
    known: Mapping[str, offline_catalog.PricedModel],
    vendor: str,
    model_id: str,
    name: str,
) -> str:
    """By the row's own word, LiteLLM's list, or the names."""
    base = str(info.take("base_model") or "")
    listed = (known.get(each) for each in (base, f"{vendor}/{model_id}", model_id))
    mode = next((each.mode for each in listed if each), "")
    said = model_list.kind_of(info.take("mode")) or model_list.kind_of(mode)
    guesses = (model_list.guess_kind(each) for each in (model_id, name))
    return said or next((each for each in guesses if each != "chat"), "chat")


_PRICES = {
    "input_price": "input_cost_per_token",
    "output_price": "output_cost_per_token",
    "cache_read_price": "cache_read_input_token_cost",
    "cache_write_price": "cache_creation_input_token_cost",
}


def _prices(params: Section, info: Section) -> dict[str, Any]:
    """LiteLLM's are for one token; those in and out are a pair, or none is taken."""
    found: dict[str, Any] = {}
    for column, key in _PRICES.items():
        prices = [each.optional(Section.price_per_token, key) for each in (params, info)]
        if known := [price for price in prices if price is not None]:
            found[column] = known[0]
    return found if {"input_price", "output_price"} <= found.keys() else {}


def _parameters(params: Section) -> dict[str, Any]:
    """What the row says of its chats; a number may be written as text."""
    said = {name: params.take(name) for name in CHAT_PARAMETERS if name in params}
    return {name: _as_number(each) for name, each in said.items()}


def _as_number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
