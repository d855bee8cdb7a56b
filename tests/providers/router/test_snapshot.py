"""What a model's name means, and what calls know of providers."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries

from providers.domain.prices import Prices
from providers.domain.types import Method, Usage
from providers.models import Gateway, LanguageModel, Provider
from providers.router import snapshot

MakeProvider = Callable[..., Provider]


def named(name: str) -> list[str]:
    return [model.full_name for model in snapshot.load().find_models(name)]


def test_a_name_means_a_model_by_its_full_name_its_alias_or_alone(
    make_provider: MakeProvider,
) -> None:
    """A plain name that two providers serve is ambiguous."""
    acme, other = make_provider(), make_provider("Other")
    LanguageModel.objects.create(provider=other, model_id="z-ai/glm", name="GLM", alias="fast")
    assert named("acme/m") == ["acme/m"]
    assert named("m") == ["acme/m", "other/m"]
    assert named("fast") == named("other/z-ai/glm") == named("z-ai/glm") == ["other/z-ai/glm"]
    assert named("nothing") == []
    acme.enabled = False
    acme.save()
    assert named("m") == ["other/m"]


def test_an_alias_beats_the_plain_name_of_another_model(make_provider: MakeProvider) -> None:
    """Somebody chose it."""
    make_provider()
    other = make_provider("Other", model_id="big")
    LanguageModel.objects.filter(provider=other).update(alias="m")
    assert named("m") == ["other/big"]


def test_only_what_is_switched_on_and_listed_may_be_asked_for(make_provider: MakeProvider) -> None:
    """And only while its provider still offers it."""
    provider = make_provider()
    LanguageModel.objects.filter(provider=provider).update(enabled=False)
    assert named("acme/m") == []


def test_the_same_model_elsewhere_may_bear_its_vendors_name(make_provider: MakeProvider) -> None:
    """So that an aggregator can be a fallback."""
    make_provider(model_id="GLM-4.6")
    other = make_provider("Other", model_id="z-ai/glm-4.6")
    found = snapshot.load().find_same_model("GLM-4.6", other.pk)
    assert found is not None
    assert found.model_id == "z-ai/glm-4.6"
    assert snapshot.load().find_same_model("GLM-4.7", other.pk) is None


def test_everything_is_read_in_a_few_queries(
    make_provider: MakeProvider, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """However many providers there are."""
    for number in range(8):
        make_provider(f"P{number}")
    with django_assert_max_num_queries(6):
        snapshot.load()
    with django_assert_max_num_queries(4):
        snapshot.load_routes()
    with django_assert_max_num_queries(6):
        snapshot.load_candidates(range(1, 10_000))


def test_further_gateways_stand_in_with_their_own_keys(make_provider: MakeProvider) -> None:
    """Behind both of the provider's own routes."""
    provider = make_provider()
    Gateway.objects.create(name="B", url="http://b.example:4000", api_key="sk-b")
    candidate = snapshot.load_candidate(provider.pk, "m")
    assert candidate is not None
    assert [(r.method, r.endpoint, r.is_fallback) for r in candidate.routes] == [
        (Method.DIRECT, "", False),
        (Method.GATEWAY, "", False),
        (Method.GATEWAY, "http://b.example:4000", True),
    ]
    target = candidate.target(candidate.routes[-1])
    assert (target.base_url, target.api_key, target.upstream) == (
        "http://b.example:4000",
        "sk-b",
        None,
    )
    assert "sk-b" not in repr(candidate)
    assert "sk-b" not in repr(target)


USED = Usage(input_tokens=1000, output_tokens=100, cached_tokens=900, cache_write_tokens=90)


@pytest.mark.parametrize(
    ("prices", "millionths"),
    [
        ({"input": 3, "output": 15}, 3 * 1000 + 15 * 100),
        ({"input": 3, "output": 15, "cache_read": "0.3"}, 3 * 100 + 270 + 15 * 100),
        (
            {"input": 3, "output": 15, "cache_read": "0.3", "cache_write": "3.75"},
            3 * 10 + 270 + Decimal("337.5") + 15 * 100,
        ),
        ({"input": 3, "output": 15, "cache_read": 0, "cache_write": 0}, 3 * 10 + 15 * 100),
        ({"cache_read": 1}, None),
    ],
)
def test_cached_tokens_have_their_own_price(
    prices: dict[str, str], millionths: Decimal | None
) -> None:
    """At the price of others where theirs is not known; a call without prices has no cost."""
    known = Prices(**{name: Decimal(price) for name, price in prices.items()})
    expected = None if millionths is None else Decimal(millionths) / 1_000_000
    assert known.cost(USED) == expected


def test_a_models_cache_prices_reach_its_calls(make_provider: MakeProvider) -> None:
    """From the row to the snapshot, and to one that is loaded alone."""
    provider = make_provider()
    stored = {"input_price": 3, "output_price": 15, "cache_read_price": Decimal("0.3")}
    provider.language_models.update(**stored, cache_write_price=4)
    expected = Prices(
        input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal(4)
    )
    (model,) = snapshot.load().find_models("acme/m")
    alone = snapshot.load_candidate(provider.pk, "m")
    assert alone is not None
    assert model.prices == alone.prices == expected
