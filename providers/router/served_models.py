"""Read the models that can be requested, with every name they have.

One query reads the rows of all providers, ten thousand models and more, so it reads columns instead
of building model instances.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q
from django.db.models.functions import JSONObject

from providers.domain.frozen import frozen
from providers.domain.prices import Prices
from providers.domain.types import ABILITIES, known_abilities
from providers.models import LanguageModel, ModelAlias, ModelKind
from providers.policy.members import MemberList
from providers.policy.model_names import Names, build_names


@frozen
class ServedModel:
    """A model that can be requested, and the provider that serves it.

    With `virtual`, it is a virtual model: the provider and the model id are its first member's, and
    the limits and abilities what its members have together.
    """

    provider_id: int
    provider_slug: str
    provider_name: str
    model_id: str
    name: str
    alias: str
    context: int | None
    output_limit: int | None
    first_seen: datetime
    prices: Prices
    # None where unknown.
    vision: bool | None = None
    tools: bool | None = None
    reasoning: bool | None = None
    json_output: bool | None = None
    takes: tuple[str, ...] | None = None
    streams: bool = True
    further_aliases: tuple[str, ...] = ()
    virtual: MemberList | None = None
    kinds: frozenset[str] = frozenset()  # what it is for; empty where nobody says

    @property
    def full_name(self) -> str:
        """The name that no other model has."""
        return self.virtual.name if self.virtual else f"{self.provider_slug}/{self.model_id}"


type _Row = Mapping[str, Any]

_PRICES = ("input_price", "output_price", "cache_read_price", "cache_write_price")
_COLUMNS = ("model_id", "name", "alias", "context", "output_limit", "first_seen")


def load(slugs_and_names: Mapping[int, tuple[str, str]]) -> tuple[tuple[ServedModel, ...], Names]:
    """The models of these providers (by id: slug and name), and the index of all names."""
    rows = list(_read_rows())
    models = tuple(_build_models(slugs_and_names, rows))
    return models, build_names(models, _further_aliases(rows), _names_of_other_kinds(rows))


def _read_rows() -> Iterable[_Row]:
    """Models in use, and those that are not because they do not chat, with further aliases."""
    usable = Q(pk__in=LanguageModel.objects.usable().values("pk"))
    other = Q(enabled=False, provider__removed_at=None) & ~Q(kind=ModelKind.CHAT)
    aliases = ModelAlias.objects.filter(model=OuterRef("pk"))
    pairs = aliases.values(pair=JSONObject(name="name", position="position"))
    rows = LanguageModel.objects.filter(usable | other).order_by("provider__name", "name")
    annotated = rows.annotate(further=ArraySubquery(pairs))
    columns = ("provider_id", "provider__slug", "kind", "enabled", "sources", "takes", "streaming")
    values: Iterable[_Row] = annotated.values(
        *columns, "further", *_PRICES, *_COLUMNS, *ABILITIES
    ).iterator(2000)
    return values


def _build_models(
    slugs_and_names: Mapping[int, tuple[str, str]], rows: Iterable[_Row]
) -> Iterable[ServedModel]:
    for row in rows:
        provider = slugs_and_names.get(row["provider_id"])
        if provider and row["enabled"]:
            yield ServedModel(
                provider_id=row["provider_id"],
                provider_slug=provider[0],
                provider_name=provider[1],
                prices=Prices.of(row),
                streams=row["streaming"],
                kinds=known_kinds(row),
                takes=None if row["takes"] is None else tuple(row["takes"]),
                further_aliases=tuple(sorted(each["name"] for each in row["further"])),
                **{name: row[name] for name in _COLUMNS},
                **known_abilities(row),
            )


def known_kinds(row: _Row) -> frozenset[str]:
    """The kind that some source gives; a guess by the model's name is none."""
    return frozenset({row["kind"]} if "kind" in row["sources"] else ())


def _further_aliases(rows: Iterable[_Row]) -> Iterable[tuple[str, tuple[int, str]]]:
    """Each further alias with its model; those of one name in their order."""
    aliases = [
        (each["position"], each["name"], (row["provider_id"], row["model_id"]))
        for row in rows
        for each in row["further"]
    ]
    return [(name, key) for _, name, key in sorted(aliases)]


def _names_of_other_kinds(rows: Iterable[_Row]) -> dict[str, str]:
    """The names of models that are not in use because they do not chat, each with its kind."""
    return {
        name: row["kind"]
        for row in rows
        if not row["enabled"]
        for name in (
            row["model_id"],
            f"{row['provider__slug']}/{row['model_id']}",
            row["alias"],
            *(each["name"] for each in row["further"]),
        )
        if name
    }
