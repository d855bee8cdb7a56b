"""Resolve a model name: `provider/model`, an alias, or a plain name that is unique. No I/O.

Models that the client key may not use are neither chosen nor named.
"""

from difflib import SequenceMatcher
from heapq import nlargest
from typing import TYPE_CHECKING

from api.errors import ApiError, bad_request
from providers.protocols.endpoint_kinds import CHAT, endpoints_of, serves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from api.keys.lookup import Caller
    from providers.router.served_models import ServedModel
    from providers.router.snapshot import Snapshot

MAX_LISTED = 8  # models in the message about an ambiguous name
MAX_COMPARED = 400  # names scored for similarity: 20 ms, however large the catalogue
_PURPOSES = {
    "completion": "text completions",
    "image": "images",
    "rerank": "reranking",
    "other": "something else",
}
MIN_SIMILARITY = 0.6  # of 1; below it a name is not worth suggesting


def resolve_model(
    snapshot: "Snapshot", name: str, caller: "Caller", endpoint: str = CHAT
) -> "ServedModel":
    """The model with this name. Raises ApiError: 404 for none, 400 for several, or where it does
    not serve the endpoint, a path below `/v1`; 403 where the key may not use it."""
    permitted = permitted_models(snapshot, name, caller)
    models = [model for model in permitted if serves(model.kinds, endpoint)]
    if len(models) == 1:
        return models[0]
    if permitted and not models:
        raise _other_endpoint(name, permitted[0].kinds, endpoint)
    if models:
        names = ", ".join(f"`{model.full_name}`" for model in models[:MAX_LISTED])
        message = f"Several providers have a model `{name}`. Use one of: {names}."
        raise bad_request(message, "model", "model_ambiguous")
    if kind := snapshot.names.other_kinds.get(name):
        raise _not_in_use(name, kind, endpoint)
    raise unknown_model(name, permitted_names(snapshot, caller))


def permitted_models(snapshot: "Snapshot", name: str, caller: "Caller") -> "list[ServedModel]":
    """The models of this name that the key may use, fallbacks aside. Raises ApiError (403) where
    there are only others."""
    models = snapshot.find_models(name)
    fallbacks = snapshot.names.fallbacks(name)
    permitted = [each for each in models if caller.allowed.permits(name, (each, *fallbacks))]
    if models and not permitted:
        message = f"This API key may not use the model `{name[:200]}`."
        raise ApiError(
            403, message, code="model_not_allowed", type="permission_error", param="model"
        )
    return permitted


def permitted_names(snapshot: "Snapshot", caller: "Caller") -> "Iterable[str]":
    """The full names of all models that the key may use."""
    names = (model.full_name for model in snapshot.all_models)
    return (name for name in names if caller.allowed.permits(name))


def list_filter(caller: "Caller", snapshot: "Snapshot") -> "Callable[[ServedModel, str], bool]":
    """A function: whether the key may use this model under this one of its names."""
    names, allowed = snapshot.names, caller.allowed

    def is_listed(model: "ServedModel", name: str) -> bool:
        return allowed.permits(name, (*(names.find(name) or (model,)), *names.fallbacks(name)))

    return is_listed


def _other_endpoint(name: str, kinds: frozenset[str], endpoint: str) -> ApiError:
    """A 400 that names the endpoints which serve the model."""
    paths = [f"/v1/{path}" for path in endpoints_of(kinds)]
    hint = f" Use it at {' or '.join(paths)}." if paths else ""
    message = f"`{name[:200]}` is not for /v1/{endpoint}. It is for {_purposes(kinds)}.{hint}"
    return bad_request(message, "model", _wrong_kind_code(endpoint))


def _not_in_use(name: str, kind: str, endpoint: str) -> ApiError:
    """A 400 about a model that is not in use, as it does not chat."""
    if endpoint == CHAT:
        message = f"`{name[:200]}` is not a chat model. It is for {_purposes([kind])}."
    else:
        message = f"`{name[:200]}` is switched off. Switch it on under Models to use it."
    return bad_request(message, "model", _wrong_kind_code(endpoint))


def _purposes(kinds: "Iterable[str]") -> str:
    return " and ".join(_PURPOSES.get(kind, kind) for kind in sorted(kinds))


def _wrong_kind_code(endpoint: str) -> str:
    return "model_not_chat" if endpoint == CHAT else "model_wrong_kind"


def unknown_model(name: str, names: "Iterable[str]") -> ApiError:
    """A 404 that suggests similar names."""
    close = similar_names(name, names)
    hint = f" Did you mean {', '.join(f'`{each}`' for each in close)}?" if close else ""
    message = f"There is no model `{name[:200]}`.{hint} GET /v1/models lists all models."
    return ApiError(404, message, code="model_not_found", param="model")


def similar_names(name: str, names: "Iterable[str]", limit: int = 3) -> list[str]:
    """The most similar names, best first; a common part counts most."""
    short = _short_name(name)
    candidates = nlargest(
        MAX_COMPARED, names, key=lambda other: _count_shared(short, _short_name(other))
    )
    scored = ((_similarity(name.lower(), short, other), other) for other in candidates)
    return [other for score, other in nlargest(limit, scored) if score >= MIN_SIMILARITY]


def _short_name(name: str) -> str:
    return name.rpartition("/")[2].lower()[:100]


def _count_shared(one: str, other: str) -> int:
    """The number of letters that two names share, in any order: cheap, and sufficient for
    sorting."""
    return len(set(one) & set(other)) - abs(len(one) - len(other))


def _similarity(name: str, short: str, other: str) -> float:
    """From 0 to 1; names of which one contains the other score at least 0.8."""
    other_short = _short_name(other)
    part = SequenceMatcher(None, short, other_short).ratio()
    if short and (short in other_short or other_short in short):
        return 0.8 + part / 5
    return max(part, SequenceMatcher(None, name[:200], other.lower()).ratio())
