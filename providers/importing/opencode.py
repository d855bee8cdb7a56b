"""OpenCode's `opencode.json` and `auth.json` as entries. No I/O.

A provider that we cannot speak to is skipped with the reason; one that is malformed stops the
import, because half a configuration is worse than none.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from providers import presets
from providers.importing.entries import (
    MOST_MODELS,
    Entry,
    Filling,
    Malformed,
    ModelEntry,
    Parsed,
    Resolve,
    Skipped,
    address,
    expect,
    names,
    slugged,
    table,
    text,
)
from providers.presets import Preset

SOURCE = "opencode.json"
# OpenCode's packages by the format they speak; all but Anthropic's also speak OpenAI's chat.
FORMATS: Mapping[str, str] = {
    "@ai-sdk/anthropic": "anthropic",
    **dict.fromkeys(
        (
            *("@ai-sdk/openai-compatible", "@ai-sdk/openai", "@ai-sdk/groq", "@ai-sdk/mistral"),
            *("@ai-sdk/xai", "@ai-sdk/togetherai", "@ai-sdk/deepinfra", "@ai-sdk/cerebras"),
            *("@ai-sdk/fireworks", "@ai-sdk/deepseek", "@openrouter/ai-sdk-provider"),
        ),
        "openai",
    ),
}
_OTHER_LOGINS = {
    "oauth": "it signs in by OAuth, which belongs to OpenCode alone",
    "wellknown": "its token belongs to another server's own configuration",
}
_LARGEST = 2_147_483_647


def parse(document: Any, resolve: Resolve, auth: Any = None) -> Parsed:
    """Both files. Raises Malformed."""
    whole = expect(document, dict, "")
    told = table(whole, "provider", "")
    keys, skipped = _keys(auth)
    entries: list[Entry] = []
    for name in (*told, *(each for each in keys if each not in told)):
        said = expect(told.get(name, {}), dict, f"provider.{name}")
        found = _provider(name, said, keys.get(name), resolve, _in_use(whole, name))
        if isinstance(found, Entry):
            entries.append(found)
        else:
            skipped.append(found)
    return Parsed(SOURCE, tuple(entries), tuple(skipped))


def _keys(auth: Any) -> tuple[dict[str, str], list[Skipped]]:
    keys: dict[str, str] = {}
    skipped: list[Skipped] = []
    for name, said in expect(auth if auth is not None else {}, dict, "auth.json").items():
        login = expect(said, dict, f"auth.json: {name}")
        if login.get("type") == "api":
            keys[name] = text(login, "key", f"auth.json: {name}")
        else:
            why = _OTHER_LOGINS.get(str(login.get("type")), "its type of login is not known here")
            skipped.append(Skipped(f"auth.json: {name}", f"No key is taken: {why}."))
    return keys, skipped


def _in_use(whole: Mapping[str, Any], name: str) -> bool:
    enabled = names(whole, "enabled_providers", "")
    disabled = names(whole, "disabled_providers", "") or []
    return name not in disabled and (enabled is None or name in enabled)


def _provider(
    name: str, said: dict[str, Any], key: str | None, resolve: Resolve, in_use: bool
) -> Entry | Skipped:
    place, preset = f"provider.{name}", known(name)
    package, options = text(said, "npm", place), table(said, "options", place)
    url = text(options, "baseURL", f"{place}.options") or (preset.base_url if preset else "")
    kind = FORMATS.get(package) if package else (preset.kind.value if preset else "openai")
    if kind is None:
        return Skipped(name, f"{package} speaks a format that is not spoken here.")
    filling = Filling(resolve)
    filled = filling.text(url, "address") if url else ""
    if filling.missing:
        return Skipped(name, f"Its address is {url}: write it out in the file.")
    if not filled:
        return Skipped(name, "It has no address (options.baseURL), and is no vendor known here.")
    api_key = _key(name, said, options, key, filling)
    headers = filling.headers(table(options, "headers", f"{place}.options"), f"{place}.headers")
    return Entry(
        slug=slugged(name),
        name=(text(said, "name", place) or (preset.name if preset else name))[:100],
        kind=kind,
        base_url=address(filled, f"{place}.options.baseURL"),
        preset=preset.slug if preset else "custom",
        api_key=api_key,
        headers=headers,
        settings={} if in_use else {"enabled": False},  # what was paused here stays so
        models=_models(said, place),
        missing=tuple(filling.missing),
        notes=_notes(said, in_use, place),
    )


def _notes(said: Mapping[str, Any], in_use: bool, place: str) -> tuple[str, ...]:
    paused = "It is switched off in the file, so it is paused here."
    allowed = "Its whitelist holds for the models named here: others found later are in use."
    listed = names(said, "whitelist", place) is not None
    return (*(() if in_use else (paused,)), *((allowed,) if listed else ()))


def known(name: str) -> Preset | None:
    """The preset of what OpenCode, like the offline catalogue, calls a vendor."""
    for preset in presets.PRESETS:
        if preset.catalogue == name:
            return preset
    return presets.get(name) if presets.known(name) and not presets.get(name).is_custom else None


def _key(
    name: str, said: Mapping[str, Any], options: Mapping[str, Any], key: str | None, fill: Filling
) -> str | None:
    """From the configuration, else from auth.json, else from the first variable it names."""
    place = f"provider.{name}"
    if written := text(options, "apiKey", f"{place}.options"):
        return fill.key(written, "key", f"{place}.options.apiKey")
    if key:
        return fill.key(key, "key", f"auth.json: {name}")
    variables = names(said, "env", place) or []
    return fill.key(f"{{env:{variables[0]}}}", "key", place) if variables else None


def _models(said: Mapping[str, Any], place: str) -> tuple[ModelEntry, ...]:
    """Those it lists, and those that its lists of allowed and refused ones name."""
    listed = table(said, "models", place)
    if len(listed) > MOST_MODELS:
        raise Malformed(f"{place}.models: more than {MOST_MODELS} models.")
    allowed, refused = names(said, "whitelist", place), names(said, "blacklist", place) or []
    every = dict.fromkeys((*listed, *(allowed or ()), *refused))
    found: dict[str, ModelEntry] = {}
    for name in every:
        where = f"{place}.models.{name}"
        facts = expect(listed.get(name, {}), dict, where)
        model_id = text(facts, "id", where) or name
        if not model_id or len(model_id) > 200:
            raise Malformed(f"{where}: a model's id has 1 to 200 characters.")
        enabled = name not in refused and (allowed is None or name in allowed)
        told = _facts(facts, name, where) | {"enabled": enabled}
        found.setdefault(model_id, ModelEntry(model_id=model_id, facts=told))
    return tuple(found.values())


def _facts(said: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": (text(said, "name", place) or name)[:200]}
    limit, cost = table(said, "limit", place), table(said, "cost", place)
    for column, key in (("context", "context"), ("output_limit", "output")):
        if limit.get(key):
            facts[column] = whole(limit[key], f"{place}.limit.{key}")
    if cost.get("input") is not None and cost.get("output") is not None:
        facts["input_price"] = price(cost["input"], f"{place}.cost.input")
        facts["output_price"] = price(cost["output"], f"{place}.cost.output")
    for column, key in (("cache_read_price", "cache_read"), ("cache_write_price", "cache_write")):
        if cost.get(key) is not None:
            facts[column] = price(cost[key], f"{place}.cost.{key}")
    for column, key in (("tools", "tool_call"), ("reasoning", "reasoning")):
        if said.get(key) is not None:
            facts[column] = expect(said[key], bool, f"{place}.{key}")
    takes = names(table(said, "modalities", place), "input", f"{place}.modalities")
    return facts | ({} if takes is None else {"vision": "image" in takes})


def whole(value: Any, place: str) -> int:
    number = expect(value, int, place)
    if not 0 < number <= _LARGEST:
        raise Malformed(f"{place}: this number is out of bounds.")
    return number


def price(value: Any, place: str) -> Decimal:
    """Dollars per million tokens, as the column keeps them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed(f"{place}: a price is a number.")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Malformed(f"{place}: a price is a number.") from None
    if not number.is_finite() or not 0 <= number < 1_000_000:
        raise Malformed(f"{place}: this price is out of bounds.")
    return round(number, 6)
