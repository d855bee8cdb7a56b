"""What the names of models mean: virtual models, aliases, full names, plain names, in this order of
right. No I/O.

An alias that several models share means the first that is in use; the others are its fallbacks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

from providers.domain.frozen import frozen

if TYPE_CHECKING:
    from providers.router.served_models import ServedModel

type ModelKey = tuple[int, str]  # provider id and model id


@frozen
class Names:
    """The models of each name; `other_kinds` has the names of what does not chat, by kind."""

    exact: Mapping[str, "tuple[ServedModel, ...]"] = field(default_factory=dict)
    plain: Mapping[str, "tuple[ServedModel, ...]"] = field(default_factory=dict)
    other_kinds: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> "tuple[ServedModel, ...]":
        """The models that a name means. More than one: it is ambiguous."""
        return self.exact[name][:1] if name in self.exact else self.plain.get(name, ())

    def fallbacks(self, name: str) -> "tuple[ServedModel, ...]":
        """The further models of an alias, in order: for requests that ask for this name."""
        return self.exact.get(name, ())[1:]

    def with_virtual(self, virtual: "Iterable[ServedModel]") -> "Names":
        """With the virtual models, each under its own name, which then means nothing else."""
        return replace(self, exact={**self.exact, **{each.full_name: (each,) for each in virtual}})


def build_names(
    models: "Iterable[ServedModel]",
    further: Iterable[tuple[str, ModelKey]] = (),
    other_kinds: Mapping[str, str] | None = None,
) -> Names:
    """The index of all names. `further`: aliases beside the models' own, in order."""
    models = tuple(models)
    by_key = {(model.provider_id, model.model_id): model for model in models}
    exact: dict[str, dict[ModelKey, ServedModel]] = defaultdict(dict)
    for model in models:
        if model.alias:
            exact[model.alias][model.provider_id, model.model_id] = model
    for name, key in further:
        if key in by_key:
            exact[name].setdefault(key, by_key[key])
    for model in models:
        if model.full_name not in exact:
            exact[model.full_name][model.provider_id, model.model_id] = model
    plain: dict[str, list[ServedModel]] = defaultdict(list)
    for model in models:
        plain[model.model_id].append(model)
    return Names(
        exact={name: tuple(named.values()) for name, named in exact.items()},
        plain={name: tuple(named) for name, named in plain.items()},
        other_kinds=dict(other_kinds or {}),
    )
