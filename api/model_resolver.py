"""Which model a name means: `provider/model`, an alias, or a plain name that is unique. No I/O."""

from difflib import SequenceMatcher
from heapq import nlargest
from typing import TYPE_CHECKING

from api.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from providers.router.snapshot import Served, Snapshot

MOST_NAMED = 8  # candidates of an ambiguous name
MOST_COMPARED = 400  # names weighed for likeness: 20 ms, however large the catalogue
_PURPOSES = {"image": "images", "rerank": "reranking", "other": "something else"}
ALIKE = 0.6  # of 1: what is less alike would not be what was meant


def served(known: "Snapshot", name: str) -> "Served":
    """The one model of this name. Raises ApiError: 404 for none, 400 for several."""
    found = known.named(name)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"`{model.full_name}`" for model in found[:MOST_NAMED])
        message = f"Several providers have a model `{name}`. Ask for one of: {names}."
        raise bad_request(message, "model", "model_ambiguous")
    if kind := known.names.other_kinds.get(name):
        message = f"`{name[:200]}` is no chat model but one for {_PURPOSES.get(kind, kind)}."
        raise bad_request(message, "model", "model_not_chat")
    raise unknown(name, (model.full_name for model in known.models))


def unknown(name: str, names: "Iterable[str]") -> ApiError:
    """A 404 that names what may have been meant."""
    close = alike(name, names)
    hint = f" Did you mean {', '.join(f'`{each}`' for each in close)}?" if close else ""
    message = f"There is no model `{name[:200]}` here.{hint} GET /v1/models lists them all."
    return ApiError(404, message, code="model_not_found", param="model")


def alike(name: str, names: "Iterable[str]", most: int = 3) -> list[str]:
    """The names most like this one, best first; a part that is the same counts most."""
    asked = _short(name)
    rough = nlargest(MOST_COMPARED, names, key=lambda other: _shared(asked, _short(other)))
    weighed = ((_likeness(name.lower(), asked, other), other) for other in rough)
    return [other for weight, other in nlargest(most, weighed) if weight >= ALIKE]


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()[:100]


def _shared(one: str, other: str) -> int:
    """How many letters two names share, whatever their order: cheap, and good enough to sort."""
    return len(set(one) & set(other)) - abs(len(one) - len(other))


def _likeness(name: str, asked: str, other: str) -> float:
    """From 0 to 1; of two names of which one holds the other, the closer one is first."""
    short = _short(other)
    part = SequenceMatcher(None, asked, short).ratio()
    if asked and (asked in short or short in asked):
        return 0.8 + part / 5
    return max(part, SequenceMatcher(None, name[:200], other.lower()).ratio())
