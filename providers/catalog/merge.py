"""What is known of a model, put together from all who tell of it, each with its source. No I/O.

What an operator wrote comes first, then the provider's own word, the gateway's, an imported file's,
and the offline catalogues'. Who says nothing of a fact leaves it to the next; a price in and out
come from one teller, as a pair.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.types import ABILITIES, FoundModel

HAND = "hand"
PROVIDER = "provider"
GATEWAY = "gateway"
IMPORT = "import"
MODELS_DEV = "models.dev"
LITELLM = "litellm"

LIMITS = ("context", "output_limit")
CACHE_PRICES = ("cache_read_price", "cache_write_price")
PRICES = ("input_price", "output_price", *CACHE_PRICES)
TOLD = ("name", "kind", *LIMITS, *ABILITIES, *PRICES)  # what a person or a file may tell
_LARGEST = 2_147_483_647  # of a PositiveIntegerField

type Told = tuple[str, FoundModel | None]  # a source, and what it says


def merged(told: Iterable[Told]) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts as columns of a model, and the source of each one that somebody told."""
    known = [(source, model) for source, model in told if model is not None]
    facts: dict[str, Any] = {"name": "", "kind": "", "takes": None}
    facts |= dict.fromkeys((*LIMITS, *PRICES)) | dict.fromkeys(ABILITIES, False)
    sources: dict[str, str] = {}
    for source, model in known:
        for name, value in _said(model).items():
            if name not in sources:
                facts[name], sources[name] = value, source
    for name in CACHE_PRICES:  # of the same list of prices, or they would be nobody's
        if sources.get(name) != sources.get("input_price"):
            facts[name] = None
            sources.pop(name, None)
    return facts, sources


def told_by(teller: str, model: Mapping[str, Any] | None) -> Told:
    """What a stored model (its columns, by name) has from one teller whom nobody asks again."""
    if model is None:
        return teller, None
    names = [name for name in TOLD if model["sources"].get(name) == teller]
    said = {name: model[name] for name in names}
    return teller, FoundModel(model_id=model["model_id"], **said)


def _said(model: FoundModel) -> dict[str, Any]:
    """What this one says: a pair of prices only whole."""
    said: dict[str, Any] = {"name": model.name.replace("\0", "")[:200]} if model.name else {}
    said |= {"kind": model.kind} if model.kind else {}
    said |= {name: value for name in LIMITS if (value := _limit(getattr(model, name)))}
    said |= {name: value for name in ABILITIES if (value := getattr(model, name)) is not None}
    if model.input_price is not None and model.output_price is not None:
        said |= {"input_price": model.input_price, "output_price": model.output_price}
    said |= {name: value for name in CACHE_PRICES if (value := getattr(model, name)) is not None}
    return said | ({} if model.takes is None else {"takes": list(model.takes)})


def _limit(value: int | None) -> int | None:
    return value if value and 0 < value <= _LARGEST else None
