"""The Models page: found by address, changed in bulk, taken back; one model in detail."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from providers.models import (
    AuditEvent,
    BulkChange,
    Favourite,
    LanguageModel,
    ParameterPreset,
    Provider,
)
from providers.operations import lifecycle
from providers.router import snapshot

MakeProvider = Callable[..., Provider]
HTMX = {"HX-Request": "true"}


def url(name: str, *args: object, query: str = "") -> str:
    return reverse(f"models:{name}", args=args) + query


@pytest.fixture
def provider(make_provider: MakeProvider) -> Provider:
    """Sixty models of a family, and one of another."""
    provider = make_provider("Acme", "gpt-4o")
    LanguageModel.objects.bulk_create(
        LanguageModel(provider=provider, model_id=f"glm-{n:02}", name=f"GLM {n:02}")
        for n in range(60)
    )
    return provider


def test_without_models_the_next_step_is_shown(owner_client: Client) -> None:
    """A first visit is not a dead end."""
    assert "No models yet" in owner_client.get(url("index")).content.decode()


def test_filters_live_in_the_address(owner_client: Client, provider: Provider) -> None:
    """A plain GET shows what htmx would, page by page."""
    html = owner_client.get(url("index", query="?q=glm")).content.decode()
    assert "60 models" in html
    assert "Page 1 of 2" in html
    assert "gpt-4o" not in html
    part = owner_client.get(url("index", query="?q=glm&page=2"), headers=HTMX)
    assert "<html" not in part.content.decode()
    assert part.headers["HX-Push-Url"] == url("index", query="?q=glm&page=2")
    assert "GLM 59" in part.content.decode()


@pytest.mark.parametrize(
    "query", ["?page=99999999", "?page=x", "?provider=nobody", "?q=%00", "?price=1e9&order=x"]
)
def test_a_strange_address_is_no_error(
    owner_client: Client, provider: Provider, query: str
) -> None:
    """What cannot be looked for is not."""
    assert owner_client.get(url("index", query=query)).status_code == 200


def test_exactly_what_is_filtered_is_switched_and_taken_back(
    owner_client: Client, provider: Provider
) -> None:
    """All pages of it and nothing else; it says how many, and undo restores each one."""
    LanguageModel.objects.filter(model_id="glm-07").update(enabled=False)
    response = owner_client.post(url("bulk", query="?q=glm"), {"enabled": "off"}, follow=True)
    assert "59 models disabled." in response.content.decode()
    served = {model.model_id for model in snapshot.load().models}
    assert served == {"gpt-4o"}
    owner_client.post(url("undo"))
    off = LanguageModel.objects.filter(enabled=False)
    assert [model.model_id for model in off] == ["glm-07"]
    assert not BulkChange.objects.exists()


def test_presets_are_given_to_what_is_filtered(owner_client: Client, provider: Provider) -> None:
    """Each model is given what it takes, and undo brings back what it had."""
    LanguageModel.objects.filter(model_id="glm-01").update(
        takes=["max_tokens"], output_limit=100, parameters={"stop": "x"}
    )
    preset = ParameterPreset.objects.create(
        name="Sober", values={"temperature": 0.2, "max_tokens": 500}
    )
    owner_client.post(url("bulk", query="?q=glm"), {"preset": preset.pk})
    given = dict(LanguageModel.objects.values_list("model_id", "parameters"))
    assert given["glm-00"] == {"temperature": 0.2, "max_tokens": 500}
    assert given["glm-01"] == {"stop": "x", "max_tokens": 100}
    assert given["gpt-4o"] == {}
    owner_client.post(url("undo"))
    given = dict(LanguageModel.objects.values_list("model_id", "parameters"))
    assert (given["glm-00"], given["glm-01"]) == ({}, {"stop": "x"})


def test_an_undo_overrules_nobody(owner_client: Client, provider: Provider) -> None:
    """What somebody has changed since stays, which is said; the undo is an audit event."""
    preset = ParameterPreset.objects.create(name="Sober", values={"temperature": 0.2})
    owner_client.post(url("bulk", query="?q=glm"), {"preset": preset.pk})
    LanguageModel.objects.filter(model_id="glm-01").update(parameters={"temperature": 0.9})
    page = owner_client.post(url("undo"), follow=True).content.decode()
    assert "59 models restored. 1 model changed since then" in page
    given = dict(LanguageModel.objects.values_list("model_id", "parameters"))
    assert (given["glm-00"], given["glm-01"]) == ({}, {"temperature": 0.9})
    event = AuditEvent.objects.get(verb="undone")
    assert (event.username, event.subject) == (
        "alice",
        "Preset Sober applied to 60 models.",
    )
    assert event.changes == {"models": ["", "59 models restored; 1 changed since"]}


@pytest.mark.parametrize("name", ["show", "use", "favourite", "toggle-model", "remove-model"])
def test_the_models_of_a_removed_provider_are_gone(
    owner_client: Client, provider: Provider, name: str
) -> None:
    """By their number as well, until the provider is brought back."""
    model = provider.language_models.get(model_id="gpt-4o")
    page = url(name, model.pk) if name in ("show", "use", "favourite") else ""
    page = page or reverse(f"providers:{name}", args=[provider.slug, model.pk])
    lifecycle.remove(provider)
    assert owner_client.post(page, {"enabled": ""}).status_code == 404
    model.refresh_from_db()
    assert model.enabled


def test_readers_read_and_have_favourites(
    stranger_client: Client, stranger: User, provider: Provider
) -> None:
    """What changes it for everybody is the operators'."""
    model = provider.language_models.get(model_id="gpt-4o")
    assert "Disable all" not in stranger_client.get(url("index")).content.decode()
    for name, args in (("bulk", ()), ("undo", ()), ("use", (model.pk,)), ("show", (model.pk,))):
        assert stranger_client.post(url(name, *args), {"alias": "x"}).status_code == 403
    assert stranger_client.get(url("presets")).status_code == 403
    row = stranger_client.post(
        url("favourite", model.pk), {"favourite": "on"}, headers=HTMX
    ).content.decode()
    assert 'aria-pressed="true"' in row
    assert Favourite.objects.get().user == stranger
    stranger_client.post(url("favourite", model.pk), {"favourite": "off"})
    assert not Favourite.objects.exists()


def test_a_model_says_who_reported_what(owner_client: Client, provider: Provider) -> None:
    """Each fact has its source."""
    model = provider.language_models.get(model_id="gpt-4o")
    model.context, model.sources = 128_000, {"context": "litellm"}
    model.save()
    html = owner_client.get(url("show", model.pk)).content.decode()
    assert "128k tokens" in html
    assert "LiteLLM price list" in html


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"alias": "fast one"}, "An alias must not contain spaces."),
        ({"alias": "quick"}, "GLM 00 of Acme has this alias already."),
        ({"alias": "acme/glm-01"}, "This is the full name of another model."),
        ({"temperature": "hot"}, "Enter a number."),
        ({"temperature": "3"}, "less than or equal to 2"),
        ({"max_tokens": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_reported_at_its_field(
    owner_client: Client, provider: Provider, typed: dict[str, str], problem: str
) -> None:
    """And what was typed is still there."""
    provider.language_models.filter(model_id="glm-00").update(alias="quick")
    model = provider.language_models.get(model_id="gpt-4o")
    response = owner_client.post(url("show", model.pk), typed)
    html = response.content.decode()
    assert response.status_code == 422
    assert problem in html
    assert f'value="{next(iter(typed.values()))}"' in html


def test_alias_and_parameters_are_saved(owner_client: Client, provider: Provider) -> None:
    """An empty field is not sent; what has no field here is kept."""
    model = provider.language_models.get(model_id="gpt-4o")
    model.parameters = {"response_format": {"type": "text"}, "top_p": 1}
    model.save()
    typed = {"alias": "fast", "temperature": "0.2", "top_p": "", "seed": "7"}
    assert owner_client.post(url("show", model.pk), typed).status_code == 302
    model.refresh_from_db()
    assert model.alias == "fast"
    assert model.parameters == {
        "response_format": {"type": "text"},
        "temperature": 0.2,
        "seed": 7,
    }


def test_presets_are_made_changed_applied_and_removed(
    owner_client: Client, provider: Provider
) -> None:
    """A preset without a value, or of a name that is taken, is refused at the form."""
    assert "at least one" in owner_client.post(url("presets"), {"name": "A"}).content.decode()
    owner_client.post(url("presets"), {"name": "A", "temperature": "0"})
    preset = ParameterPreset.objects.get()
    again = owner_client.post(url("presets"), {"name": "a", "seed": "1"})
    assert "A preset with this name exists already." in again.content.decode()
    owner_client.post(url("preset", preset.pk), {"name": "B", "temperature": "0.5"})
    model = provider.language_models.get(model_id="gpt-4o")
    owner_client.post(url("apply", model.pk), {"preset": preset.pk})
    model.refresh_from_db()
    assert model.parameters == {"temperature": 0.5}
    owner_client.post(url("remove-preset", preset.pk))
    assert not ParameterPreset.objects.exists()
