"""One model as OpenCode's configuration describes it. What nobody knows is left out. No I/O.

OpenCode reads a missing limit as 0 and a 0 as "unknown", but takes a missing ability as "no": so an
ability is written where it is known, and a limit as soon as one half of it is.
Source: https://opencode.ai/config.json, `provider.models`.
"""

from typing import Any

from providers.domain.types import DiscoveredModel


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
