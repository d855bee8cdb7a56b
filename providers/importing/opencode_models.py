"""Reads the models of one provider in an opencode.json. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from providers.domain.frozen import frozen
from providers.importing.fields import Section
from providers.importing.schema import Malformed, expect
from providers.protocols import model_list

# OpenCode's names of body parameters; those that are not here are converted to snake_case.
_PARAMETERS = {
    "reasoningEffort": "reasoning_effort",
    "maxTokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "textVerbosity": "verbosity",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
_USED_INPUTS = frozenset({"text", "image"})


@frozen
class Listed:
    """A model by OpenCode's name. `package` and `address` are set if they differ per model."""

    name: str
    model_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""
    address: str = ""


def read_models(provider: Section) -> list[Listed]:
    """The models it lists, and those of its whitelist and blacklist. Raises Malformed."""
    listed = _objects(provider)
    allowed, refused = provider.names("whitelist"), provider.names("blacklist") or []
    nothing = Section.of_document({})
    models = []
    for name in dict.fromkeys((*listed, *(allowed or ()), *refused)):
        model = listed.get(name, nothing)
        model_id = model.text("id") or name
        if not model_list.is_storable(model_id):
            raise Malformed(f"{model.place}: a model id has 1 to 200 characters.")
        enabled = name not in refused and (allowed is None or name in allowed)
        facts = _facts(model, name)
        chats = facts.get("kind", "chat") == "chat"
        own = model.table_if_any("provider")
        models.append(
            Listed(
                name=name,
                model_id=model_id,
                facts=facts | {"enabled": enabled and chats},
                package=own.text("npm"),
                address=own.text("api"),
            )
        )
    return models


def _objects(provider: Section) -> dict[str, Section]:
    """The models that are objects; anything else stays unread and is reported."""
    outer = provider.named_members("models")
    names = (
        name for name, value in outer.fields.items() if value is None or isinstance(value, dict)
    )
    return {name: outer.table(name) for name in names}


def _facts(model: Section, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": (model.text("name") or name)[:200]}
    limit, cost = model.table_if_any("limit"), model.table_if_any("cost")
    for column, key in (("context", "context"), ("output_limit", "output")):
        # OpenCode writes 0 for what it does not know.
        if limit.fields.get(key) == 0:
            limit.take(key)
        elif (number := limit.optional(Section.number, key)) is not None:
            facts[column] = number
    facts |= _prices(cost)
    for column, key in (("tools", "tool_call"), ("reasoning", "reasoning")):
        if (can := model.optional(Section.flag, key)) is not None:
            facts[column] = can
    facts |= _modalities(model)
    if parameters := _parameters(model):
        facts["parameters"] = parameters
    return facts


def _prices(cost: Section) -> dict[str, Any]:
    """Input and output prices are used as a pair; one alone is reported."""
    pair = {key: cost.optional(Section.price, key) for key in ("input", "output")}
    given = {f"{key}_price": price for key, price in pair.items() if price is not None}
    if len(given) == 1:
        cost.ignore(f"provider.models.cost.{next(iter(given)).removesuffix('_price')}")
        given = {}
    for key in ("cache_read", "cache_write"):
        if (price := cost.optional(Section.price, key)) is not None:
            given[f"{key}_price"] = price
    return given


def _modalities(model: Section) -> dict[str, Any]:
    """Inputs and outputs. `attachment` means files in general, so `modalities` overrides it."""
    table = model.table_if_any("modalities")
    attachment = model.optional(Section.flag, "attachment")
    inputs, outputs = (table.optional(Section.names, key) for key in ("input", "output"))
    facts: dict[str, Any] = {}
    if inputs is not None:
        facts["vision"] = "image" in inputs
        for each in sorted(set(inputs) - _USED_INPUTS):
            model.ignore(f"provider.models.modalities.input: {each}")
        if attachment and set(inputs) == {"text"}:
            model.ignore("provider.models.attachment")
    elif attachment is not None:
        facts["vision"] = attachment
    if outputs and "text" not in outputs:
        facts["kind"] = model_list.kind_of(outputs[0]) or "other"
    for each in sorted(set(outputs or ()) - {"text"}) if "kind" not in facts else ():
        model.ignore(f"provider.models.modalities.output: {each}")
    return facts


def _parameters(model: Section) -> dict[str, Any]:
    """The model's `options`, sent in the body of every chat."""
    options = expect(model.take("options") or {}, dict, model.where("options"))
    return {_PARAMETERS.get(key) or _snake(key): each for key, each in options.items()}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda match: f"_{match[1].lower()}", name)
