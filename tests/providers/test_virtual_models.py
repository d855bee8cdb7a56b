"""The pages of virtual models: who may change them, what they store, what they say."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from providers.models import AuditEvent, LanguageModel, Provider, VirtualMember, VirtualModel
from tests import fakes

MakeProvider = Callable[..., Provider]


def typed(**changes: Any) -> dict[str, Any]:
    values = {"name": "fast", "strategy": "priority", "description": "", "notes": ""}
    return values | {"enabled": "on"} | changes


@pytest.fixture
def virtual(make_provider: MakeProvider) -> VirtualModel:
    """`fast`, of the models of Acme and Beta."""
    made = VirtualModel.objects.create(name="fast")
    for position, name in enumerate(("Acme", "Beta")):
        model = make_provider(name).language_models.get()
        VirtualMember.objects.create(virtual_model=made, model=model, position=position)
    return made


def names(virtual: VirtualModel) -> list[str]:
    rows = virtual.members.select_related("model__provider")
    return [row.model.provider.slug for row in rows]


def page(virtual: VirtualModel) -> str:
    return reverse("virtual_models:edit", args=[virtual.pk])


def press(client: Client, virtual: VirtualModel, slug: str, **sent: Any) -> None:
    member = virtual.members.get(model__provider__slug=slug)
    url = reverse("virtual_models:change-member", args=[virtual.pk, member.pk])
    assert client.post(url, sent).status_code == 302


def test_it_is_created_and_its_members_are_added(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Each step is in the audit log."""
    make_provider()
    created = owner_client.post(reverse("virtual_models:new"), typed(strategy="cheapest"))
    virtual = VirtualModel.objects.get()
    assert created.headers["location"] == page(virtual)
    add = reverse("virtual_models:add-member", args=[virtual.pk])
    assert owner_client.post(add, {"model": "acme/m", "weight": "3"}).status_code == 302
    member = virtual.members.get()
    assert (virtual.strategy, member.model.model_id, member.weight) == ("cheapest", "m", 3)
    events = list(AuditEvent.objects.order_by("pk").values_list("verb", "subject", "changes"))
    assert [verb for verb, _, _ in events] == ["created", "changed"]
    assert events[1][2] == {"members": ["", "acme/m x3"]}


def test_a_name_of_another_model_is_refused(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Its alias or full name; a plain model id may be taken on purpose."""
    make_provider().language_models.update(alias="quick")
    for name in ("quick", "acme/m"):
        answer = owner_client.post(reverse("virtual_models:new"), typed(name=name))
        assert answer.status_code == 422
        assert "This name already means m of Acme." in answer.content.decode()
    assert owner_client.post(reverse("virtual_models:new"), typed(name="m")).status_code == 302


def test_an_alias_must_not_be_the_name_of_a_virtual_model(
    owner_client: Client, virtual: VirtualModel
) -> None:
    """The same the other way round."""
    model = LanguageModel.objects.first()
    assert model
    answer = owner_client.post(reverse("models:show", args=[model.pk]), {"alias": "fast"})
    assert "This is the name of a virtual model." in answer.content.decode()


def test_an_unknown_model_is_refused_and_stays_typed(
    owner_client: Client, virtual: VirtualModel
) -> None:
    """Beside its field."""
    url = reverse("virtual_models:add-member", args=[virtual.pk])
    answer = owner_client.post(url, {"model": "acme/gone", "weight": "1"})
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "There is no model with this name." in html
    assert 'value="acme/gone"' in html


def test_members_are_ordered_weighed_paused_and_removed(
    owner_client: Client, virtual: VirtualModel
) -> None:
    """With buttons alone; the last one cannot move further."""
    press(owner_client, virtual, "beta", do="up")
    assert names(virtual) == ["beta", "acme"]
    press(owner_client, virtual, "beta", do="up")
    press(owner_client, virtual, "beta", do="down")
    assert names(virtual) == ["acme", "beta"]
    press(owner_client, virtual, "beta", do="weigh", weight="7")
    press(owner_client, virtual, "beta", do="weigh", weight="x")
    press(owner_client, virtual, "beta", do="pause")
    beta = virtual.members.get(model__provider__slug="beta")
    assert (beta.weight, beta.enabled) == (7, False)
    press(owner_client, virtual, "beta", do="resume")
    press(owner_client, virtual, "acme", do="remove")
    assert names(virtual) == ["beta"]
    last = AuditEvent.objects.order_by("-pk")[0]
    assert last.changes == {"members": ["acme/m x1, beta/m x7", "beta/m x7"]}


def test_the_list_says_what_would_happen_to_the_next_request(
    owner_client: Client, virtual: VirtualModel
) -> None:
    """From the state that requests use."""
    html = owner_client.get(reverse("virtual_models:index")).content.decode()
    assert "Next request: acme/m answers (first in order); if it fails, beta/m." in html
    Provider.objects.get(slug="acme").routes.update(state="open", consecutive_failures=5)
    html = owner_client.get(reverse("virtual_models:index")).content.decode()
    assert "beta/m answers; no other member can take its place." in html
    assert "acme/m is skipped: direct is disabled" in html


def test_the_list_takes_the_same_queries_however_long_it_is(
    owner_client: Client, virtual: VirtualModel, django_assert_max_num_queries: Any
) -> None:
    """Sentences included."""
    model = LanguageModel.objects.earliest("pk")
    for number in range(6):
        more = VirtualModel.objects.create(name=f"more-{number}")
        VirtualMember.objects.create(virtual_model=more, model=model)
    with django_assert_max_num_queries(12):
        owner_client.get(reverse("virtual_models:index"))


@pytest.mark.django_db(transaction=True)
def test_only_operators_change_them(stranger_client: Client, virtual: VirtualModel) -> None:
    """Everybody reads the list, and has favourites."""
    pk = virtual.pk
    assert stranger_client.get(reverse("virtual_models:index")).status_code == 200
    for name in ("edit", "delete", "test"):
        assert stranger_client.get(reverse(f"virtual_models:{name}", args=[pk])).status_code == 403
    assert stranger_client.get(reverse("virtual_models:new")).status_code == 403
    member = virtual.members.first()
    assert member
    for url in (
        reverse("virtual_models:add-member", args=[pk]),
        reverse("virtual_models:change-member", args=[pk, member.pk]),
    ):
        assert stranger_client.post(url, {"do": "remove"}).status_code == 403
    star = reverse("virtual_models:favourite", args=[pk])
    stranger_client.post(star, {"favourite": "on"})
    assert virtual.favoured_by.count() == 1
    stranger_client.post(star, {"favourite": "off"})
    assert virtual.favoured_by.count() == 0


def test_it_is_removed_after_a_question(owner_client: Client, virtual: VirtualModel) -> None:
    """The models stay."""
    url = reverse("virtual_models:delete", args=[virtual.pk])
    assert owner_client.get(url).status_code == 200
    owner_client.post(url)
    assert not VirtualModel.objects.exists()
    assert LanguageModel.objects.count() == 2
    assert AuditEvent.objects.get().verb == "deleted"


@pytest.mark.django_db(transaction=True)
def test_all_members_are_tested_side_by_side(
    owner_client: Client, make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """One row each; what fails says why, and each test is an attempt."""
    virtual = VirtualModel.objects.create(name="fast")
    for name, model_id in (("Acme", "echo"), ("Beta", "401")):
        provider = make_provider(name, model_id, base_url=fake.url, api_key=fakes.KEY)
        VirtualMember.objects.create(virtual_model=virtual, model=provider.language_models.get())
    url = reverse("virtual_models:test", args=[virtual.pk])
    html = owner_client.post(url, headers={"hx-request": "true"}).content.decode()
    assert html.count("Answered") == html.count("Failed") == 1
    assert "Incorrect API key provided." in html
    assert "<html" not in html
    assert {row.slug for row in Provider.objects.filter(attempts__purpose="test")} == {
        "acme",
        "beta",
    }
