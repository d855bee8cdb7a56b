"""The list of providers: found, ordered, paused, copied, removed and brought back."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation
from health import incidents, retention, rollups
from health.models import Incident
from providers.models import Attempt, AuditEvent, LanguageModel, Provider
from providers.operations import lifecycle
from providers.router import snapshot
from tests.providers.test_views import HTMX, SECRET

MakeProvider = Callable[..., Provider]
INDEX = "/providers/"


def html(client: Client, url: str = INDEX, **asked: str) -> str:
    return client.get(url, asked).content.decode()


def do(client: Client, name: str, provider: Provider, **sent: str) -> str:
    """Presses a button of a card; the page that follows."""
    url = reverse(f"providers:{name}", args=[provider.slug])
    return client.post(url, sent, follow=True).content.decode()


def names() -> list[str]:
    return list(Provider.objects.all().in_order().values_list("name", flat=True))


def test_the_rest_of_a_card(owner_client: Client, make_provider: MakeProvider) -> None:
    """Models that are on, the last day's share and its bars, spend: estimated where it is."""
    provider = make_provider()
    LanguageModel.objects.create(provider=provider, model_id="off", name="off", enabled=False)
    now = timezone.now()
    for outcome, cost, estimated, ago in (
        ("ok", "0.25", False, timedelta()),
        ("network", None, False, timedelta()),
        ("ok", "1.50", True, timedelta(days=2)),
        ("ok", "9", False, timedelta(days=40)),
    ):
        Attempt.objects.create(
            provider=provider,
            request_id=uuid4(),
            method="direct",
            purpose="chat",
            outcome=outcome,
            cost=cost,
            usage_estimated=estimated,
            started_at=now - ago,
        )
    rollups.roll_up(now)
    page = " ".join(html(owner_client).split())
    assert '1 <span class="muted">of 2</span>' in page
    assert "Acme: 1 of 2 requests succeeded in the last 24 hours" in page
    assert page.count("<rect") == 24
    assert '<dt>Spent today</dt><dd class="num">$0.25</dd>' in page
    assert "$1.75 <small" in page
    assert page.count("estimated</small>") == 1


def test_a_list_is_searched_and_filtered(owner_client: Client, make_provider: MakeProvider) -> None:
    """By each word, in name, vendor and address; by status, pause included."""
    make_provider("Alpha", base_url="https://api.alpha.example/v1", health_status="failing")
    make_provider("Beta", enabled=False, health_status="failing")

    def found(**asked: str) -> list[str]:
        page = html(owner_client, **asked)
        return [name for name in ("Alpha", "Beta") if f'id="card-{name.lower()}"' in page]

    assert found() == ["Alpha", "Beta"]
    assert found(q="alph EXAMPLE") == ["Alpha"]
    assert found(status="failing") == ["Alpha"]
    assert found(status="paused") == ["Beta"]
    assert found(status="nonsense") == ["Alpha", "Beta"]
    assert "No providers match" in html(owner_client, q="nobody")


def test_a_thousand_are_pages(owner_client: Client, db: None) -> None:
    """In as many queries as one, and the page stays in the address of what is polled."""
    Provider.objects.create(name="P", slug="p", base_url="http://127.0.0.1:9/v1")
    owner_client.get(INDEX, headers=HTMX)
    with CaptureQueriesContext(connection) as few:
        owner_client.get(INDEX, headers=HTMX)
    Provider.objects.all().delete()
    Provider.objects.bulk_create(
        Provider(name=f"P{n:04}", slug=f"p{n:04}", base_url="http://127.0.0.1:9/v1")
        for n in range(1000)
    )
    with CaptureQueriesContext(connection) as asked:
        page = owner_client.get(INDEX, {"page": "2"}, headers=HTMX).content.decode()
    assert len(asked) == len(few)
    assert page.count("<article") == 24
    assert "25–48 of 1000" in page
    assert "page=2" in page.partition("hx-trigger")[0]
    assert 'id="card-p0024"' in page


def test_providers_are_ordered(owner_client: Client, make_provider: MakeProvider) -> None:
    """Up and down by one place; the ends stay; a new one comes last."""
    alpha, _, gamma = (make_provider(name) for name in ("Alpha", "Beta", "Gamma"))
    do(owner_client, "move", gamma, to="up")
    assert names() == ["Alpha", "Gamma", "Beta"]
    do(owner_client, "move", alpha, to="up")
    do(owner_client, "move", alpha, to="down")
    assert names() == ["Gamma", "Alpha", "Beta"]
    make_provider("Aaa")
    assert names() == ["Gamma", "Alpha", "Beta", "Aaa"]


def test_a_move_answers_htmx_with_the_cards(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """In their new order."""
    make_provider("Alpha")
    beta = make_provider("Beta")
    url = reverse("providers:move", args=["beta"])
    page = owner_client.post(url, {"to": "up", "list": "page=1"}, headers=HTMX).content.decode()
    assert "<html" not in page
    assert page.index(f"card-{beta.slug}") < page.index("card-alpha")


def test_a_paused_provider_is_not_asked(owner_client: Client, make_provider: MakeProvider) -> None:
    """Until it is resumed; then its check is due."""
    later = timezone.now() + timedelta(hours=1)
    provider = make_provider(next_check_at=later)
    assert "Resume" in do(owner_client, "pause", provider, list="q=acme&page=1")
    assert not snapshot.load().providers
    assert "Pause" in do(owner_client, "resume", provider)
    assert list(snapshot.load().providers) == [provider.pk]
    assert Provider.objects.all().claim_due(timezone.now()) == [provider.pk]


def test_a_copy_has_everything_and_is_paused(
    owner_client: Client, owner: User, make_provider: MakeProvider
) -> None:
    """Its secrets too, which no page shows; neither health nor aliases."""
    other = make_provider("Other", "o")
    provider = make_provider(
        api_key=SECRET, extra_headers={"X-Team": SECRET}, health_status="failing"
    )
    provider.alternatives.add(other)
    provider.language_models.update(alias="quick", context=200)
    page = do(owner_client, "duplicate", provider)
    made = Provider.objects.get(slug="acme-copy")
    assert SECRET not in page
    assert "Acme copy has the same settings" in page
    assert made.api_key == SECRET
    assert snapshot.connection(made).headers == {"X-Team": SECRET}
    assert (made.enabled, made.health_status, made.created_by) == (False, "unknown", owner)
    assert list(made.alternatives.all()) == [other]
    assert made.routes.count() == provider.routes.count()
    model = made.language_models.get()
    assert (model.model_id, model.context, model.alias) == ("m", 200, "")
    provider.refresh_from_db()
    assert (provider.enabled, provider.health_status) == (True, "failing")
    assert provider.language_models.get().alias == "quick"


def test_copies_of_copies_have_names_of_their_own(owner: User, make_provider: MakeProvider) -> None:
    """However long the name is."""
    provider = make_provider("A" * 100, slug="a")
    made = [lifecycle.copy(provider, owner) for _ in range(2)]
    assert [each.name[-7:] for each in made] == ["AA copy", " copy 2"]
    assert all(len(each.name) <= 100 for each in made)


def test_before_a_removal_it_is_said_what_goes(
    owner_client: Client, owner: User, make_provider: MakeProvider
) -> None:
    """Models, routes, attempts, conversations, those that count on it."""
    provider, other = make_provider(), make_provider("Other")
    other.alternatives.add(provider)
    model = provider.language_models.get()
    Conversation.objects.create(owner=owner, language_model=model)
    page = " ".join(html(owner_client, reverse("providers:delete", args=["acme"])).split())
    assert "1 enabled model" in page
    assert "the record of 0 attempts" in page
    assert "1 conversation used its models. It stays readable" in page
    assert "It is a fallback provider for" in page
    assert "Other</a>" in page
    assert Provider.objects.count() == 2


def test_a_removed_provider_is_gone_everywhere(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Pages, checks, calls, models, alternatives, incidents, at once."""
    provider, other = make_provider(health_status="failing"), make_provider("Other", "o")
    other.alternatives.add(provider)
    now = timezone.now()
    incidents.reconcile(now)
    do(owner_client, "delete", provider)
    incidents.reconcile(now)
    known = snapshot.load()
    assert list(known.providers) == [other.pk]
    assert [model.model_id for model in known.models] == ["o"]
    assert known.providers[other.pk].alternatives == ()
    assert provider.pk not in Provider.objects.all().claim_due(timezone.now())
    assert not LanguageModel.objects.usable().filter(provider=provider).exists()
    assert Incident.objects.get().closed_at
    assert "Acme" not in html(owner_client, "/status/")
    assert "Acme" not in html(owner_client, "/chat/new/")
    for name in ("detail", "health", "models", "delete"):
        url = reverse(f"providers:{name}", args=["acme"])
        assert owner_client.get(url).status_code == 404, name
    assert owner_client.get("/status/acme/").status_code == 404
    assert "Acme" not in html(owner_client, "/models/")
    model = provider.language_models.get()
    assert owner_client.get(f"/models/{model.pk}/").status_code == 404


def test_a_removal_is_undone(owner_client: Client, make_provider: MakeProvider) -> None:
    """The page that follows offers it, and so does the list of what was removed recently."""
    provider = make_provider(api_key=SECRET)
    page = do(owner_client, "delete", provider)
    assert "<strong>Acme is removed.</strong>" in page
    assert "No providers yet" in page
    assert "Restore" in html(owner_client)
    assert "Acme is restored." in do(owner_client, "restore", provider)
    found = Provider.objects.get()
    assert (found.pk, found.api_key, found.enabled) == (provider.pk, SECRET, True)
    assert "Restore" not in html(owner_client)
    url = reverse("providers:restore", args=["acme"])
    assert owner_client.post(url).status_code == 404


def test_readers_do_not_see_what_was_removed(
    stranger_client: Client, make_provider: MakeProvider
) -> None:
    """They could not bring it back."""
    lifecycle.remove(make_provider())
    assert "Acme" not in html(stranger_client, removed="acme")


def test_a_slug_stays_taken_while_it_can_come_back(
    owner: User, make_provider: MakeProvider
) -> None:
    """Or an undo would fail."""
    lifecycle.remove(make_provider())
    again = Provider(name="Acme", base_url="http://127.0.0.1:9/v1")
    lifecycle.save_new(again)
    assert again.slug == "acme-2"


def test_a_week_later_it_is_deleted_for_good(make_provider: MakeProvider) -> None:
    """With all that hangs on it; a younger one is kept."""
    old, young = make_provider("Old"), make_provider("Young")
    for provider in (old, young):
        Attempt.objects.create(
            provider=provider, request_id=uuid4(), method="direct", purpose="chat", outcome="ok"
        )
        lifecycle.remove(provider)
    now = timezone.now()
    Provider.with_removed.filter(pk=old.pk).update(removed_at=now - timedelta(days=7.1))
    retention.prune(now)
    assert list(Provider.with_removed.all()) == [young]
    assert Attempt.objects.get().provider == young


def test_it_is_noted_who_did_what(owner_client: Client, make_provider: MakeProvider) -> None:
    """In one event each, without the keys; nothing where nothing changed."""
    make_provider("Other")
    provider = make_provider("Zeta", api_key=SECRET)
    do(owner_client, "move", provider, to="up")
    for name in ("pause", "pause", "resume", "duplicate", "delete", "restore"):
        do(owner_client, name, provider)
    events = list(AuditEvent.objects.order_by("pk"))
    verbs = ["moved", "paused", "resumed", "created", "removed", "restored"]
    assert [each.verb for each in events] == verbs
    assert {each.username for each in events} == {"alice"}
    assert events[1].changes == {"enabled": ["True", "False"]}
    assert events[3].changes == {"copy of": ["", "Zeta"]}
    assert SECRET not in str([each.changes for each in events])
