"""What pages say of models and keys that fail: where, why, until when; and that others go on."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from health import retention
from providers.domain.errors import ErrorKind
from providers.models import Breaker, Provider
from providers.policy import health
from providers.policy.breaker import State
from providers.router import snapshot

MakeProvider = Callable[..., Provider]


def open_breaker(provider: Provider, **fields: object) -> Breaker:
    """An open breaker of a model of the direct route, until a minute from now."""
    route = provider.routes.get(method="direct")
    row = {
        "route": route,
        "model_id": "m1",
        "state": State.OPEN,
        "consecutive_failures": 5,
        "last_kind": ErrorKind.PROVIDER,
        "retry_at": timezone.now() + timedelta(minutes=1),
    }
    return Breaker.objects.create(**row | fields)


def direct_key(provider: Provider) -> str:
    return next(r.key for r in snapshot.route_states(provider) if r.method == "direct")


def test_the_providers_page_names_the_model_that_fails(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """And says that others are not affected; the route itself works."""
    provider = make_provider(model_id="m1")
    open_breaker(provider)
    page = owner_client.get(f"/providers/{provider.slug}/health/").content.decode()
    assert "Failing models" in page
    assert "Failed 5 times, last provider error; m1 is tried again at" in page
    assert "direct only" in page
    assert "Cooling down" in page


def test_the_models_own_page_and_row_say_so(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Where people look for the model."""
    provider = make_provider(model_id="m1")
    model = provider.language_models.get()
    clean = owner_client.get(f"/models/{model.pk}/").content.decode()
    assert "Cooling down" not in clean
    open_breaker(provider)
    page = owner_client.get(f"/models/{model.pk}/").content.decode()
    assert "Cooling down, direct only" in page
    listed = owner_client.get(f"/providers/{provider.slug}/").content.decode()
    assert f'href="/models/{model.pk}/">failing</a>' in listed


def test_a_disabled_key_is_shown_on_every_route_that_carries_it(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Nothing is sent until it is edited."""
    provider = make_provider(model_id="m1")
    open_breaker(
        provider,
        route=None,
        model_id="",
        key=direct_key(provider),
        last_kind=ErrorKind.AUTH,
        retry_at=None,
    )
    page = owner_client.get(f"/providers/{provider.slug}/health/").content.decode()
    assert page.count("Disabled until edited") == provider.routes.count()
    assert "The key is disabled after a refused key until it is edited or tested." in page


def test_a_long_list_of_failing_models_is_cut_and_counted(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Thousands of models, all of them failing, are one page."""
    provider = make_provider(model_id="m1")
    for number in range(25):
        open_breaker(provider, model_id=f"model-{number:02}")
    page = owner_client.get(f"/providers/{provider.slug}/health/").content.decode()
    assert "model-19" in page
    assert "model-20" not in page
    assert "Showing the first 20 of 25." in page


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (("m1",), "m1 fails (provider error)"),
        (("m1", "m2"), "m1 and m2 fail"),
        (("m1", "m2", "m3"), "m1 and 2 more models fail"),
    ],
)
def test_health_names_the_models(
    make_provider: MakeProvider, models: tuple[str, ...], reason: str
) -> None:
    """One bad model makes a provider degraded, and not failing."""
    provider = make_provider(model_id="m1")
    provider.routes.update(proven=True, last_success_at=timezone.now())
    for model in models:
        open_breaker(provider, model_id=model)
    failures = snapshot.load_failures([provider])
    routes = failures.routes(provider)
    found = health.health(
        snapshot.policy(provider),
        routes,
        timezone.now(),
        snapshot.fresh(),
        models=failures.domains.open_models(routes),
    )
    assert (found.word, found.reason) == ("degraded", reason)


def test_an_edited_provider_begins_anew(make_provider: MakeProvider) -> None:
    """Its models and its key too; results of calls that are under way count for nothing."""
    provider = make_provider(model_id="m1")
    open_breaker(provider)
    open_breaker(provider, route=None, model_id="", key=direct_key(provider), retry_at=None)
    provider.forget_learned()
    rows = Breaker.objects.values_list("state", "consecutive_failures", "epoch", "retry_at")
    assert set(rows) == {("closed", 0, 1, None)}


def test_rows_that_say_nothing_any_more_are_deleted(make_provider: MakeProvider) -> None:
    """A closed one after an hour, which is longer than any call; an open one stays."""
    provider = make_provider(model_id="m1")
    now = timezone.now()
    kept = open_breaker(provider)
    recent = open_breaker(provider, model_id="m2", state=State.CLOSED)
    open_breaker(provider, model_id="m3", state=State.CLOSED, changed_at=now - timedelta(hours=2))
    retention.prune(now)
    assert set(Breaker.objects.values_list("pk", flat=True)) == {kept.pk, recent.pk}


def test_the_same_key_at_the_same_address_is_one_account(make_provider: MakeProvider) -> None:
    """Over either method, and for two providers; another key or address is another account."""
    one = make_provider("One", base_url="https://a.example/v1", api_key="sk-1", model_id="m")
    same = make_provider("Two", base_url="https://a.example/v1", api_key="sk-1", model_id="m")
    other = make_provider("Three", base_url="https://a.example/v1", api_key="sk-2", model_id="m")
    moved = make_provider("Four", base_url="https://b.example/v1", api_key="sk-1", model_id="m")
    keys = {p.name: direct_key(p) for p in (one, same, other, moved)}
    assert keys["One"] == keys["Two"]
    assert len(set(keys.values())) == 3
    assert "sk-1" not in "".join(keys.values())
    assert {r.key for r in snapshot.route_states(one) if not r.endpoint} == {keys["One"]}
