"""The catalogue as people look through it: what matches, how many of each sort, what is new."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from providers.catalog import search
from providers.catalog.search import ModelQuery
from providers.models import CatalogueVisit, Favourite, LanguageModel, Provider

MakeProvider = Callable[..., Provider]


@pytest.fixture
def models(make_provider: MakeProvider) -> dict[str, LanguageModel]:
    """Four models of two providers, one of them missing and one switched off."""
    acme, beta = make_provider("Acme", "glm-4.7"), make_provider("Beta", "gpt-4o")
    acme.language_models.update(context=200_000, tools=True, input_price=0, output_price=0)
    beta.language_models.update(context=128_000, vision=True, input_price=3, output_price=9)
    now = timezone.now()
    LanguageModel.objects.create(
        provider=beta, model_id="glm-air", name="Air", enabled=False, tools=True, input_price=1
    )
    LanguageModel.objects.create(provider=beta, model_id="old", name="Old", missing_since=now)
    return {model.model_id: model for model in LanguageModel.objects.all()}


def ids(user: User, **fields: Any) -> list[str]:
    return [model.model_id for model in search.page(ModelQuery(user_id=user.pk, **fields), 1)]


def test_words_are_found_in_names_aliases_and_providers(
    owner: User, models: dict[str, LanguageModel]
) -> None:
    """Each word somewhere, in whatever case; what is missing comes last."""
    assert ids(owner) == ["glm-air", "glm-4.7", "gpt-4o", "old"]
    assert ids(owner, words=("GLM",)) == ["glm-air", "glm-4.7"]
    assert ids(owner, words=("glm", "beta")) == ["glm-air"]
    assert ids(owner, words=("100%",)) == []
    LanguageModel.objects.filter(model_id="old").update(alias="favour")
    assert ids(owner, words=("favour",)) == ["old"]


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ({"state": "on"}, ["glm-4.7", "gpt-4o"]),
        ({"state": "off"}, ["glm-air"]),
        ({"state": "missing"}, ["old"]),
        ({"context": "200000"}, ["glm-4.7"]),
        ({"price": "free"}, ["glm-4.7"]),
        ({"price": "1"}, ["glm-air", "glm-4.7"]),
        ({"price": "nonsense"}, ["glm-air", "glm-4.7", "gpt-4o", "old"]),
    ],
)
def test_choices_narrow_the_list(
    owner: User, models: dict[str, LanguageModel], choices: dict[str, str], found: list[str]
) -> None:
    """One that is not known is not looked for."""
    assert ids(owner, choices=choices) == found


def test_the_counts_are_those_of_the_lists(owner: User, models: dict[str, LanguageModel]) -> None:
    """Each number beside a filter is how many the list has once it is picked."""
    for choices in ({}, {"state": "on"}, {"price": "1"}):
        for provider in (None, models["gpt-4o"].provider_id):
            query = ModelQuery(user_id=owner.pk, choices=choices, provider=provider)
            counted = search.facets(query)
            assert counted.total == search.filter_models(query).count()
            for name, counts in counted.choices.items():
                for value, count in counts.items():
                    other = ModelQuery(
                        user_id=owner.pk, choices=choices | {name: value}, provider=provider
                    )
                    assert count == search.filter_models(other).count(), (name, value)
            for mark, count in counted.flags.items():
                other = ModelQuery(
                    user_id=owner.pk,
                    choices=choices,
                    provider=provider,
                    flags=frozenset({mark}),
                )
                assert count == search.filter_models(other).count(), mark
            assert (
                sum(counted.providers.values())
                == search.facets(ModelQuery(user_id=owner.pk, choices=choices)).total
            )


def test_favourites_are_ones_own(
    owner: User, stranger: User, models: dict[str, LanguageModel]
) -> None:
    """Nobody sees another's."""
    Favourite.objects.create(user=owner, model=models["old"])
    assert ids(owner, flags=frozenset({"favourite"})) == ["old"]
    assert ids(stranger, flags=frozenset({"favourite"})) == []
    assert search.page(ModelQuery(user_id=owner.pk), 1)[-1].starred  # type: ignore[attr-defined]


def test_new_is_what_came_after_the_last_visit(
    owner: User, models: dict[str, LanguageModel]
) -> None:
    """Looks close to one another are one visit; at the first one nothing is new."""
    now = timezone.now()
    assert CatalogueVisit.note(owner, now) is None
    assert CatalogueVisit.note(owner, now + timedelta(minutes=5)) is None
    tomorrow = now + timedelta(days=1)
    since = CatalogueVisit.note(owner, tomorrow)
    assert since == now + timedelta(minutes=5)
    LanguageModel.objects.filter(model_id="gpt-4o").update(first_seen=tomorrow)
    assert ids(owner, flags=frozenset({"new"}), since=since) == ["gpt-4o"]
    assert CatalogueVisit.note(owner, tomorrow + timedelta(minutes=9)) == since


def test_a_page_takes_a_handful_of_queries(
    owner: User, models: dict[str, LanguageModel], django_assert_max_num_queries: Any
) -> None:
    """However many models there are."""
    query = ModelQuery(user_id=owner.pk, words=("glm",))
    with django_assert_max_num_queries(8):
        search.facets(query)
        search.page(query, 1)
