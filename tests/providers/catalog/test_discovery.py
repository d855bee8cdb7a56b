"""Models are fetched once, merged and stored; known models are never wiped."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from providers import tasks
from providers.catalog import discovery
from providers.clients import http
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import DiscoveredModel
from providers.models import LanguageModel, ModelSource, Provider
from tests import fakes
from tests.polling import until
from tests.upstreams.fixtures import DESCRIBED
from tests.upstreams.litellm_proxy import Proxy

MakeProvider = Callable[..., Provider]
NOTHING = discovery.OfflineFacts()


def listing(*models: DiscoveredModel) -> discovery.Listing:
    return discovery.Listing(models=models)


async def refreshed(provider: Provider) -> Provider:
    try:
        await discovery.refresh(provider.pk)
    finally:
        await http.close()
    return await Provider.objects.aget(pk=provider.pk)


def ids(provider: Provider) -> set[str]:
    return set(provider.language_models.values_list("model_id", flat=True))


def listed(fake: fakes.Upstream) -> int:
    return sum(request.path.endswith("/models") for request in fake.requests)


@pytest.fixture
def provider(transactional_db: None, make_provider: MakeProvider, fake: fakes.Upstream) -> Provider:
    return make_provider(base_url=fake.url, api_key=fakes.KEY)


async def test_it_works(provider: Provider, fake: fakes.Upstream) -> None:
    """What the provider lists is stored; what it no longer lists is marked and kept."""
    provider = await refreshed(provider)
    assert provider.models_error == ""
    assert provider.models_refreshed_at is not None
    assert await sync_to_async(ids)(provider) == {*fake.models, "m"}
    gone = await provider.language_models.aget(model_id="m")
    assert gone.missing_since is not None


async def test_one_odd_entry_spoils_no_list(provider: Provider, fake: fakes.Upstream) -> None:
    """It is counted, and the page says so; with the next good list that is gone."""
    fake.models = [*fake.models, "half\ud800", "nul\0"]
    provider = await refreshed(provider)
    assert (provider.models_error, provider.models_unread) == ("", 2)
    assert await sync_to_async(ids)(provider) == {*fake.models[:-2], "m"}
    fake.models = fake.models[:-2]
    assert (await refreshed(provider)).models_unread == 0


def test_the_page_counts_unreadable_entries(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    make_provider(models_unread=3)
    page = owner_client.get("/providers/acme/").content.decode()
    assert "3 entries could not be read." in page


async def test_other_kinds_are_stored_and_not_in_use(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """By the kind in the list, else by the id."""
    fake.models = ["text-embedding-3-small", "glm-4.7"]
    await refreshed(provider)
    listed_models = provider.language_models.filter(missing_since=None).order_by("model_id")
    kinds = [(row.kind, row.enabled) async for row in listed_models]
    assert kinds == [("chat", True), ("embedding", False)]


async def test_a_real_proxy_adds_details(
    make_provider: MakeProvider, transactional_db: None, litellm_proxy: Proxy
) -> None:
    """Limits, prices and abilities from `/model/info`, with their source."""
    provider = await sync_to_async(make_provider)(
        base_url=litellm_proxy.url,
        routing_method="gateway",
        fallback_enabled=False,
        gateway_endpoint=litellm_proxy.url,
        gateway_api_key=litellm_proxy.key,
    )
    provider = await refreshed(provider)
    assert provider.models_error == ""
    model = await provider.language_models.aget(model_id=DESCRIBED)
    assert (model.context, model.output_limit, model.tools) == (128_000, 16_384, True)
    assert (model.input_price, model.output_price) == (Decimal("0.15"), Decimal("0.6"))
    assert model.sources["context"] == model.sources["input_price"] == "gateway"


async def test_callers_at_once_share_one_fetch(provider: Provider, fake: fakes.Upstream) -> None:
    """Single flight: followers wait for the leader's result."""
    try:
        counts = await asyncio.gather(*(discovery.refresh(provider.pk) for _ in range(5)))
    finally:
        await http.close()
    assert counts == [len(fake.models)] * 5
    assert listed(fake) == 1


async def test_a_changed_key_is_not_answered_by_a_fetch_with_the_old_one(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """A caller after the change gets a fetch of its own."""
    fake.key = "sk-the-new-key-0123456789"
    old = asyncio.create_task(discovery.refresh(provider.pk))
    try:
        await until(lambda: fake.requests)
        await Provider.objects.filter(pk=provider.pk).aupdate(api_key=fake.key)
        await discovery.refresh(provider.pk)
        await old
    finally:
        await http.close()
    assert any(request.authorized for request in fake.requests)


async def test_without_redis_it_still_fetches(provider: Provider, settings: Settings) -> None:
    """Sharing saves work; results do not depend on it."""
    settings.REDIS_URL = "redis://127.0.0.1:1"
    provider = await refreshed(provider)
    assert provider.models_error == ""


async def test_a_refused_key_leaves_a_sentence_and_the_models(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """A failure never wipes, nor marks anything missing."""
    provider = await refreshed(provider)
    fake.script(models="401")
    provider = await refreshed(provider)
    assert provider.models_error
    assert fakes.KEY not in provider.models_error
    present = provider.language_models.filter(missing_since=None)
    assert await present.acount() == len(fake.models)


async def test_a_missing_list_falls_back_to_the_offline_catalogue(
    make_provider: MakeProvider, transactional_db: None, fake: fakes.Upstream
) -> None:
    """As with a Coding Plan whose list cannot be read."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, preset="zai-coding"
    )
    await provider.language_models.all().adelete()
    fake.script(models="html")
    provider = await refreshed(provider)
    model = await provider.language_models.aget(model_id="glm-4.7")
    assert model.source == ModelSource.CATALOGUE
    assert model.context == 204800
    assert provider.models_error


async def test_an_empty_list_outweighs_an_unreachable_route(
    make_provider: MakeProvider, transactional_db: None, fake: fakes.Upstream
) -> None:
    """In whichever order they are called."""
    provider = await sync_to_async(make_provider)(
        base_url=fake.url, api_key=fakes.KEY, gateway_endpoint="http://127.0.0.1:9"
    )
    fake.script(models="nothing-listed")
    for prefer_direct in (True, False):
        await Provider.objects.filter(pk=provider.pk).aupdate(prefer_direct=prefer_direct)
        provider = await refreshed(provider)
        assert provider.models_error.startswith("The provider listed no models")


def test_a_bad_hour_of_a_list_that_was_there_changes_nothing(make_provider: MakeProvider) -> None:
    """The offline catalogue replaces a list that never existed, not one that fails now."""
    provider = make_provider(preset="zai-coding")
    provider.language_models.update(source=ModelSource.DISCOVERED, missing_since=timezone.now())
    for error in (None, CallError(ErrorKind.PROVIDER, "It broke.", status=500)):
        discovery._store_result(provider.pk, discovery.Listing(), error)
        model = provider.language_models.get()
        assert (model.source, bool(model.missing_since)) == (ModelSource.DISCOVERED, True)


def test_what_was_added_by_hand_is_not_the_catalogues(make_provider: MakeProvider) -> None:
    """Where the catalogue is used and has the same model."""
    provider = make_provider(preset="zai-coding", model_id="glm-4.7")
    provider.language_models.update(source=ModelSource.MANUAL)
    discovery._store_result(provider.pk, discovery.Listing(), None)
    assert provider.language_models.get(model_id="glm-4.7").source == ModelSource.MANUAL
    assert provider.language_models.filter(source=ModelSource.CATALOGUE).exists()


def test_facts_of_a_file_or_an_operator_are_kept(make_provider: MakeProvider) -> None:
    """A file's facts fill gaps of the provider's; an operator's come before all others."""
    provider = make_provider(model_id="x")
    provider.language_models.update(
        context=1000,
        output_limit=50,
        input_price=1,
        output_price=2,
        sources={
            "context": "import",
            "output_limit": "import",
            "input_price": "hand",
            "output_price": "hand",
        },
    )
    discovered = DiscoveredModel(
        model_id="x", context=20, input_price=Decimal(7), output_price=Decimal(8)
    )
    for _ in range(2):
        discovery.store_models(
            provider, listing(discovered), discovery.OfflineFacts(), timezone.now()
        )
        model = provider.language_models.get()
        assert (model.context, model.output_limit) == (20, 50)
        assert (model.input_price, model.output_price) == (Decimal(1), Decimal(2))
        assert model.sources == {
            "context": "provider",
            "output_limit": "import",
            "input_price": "hand",
            "output_price": "hand",
        }


def test_what_does_not_chat_is_not_in_use_at_first(make_provider: MakeProvider) -> None:
    """A choice made afterwards is kept."""
    provider = make_provider()
    listed_models = listing(
        DiscoveredModel(model_id="nomic-embed-text"), DiscoveredModel(model_id="llama3")
    )
    discovery.store_models(provider, listed_models, discovery.OfflineFacts(), timezone.now())
    enabled = provider.language_models.filter(enabled=True, missing_since=None)
    assert set(enabled.values_list("model_id", flat=True)) == {"llama3"}
    provider.language_models.update(enabled=True)
    discovery.store_models(provider, listed_models, discovery.OfflineFacts(), timezone.now())
    assert provider.language_models.get(model_id="nomic-embed-text").enabled


def test_an_empty_list_changes_nothing(make_provider: MakeProvider) -> None:
    """It says so instead."""
    provider = make_provider()
    discovery._store_result(provider.pk, discovery.Listing(), None)
    provider.refresh_from_db()
    assert (
        provider.models_error == "The provider listed no models. The models known before are kept."
    )
    assert provider.language_models.get().missing_since is None


def test_the_providers_word_comes_before_the_catalogues(make_provider: MakeProvider) -> None:
    """Each fills what the other leaves out."""
    provider, now = make_provider(), timezone.now()
    dev = {"x": DiscoveredModel(model_id="x", name="X", context=10, vision=True)}
    facts = discovery.OfflineFacts(models_dev=dev)
    listed_models = DiscoveredModel(
        model_id="models/x", context=20, input_price=Decimal("1.5"), output_price=Decimal(6)
    )
    discovery.store_models(provider, listing(listed_models), facts, now)
    model = provider.language_models.get(model_id="models/x")
    assert (model.name, model.context, model.vision) == ("X", 20, True)
    assert model.input_price == Decimal("1.5")


def test_a_second_sight_keeps_choices(make_provider: MakeProvider) -> None:
    """Switched off stays off, first seen stays; one that came back is no longer missing."""
    provider, then = make_provider(), timezone.now() - timedelta(days=1)
    discovery.store_models(provider, listing(DiscoveredModel(model_id="x")), NOTHING, then)
    provider.language_models.filter(model_id="x").update(enabled=False, missing_since=then)
    discovery.store_models(
        provider, listing(DiscoveredModel(model_id="x")), NOTHING, timezone.now()
    )
    model = provider.language_models.get(model_id="x")
    assert (model.enabled, model.first_seen, model.missing_since) == (False, then, None)


def test_models_added_by_hand_are_never_missing(make_provider: MakeProvider) -> None:
    """Nobody listed them in the first place."""
    provider = make_provider()
    provider.language_models.update(source=ModelSource.MANUAL)
    discovery.store_models(
        provider, listing(DiscoveredModel(model_id="x")), NOTHING, timezone.now()
    )
    assert provider.language_models.get(model_id="m").missing_since is None


def test_a_strange_list_is_taken_with_care(make_provider: MakeProvider) -> None:
    """Doubles, empty and endless ids, impossible limits: no error, nothing odd stored."""
    provider = make_provider()
    strange = [
        DiscoveredModel(model_id="x", context=-1),
        DiscoveredModel(model_id="x", context=10**12),
        DiscoveredModel(model_id=""),
        DiscoveredModel(model_id="y" * 300),
        DiscoveredModel(model_id="z", name="n\0" * 200),
    ]
    discovery.store_models(provider, listing(*strange), NOTHING, timezone.now())
    assert ids(provider) == {"m", "x", "z"}
    assert provider.language_models.get(model_id="x").context is None


def test_three_thousand_models_take_a_handful_of_queries(
    make_provider: MakeProvider, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """A big catalogue is stored in bulk."""
    provider = make_provider()
    listed_models = [DiscoveredModel(model_id=f"m{number}") for number in range(3000)]
    with django_assert_max_num_queries(8):
        discovery.store_models(provider, listing(*listed_models), NOTHING, timezone.now())
    assert provider.language_models.count() == 3001


def test_what_is_stale_is_due(make_provider: MakeProvider) -> None:
    """Never fetched, older than MODELS_FRESH, or failed a while ago; not what is off."""
    now = timezone.now()
    never = make_provider("Never")
    old = make_provider("Old", models_refreshed_at=now - timedelta(days=1))
    failed = make_provider(
        "Failed", models_refreshed_at=now - timedelta(minutes=6), models_error="No."
    )
    make_provider("Fresh", models_refreshed_at=now)
    make_provider("Just", models_refreshed_at=now, models_error="No.")
    make_provider("Off", enabled=False)
    assert set(discovery.find_stale(now)) == {never.pk, old.pk, failed.pk}


async def test_a_removed_provider_is_no_error(transactional_db: None) -> None:
    """It may go while its task waits."""
    assert await discovery.refresh(12345) == 0


def test_one_that_breaks_does_not_stop_the_others(
    provider: Provider, make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The task goes through all that are due."""
    make_provider("Refused", base_url="http://127.0.0.1:1/v1", preset="custom")
    tasks.refresh_stale()
    assert LanguageModel.objects.filter(provider=provider, missing_since=None).count() == len(
        fake.models
    )


def test_a_look_over_probes_and_fetches(provider: Provider) -> None:
    """What happens after a key or an address was changed."""
    tasks.look_over(provider.pk)
    provider.refresh_from_db()
    assert provider.last_health_check is not None
    assert provider.models_refreshed_at is not None


def test_the_refresh_task_fetches(provider: Provider) -> None:
    """What the button starts."""
    tasks.refresh(provider.pk)
    provider.refresh_from_db()
    assert provider.models_refreshed_at is not None
