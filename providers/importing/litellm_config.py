"""The `model_list` of LiteLLM's config.yaml as entries. No I/O.

LiteLLM lists models, we list accounts: models with the same address and key are one provider.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from providers import presets
from providers.importing.entries import (
    Entry,
    Filling,
    Malformed,
    ModelEntry,
    Parsed,
    Resolve,
    Skipped,
    address,
    expect,
    slugged,
    table,
    text,
)
from providers.importing.opencode import price, whole

SOURCE = "LiteLLM config.yaml"
_MILLION = 1_000_000
# LiteLLM's prefixes by the preset whose address they mean; `openai/` with an address is anything.
_VENDORS = {"zai": "zai", "xai": "xai", "together_ai": "together", "fireworks_ai": "fireworks"}


def parse(document: Any, resolve: Resolve) -> Parsed:
    """Raises Malformed."""
    rows = expect(expect(document, dict, "").get("model_list"), list, "model_list")
    groups: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = {}
    skipped: list[Skipped] = []
    for number, row in enumerate(rows):
        place = f"model_list[{number}]"
        said = expect(row, dict, place)
        params = table(said, "litellm_params", place)
        group = _group(params, f"{place}.litellm_params")
        if isinstance(group, str):
            skipped.append(Skipped(text(said, "model_name", place) or place, group))
        else:
            groups.setdefault(group, []).append((place, said))
    entries = tuple(_unique([_entry(*each, resolve) for each in groups.items()]))
    return Parsed(SOURCE, entries, tuple(skipped))


def _group(params: Mapping[str, Any], place: str) -> tuple[str, str, str] | str:
    """Preset, address and key of a model, or why it is not taken."""
    prefix, slash, _ = text(params, "model", place).partition("/")
    url = text(params, "api_base", place)
    slug = _VENDORS.get(prefix, prefix) if slash else "openai"
    preset = presets.get(slug) if presets.known(slug) else presets.CUSTOM
    if not url and preset.is_custom:
        return f"There is no api_base, and {prefix or 'its vendor'} is not spoken here."
    base_url = url or preset.base_url
    if urlsplit(base_url).netloc != urlsplit(preset.base_url).netloc:
        preset = presets.CUSTOM if preset.kind == "openai" else presets.get("custom-anthropic")
    return preset.slug, base_url, text(params, "api_key", place)


def _entry(
    group: tuple[str, str, str], rows: list[tuple[str, dict[str, Any]]], resolve: Resolve
) -> Entry:
    slug, url, key = group
    preset, filling, place = presets.get(slug), Filling(resolve), f"{rows[0][0]}.litellm_params"
    base_url = filling.text(_placeholder(url), "address")
    if base_url is None:
        raise Malformed(f"{place}.api_base: the address is in {url}, which cannot be read here.")
    tidied = address(base_url, f"{place}.api_base")
    name = preset.name if not preset.is_custom else urlsplit(tidied).netloc
    models = {each.model_id: each for each in (_model(*row) for row in rows)}
    return Entry(
        slug=slugged(slug if not preset.is_custom else name),
        name=name[:100],
        kind=preset.kind.value,
        base_url=tidied,
        preset=preset.slug,
        api_key=filling.key(_placeholder(key), "key", f"{place}.api_key") if key else None,
        headers=_headers(rows, filling),
        models=tuple(models.values()),
        missing=tuple(filling.missing),
    )


def _headers(rows: list[tuple[str, dict[str, Any]]], filling: Filling) -> dict[str, str] | None:
    """Those of the first model that has some: one account sends one set of them."""
    for place, said in rows:
        params = table(said, "litellm_params", place)
        if headers := table(params, "extra_headers", place):
            told = {name: _placeholder(str(value)) for name, value in headers.items()}
            return filling.headers(told, f"{place}.extra_headers")
    return None


def _placeholder(value: str) -> str:
    """LiteLLM's `os.environ/NAME` as OpenCode would write it."""
    name = value.removeprefix("os.environ/")
    return value if name == value else f"{{env:{name}}}"


def _model(place: str, said: Mapping[str, Any]) -> ModelEntry:
    params, info = table(said, "litellm_params", place), table(said, "model_info", place)
    named = text(params, "model", place)
    model_id = named.partition("/")[2] or named
    if not 0 < len(model_id) <= 200:
        raise Malformed(f"{place}.litellm_params.model: 1 to 200 characters are expected.")
    facts: dict[str, Any] = {"name": (text(said, "model_name", place) or model_id)[:200]}
    for column, key in (("context", "max_input_tokens"), ("output_limit", "max_output_tokens")):
        if info.get(key):
            facts[column] = whole(info[key], f"{place}.model_info.{key}")
    costs = [params.get(key, info.get(key)) for key in _COSTS]
    if None not in costs:
        prices = [_million(cost, place) for cost in costs]
        facts |= {"input_price": prices[0], "output_price": prices[1]}
        for column, key in _CACHE_COSTS:
            if (cost := params.get(key, info.get(key))) is not None:
                facts[column] = _million(cost, place)
    return ModelEntry(model_id=model_id, facts=facts)


_COSTS = ("input_cost_per_token", "output_cost_per_token")
_CACHE_COSTS = (
    ("cache_read_price", "cache_read_input_token_cost"),
    ("cache_write_price", "cache_creation_input_token_cost"),
)


def _million(cost: Any, place: str) -> Decimal:
    """LiteLLM's prices are for one token; YAML reads 6e-07 as text."""
    if isinstance(cost, bool) or not isinstance(cost, int | float | str):
        raise Malformed(f"{place}: a price is a number.")
    try:
        return price(float(cost) * _MILLION, place)
    except ValueError:
        raise Malformed(f"{place}: a price is a number.") from None


def _unique(entries: list[Entry]) -> list[Entry]:
    """Several accounts at one vendor are numbered, in the order of the file."""
    seen: dict[str, int] = {}
    named = []
    for entry in entries:
        number = seen[entry.slug] = seen.get(entry.slug, 0) + 1
        if number > 1:
            new = {"slug": f"{entry.slug}-{number}", "name": f"{entry.name} {number}"}
            entry = replace(entry, slug=new["slug"], name=new["name"])
        named.append(entry)
    return named
