"""OpenCode's configuration for this site, and one model in it. Unknown facts are left out. No I/O.

OpenCode reads a missing limit as 0 and a 0 as "unknown", but takes a missing ability as "no": so an
ability is written where it is known, and a limit as soon as one half of it is.
Source: https://opencode.ai/config.json, `provider.models`.
"""

import json
from collections.abc import Iterable
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import DiscoveredModel

KEY_VARIABLE = "OPENCODE_WEB_KEY"  # the environment variable that clients read the key from


@frozen
class ListedModel:
    """A model under the names that clients use: its full name, and its alias where it has one."""

    id: str
    facts: DiscoveredModel
    alias: str = ""


def write_config(base_url: str, models: Iterable[ListedModel]) -> str:
    """The configuration as JSON. It lists every model, because OpenCode does not fetch them."""
    listed = {name: described for model in models for name, described in _entries(model)}
    options = {"baseURL": base_url, "apiKey": f"{{env:{KEY_VARIABLE}}}"}
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "OpenCode Web",
        "options": options,
        "models": listed,
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {"opencode-web": provider},
    }
    return json.dumps(config, indent=2, ensure_ascii=False)


def _entries(model: ListedModel) -> Iterable[tuple[str, dict[str, Any]]]:
    described = describe_model(model.facts)
    yield model.id, described
    if model.alias:
        yield model.alias, described | {"name": f"{model.facts.name} ({model.alias})"}


def describe_model(facts: DiscoveredModel) -> dict[str, Any]:
    """The model's entry."""
    entry: dict[str, Any] = {"name": facts.name}
    entry |= _without_unknown(
        attachment=facts.vision,
        reasoning=facts.reasoning,
        temperature=None if facts.takes is None else "temperature" in facts.takes,
        tool_call=facts.tools,
    )
    if facts.vision is not None:
        inputs = ["text", "image"] if facts.vision else ["text"]
        entry["modalities"] = {"input": inputs, "output": ["text"]}
    if facts.context or facts.output_limit:
        entry["limit"] = {"context": facts.context or 0, "output": facts.output_limit or 0}
    if facts.input_price is not None and facts.output_price is not None:
        cached = {"cache_read": facts.cache_read_price, "cache_write": facts.cache_write_price}
        entry["cost"] = {
            "input": float(facts.input_price),
            "output": float(facts.output_price),
            **{name: float(price) for name, price in cached.items() if price is not None},
        }
    return entry


def _without_unknown(**abilities: bool | None) -> dict[str, bool]:
    return {name: value for name, value in abilities.items() if value is not None}
