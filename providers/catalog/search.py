"""The catalogue as people look through it: which models match, how many of each sort, one page.

Choices that exclude one another (provider, context, price, state) are counted each without itself,
so that the other choices say how many there would be. A handful of queries, however many models.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import cast

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Value

from providers.domain.frozen import frozen
from providers.models import Favourite, LanguageModel, Provider

PAGE = 50

FREE = Q(input_price=0, output_price=0)
STATES = {
    "": Q(),
    "on": Q(enabled=True, missing_since=None),
    "off": Q(enabled=False),
    "missing": Q(missing_since__isnull=False),
}
CONTEXTS = {"": Q()} | {
    str(least): Q(context__gte=least) for least in (32_000, 128_000, 200_000, 1_000_000)
}
PRICES = {"": Q(), "free": FREE} | {str(most): Q(input_price__lte=most) for most in (1, 5)}
MARKS = {
    "vision": Q(vision=True),
    "tools": Q(tools=True),
    "reasoning": Q(reasoning=True),
}
ORDERS = {
    "name": (F("missing_since").asc(nulls_first=True), "name", "pk"),
    "newest": ("-first_seen", "-pk"),
    "context": (F("context").desc(nulls_last=True), "name", "pk"),
    "price": (F("input_price").asc(nulls_last=True), "name", "pk"),
    "provider": ("provider__name", "name", "pk"),
}
CHOICES = {"state": STATES, "context": CONTEXTS, "price": PRICES}


@frozen
class ModelQuery:
    """What somebody looks for. `since`: what was first seen later is new to them."""

    user_id: int
    words: tuple[str, ...] = ()
    provider: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()  # of MARKS, and `new` and `favourite`
    order: str = "name"
    since: datetime | None = None


@frozen
class Facets:
    """How many models there are of each sort among those that match everything else."""

    total: int
    marks: Mapping[str, int]
    choices: Mapping[str, Mapping[str, int]]
    providers: Mapping[int, int]


def matching(wanted: ModelQuery) -> QuerySet[LanguageModel]:
    """Exactly what is shown, on all pages of it."""
    found = _common(wanted).filter(_chosen(wanted))
    return found.filter(provider=wanted.provider) if wanted.provider is not None else found


def page(wanted: ModelQuery, number: int) -> list[LanguageModel]:
    """One page, in the order asked for, with what its rows show."""
    first = (max(number, 1) - 1) * PAGE
    found = matching(wanted).order_by(*ORDERS.get(wanted.order, ORDERS["name"]))
    starred = Favourite.objects.filter(user_id=wanted.user_id, model=OuterRef("pk"))
    ids = list(found.values_list("pk", flat=True)[first : first + PAGE])
    rows = LanguageModel.objects.filter(pk__in=ids).select_related("provider")
    by_id = {row.pk: row for row in rows.annotate(starred=Exists(starred)).defer("searched")}
    return [by_id[pk] for pk in ids if pk in by_id]


def facets(wanted: ModelQuery) -> Facets:
    """Every count beside the list, in one query: by provider, added up here."""
    chosen, marks = _chosen(wanted), _marks(wanted)
    columns = {"total": chosen}
    columns |= {f"mark_{mark}": chosen & meant for mark, meant in marks.items()}
    for name, choices in CHOICES.items():
        others = _chosen(wanted, without=name)
        columns |= {f"{name}_{value}": others & meant for value, meant in choices.items()}
    counts = {name: Count(Value(1), filter=meant or None) for name, meant in columns.items()}
    found = _common(wanted).order_by().values("provider").annotate(**counts)
    rows = [cast(dict[str, int], row) for row in found]
    own = [row for row in rows if wanted.provider in (None, row["provider"])]
    summed = {name: sum(row[name] for row in own) for name in columns}
    return Facets(
        total=summed["total"],
        marks={mark: summed[f"mark_{mark}"] for mark in marks},
        choices={
            name: {value: summed[f"{name}_{value}"] for value in choices}
            for name, choices in CHOICES.items()
        },
        providers={row["provider"]: row["total"] for row in rows},
    )


def _marks(wanted: ModelQuery) -> dict[str, Q]:
    starred = Favourite.objects.filter(user_id=wanted.user_id).values_list("model", flat=True)
    new = Q(first_seen__gt=wanted.since) if wanted.since else Q(pk__in=[])
    return MARKS | {"new": new, "favourite": Q(pk__in=list(starred))}


def _common(wanted: ModelQuery) -> QuerySet[LanguageModel]:
    """By what narrows everything alike: the words, and the marks that were ticked."""
    models = LanguageModel.objects.present()
    for word in wanted.words:
        models = models.filter(_holds(word.lower()))
    marks = _marks(wanted) if wanted.marks else {}
    for mark in sorted(wanted.marks & marks.keys()):
        models = models.filter(marks[mark])
    return models


def _holds(word: str) -> Q:
    """In its names, or in its provider's."""
    providers = Provider.objects.filter(name__icontains=word).values_list("pk", flat=True)
    found = list(providers)
    return Q(searched__contains=word) | (Q(provider__in=found) if found else Q())


def _chosen(wanted: ModelQuery, without: str = "") -> Q:
    """By the choices but one, and without the provider, which is counted for itself."""
    chosen = Q()
    for name, choices in CHOICES.items():
        if name != without:
            chosen &= choices.get(wanted.choices.get(name, ""), Q())
    return chosen
