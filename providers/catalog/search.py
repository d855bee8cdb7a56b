"""Search the models: those that match, one page of them, and the counts beside the filters.

Options of one choice (provider, context, price, state) are counted as if that choice were not made,
so that each shows how many models it would give. A few queries, however many models there are.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import cast

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Value

from providers.domain.frozen import frozen
from providers.models import Favourite, LanguageModel, Provider

PAGE = 50  # models

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
FLAGS = {
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
    """A search. Models first seen after `since` are new to this user."""

    user_id: int
    words: tuple[str, ...] = ()
    provider: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()  # of FLAGS, and `new` and `favourite`
    order: str = "name"
    since: datetime | None = None


@frozen
class Facets:
    """How many models each option would give, with the rest of the search unchanged."""

    total: int
    flags: Mapping[str, int]
    choices: Mapping[str, Mapping[str, int]]
    providers: Mapping[int, int]


def filter_models(query: ModelQuery) -> QuerySet[LanguageModel]:
    """The models of all pages."""
    models = _base_models(query).filter(_choice_filter(query))
    return models.filter(provider=query.provider) if query.provider is not None else models


def page(query: ModelQuery, number: int) -> list[LanguageModel]:
    """One page in the requested order, with what its rows show."""
    first = (max(number, 1) - 1) * PAGE
    models = filter_models(query).order_by(*ORDERS.get(query.order, ORDERS["name"]))
    starred = Favourite.objects.filter(user_id=query.user_id, model=OuterRef("pk"))
    ids = list(models.values_list("pk", flat=True)[first : first + PAGE])
    rows = LanguageModel.objects.filter(pk__in=ids).select_related("provider")
    by_id = {row.pk: row for row in rows.annotate(starred=Exists(starred)).defer("searched")}
    return [by_id[pk] for pk in ids if pk in by_id]


def facets(query: ModelQuery) -> Facets:
    """All counts in one query: grouped by provider, added up here."""
    chosen, flags = _choice_filter(query), _flag_filters(query)
    columns = {"total": chosen}
    columns |= {f"flag_{name}": chosen & condition for name, condition in flags.items()}
    for name, choices in CHOICES.items():
        others = _choice_filter(query, without=name)
        columns |= {f"{name}_{value}": others & condition for value, condition in choices.items()}
    counts = {
        name: Count(Value(1), filter=condition or None) for name, condition in columns.items()
    }
    groups = _base_models(query).order_by().values("provider").annotate(**counts)
    rows = [cast(dict[str, int], row) for row in groups]
    own = [row for row in rows if query.provider in (None, row["provider"])]
    totals = {name: sum(row[name] for row in own) for name in columns}
    return Facets(
        total=totals["total"],
        flags={name: totals[f"flag_{name}"] for name in flags},
        choices={
            name: {value: totals[f"{name}_{value}"] for value in choices}
            for name, choices in CHOICES.items()
        },
        providers={row["provider"]: row["total"] for row in rows},
    )


def _flag_filters(query: ModelQuery) -> dict[str, Q]:
    starred = Favourite.objects.filter(user_id=query.user_id).values_list("model", flat=True)
    new = Q(first_seen__gt=query.since) if query.since else Q(pk__in=[])
    return FLAGS | {"new": new, "favourite": Q(pk__in=list(starred))}


def _base_models(query: ModelQuery) -> QuerySet[LanguageModel]:
    """Filter by the words and flags that apply to all counts."""
    models = LanguageModel.objects.present()
    for word in query.words:
        models = models.filter(_contains(word.lower()))
    flags = _flag_filters(query) if query.flags else {}
    for name in sorted(query.flags & flags.keys()):
        models = models.filter(flags[name])
    return models


def _contains(word: str) -> Q:
    """Whether a name of the model, or its provider's name, contains the word."""
    providers = Provider.objects.filter(name__icontains=word).values_list("pk", flat=True)
    ids = list(providers)
    return Q(searched__contains=word) | (Q(provider__in=ids) if ids else Q())


def _choice_filter(query: ModelQuery, without: str = "") -> Q:
    """The choices except one. The provider is not among them: it is counted by group."""
    chosen = Q()
    for name, choices in CHOICES.items():
        if name != without:
            chosen &= choices.get(query.choices.get(name, ""), Q())
    return chosen
