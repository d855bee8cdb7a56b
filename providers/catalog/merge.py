"""Merge what several sources know of a model, and keep the source of each fact. No I/O.

An operator's values come first, then the provider's, the gateway's, an imported file's and those of
the offline catalogues. The first source that has a fact decides it; input and output price come as
a pair from one source.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.types import ABILITIES, DiscoveredModel

HAND = "hand"
PROVIDER = "provider"
GATEWAY = "gateway"
IMPORT = "import"
MODELS_DEV = "models.dev"
LITELLM = "litellm"

LIMITS = ("context", "output_limit")
CACHE_PRICES = ("cache_read_price", "cache_write_price")
PRICES = ("input_price", "output_price", *CACHE_PRICES)
FACTS = ("name", "kind", *LIMITS, *ABILITIES, *PRICES)  # that a person or a file may set
_MAX_INTEGER = 2_147_483_647  # of a PositiveIntegerField

type SourcedModel = tuple[str, DiscoveredModel | None]  # a source, and the model as it has it


def merge_facts(by_precedence: Iterable[SourcedModel]) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts as columns of a model, and the source of each that any source has."""
    facts: dict[str, Any] = {"name": "", "kind": "", "takes": None}
    facts |= dict.fromkeys((*LIMITS, *PRICES)) | dict.fromkeys(ABILITIES, False)
    sources: dict[str, str] = {}
    for source, model in by_precedence:
        for name, value in _facts_of(model).items() if model else ():
            if name not in sources:
                facts[name], sources[name] = value, source
    for name in CACHE_PRICES:  # only from the price list that the other prices come from
        if sources.get(name) != sources.get("input_price"):
            facts[name] = None
            sources.pop(name, None)
    return facts, sources


def stored_facts(source: str, columns: Mapping[str, Any] | None) -> SourcedModel:
    """The facts of a stored model from a source that is not read again."""
    if columns is None:
        return source, None
    names = [name for name in FACTS if columns["sources"].get(name) == source]
    return source, DiscoveredModel(
        model_id=columns["model_id"], **{name: columns[name] for name in names}
    )


def _facts_of(model: DiscoveredModel) -> dict[str, Any]:
    """The facts that a source has; input and output price only as a pair."""
    facts: dict[str, Any] = {"name": model.name.replace("\0", "")[:200]} if model.name else {}
    facts |= {"kind": model.kind} if model.kind else {}
    facts |= {name: value for name in LIMITS if (value := _valid_limit(getattr(model, name)))}
    facts |= {name: value for name in ABILITIES if (value := getattr(model, name)) is not None}
    if model.input_price is not None and model.output_price is not None:
        facts |= {"input_price": model.input_price, "output_price": model.output_price}
    facts |= {name: value for name in CACHE_PRICES if (value := getattr(model, name)) is not None}
    return facts | ({} if model.takes is None else {"takes": list(model.takes)})


def _valid_limit(value: int | None) -> int | None:
    return value if value and 0 < value <= _MAX_INTEGER else None
