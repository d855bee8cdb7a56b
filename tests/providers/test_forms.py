"""The provider form: what it accepts, what it refuses, and what it never shows again."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from providers.forms import AddModelForm, ProviderForm
from providers.models import Attempt, Provider
from providers.router.snapshot import connection
from providers.vendors import presets

MakeProvider = Callable[..., Provider]
SECRET = "sk-secret-0123456789wxyz"


def values(**changed: object) -> dict[str, object]:
    """What the browser sends for a good provider."""
    return {
        "name": "My server",
        "preset": "custom",
        "kind": "openai",
        "base_url": "https://api.example.com/v1",
        "provider_type": "hybrid",
        "routing_method": "auto",
        "prefer_direct": "on",
        "fallback_enabled": "on",
        "health_check_interval": "60",
        "chat_probe_cap": "0.05",
        "parameters": "",
        "reasoning_tags": "default",
        "enabled": "on",
    } | changed


def errors(**changed: object) -> dict[str, list[str]]:
    form = ProviderForm(values(**changed))
    return {name: [str(e) for e in found] for name, found in form.errors.items()}


def test_it_works(owner: User) -> None:
    """A new provider has a slug, both routes, its key and who added it."""
    form = ProviderForm(values(api_key=SECRET, extra_headers="X-Team: blue\nX-Org: 7"))
    assert form.is_valid(), form.errors
    provider = Provider.objects.get(pk=form.store(owner).pk)
    assert (provider.slug, provider.api_key, provider.created_by) == ("my-server", SECRET, owner)
    assert connection(provider).headers == {"X-Team": "blue", "X-Org": "7"}
    assert provider.key_set_at is not None
    assert provider.routes.count() == 2
    assert form.has_new_connection


@pytest.mark.parametrize("name", ["My server", "new", "test", "fix", "日本"])
def test_slugs_are_unique_and_never_a_pages_name(owner: User, name: str) -> None:
    """Two providers of one name, and names that are addresses of their own."""
    slugs = set()
    for _ in range(2):
        form = ProviderForm(values(name=name))
        assert form.is_valid()
        slugs.add(form.store(owner).slug)
    assert len(slugs) == 2
    assert not slugs & {"new", "test", "fix", ""}


def test_an_address_is_tidied_and_the_change_is_reported(db: None) -> None:
    """For the message after saving."""
    form = ProviderForm(values(base_url="https://a.example/v1/chat/completions"))
    assert form.is_valid()
    assert form.cleaned_data["base_url"] == "https://a.example/v1"
    assert "was removed" in form.changes["base_url"][0]


def test_the_name_of_a_container_is_an_address(db: None) -> None:
    """Django's URL field would refuse a host without a dot."""
    assert errors(base_url="http://ollama:11434/v1", gateway_endpoint="http://litellm:4000") == {}


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("name", "", "required"),
        ("base_url", "", "required"),
        ("base_url", "nonsense", "Invalid endpoint"),
        ("base_url", "https://a.example/v1/v1", "twice"),
        ("gateway_endpoint", "nonsense", "Invalid endpoint"),
        ("api_key", "two words", "no spaces"),
        ("api_key", "schlüssel", "accents"),
        ("extra_headers", "No colon", "Name: value"),
        ("extra_headers", "X-Empty:", "Name: value"),
        ("extra_headers", "Bad name: x", "not a valid header name"),
        ("extra_headers", "Host: evil.example", "set by the HTTP client"),
        ("extra_headers", "X-Ok: 1\nX-Bad: ü", "Line 2"),
        ("health_check_interval", "soon", "whole number"),
    ],
)
def test_what_is_wrong_is_reported_beside_its_field(
    db: None, field: str, value: str, shown: str
) -> None:
    """And nowhere else."""
    found = errors(**{field: value})
    assert list(found) == [field]
    assert shown in found[field][0]


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "API-Key"])
def test_a_header_that_replaces_the_key_is_warned_of(owner: User, name: str) -> None:
    """As it is typed, and for as long as it is stored; its value is not shown."""
    form = ProviderForm(values(api_key=SECRET, extra_headers=f"{name}: Basic c2VjcmV0"))
    assert form.is_valid()
    assert "in place of the API key" in form.changes["extra_headers"][0]
    stored = ProviderForm(instance=form.store(owner))
    hint = str(stored.fields["extra_headers"].help_text)
    assert f"Your own {name} header is sent in place of the API key." in hint
    assert "c2VjcmV0" not in hint


def test_a_header_cannot_smuggle_a_second_one(db: None) -> None:
    """A carriage return ends the line."""
    found = errors(extra_headers="X-A: 1\rEvil")
    assert "extra_headers" in found


def test_a_vendor_that_needs_a_key_says_so(db: None) -> None:
    """A server of one's own does not."""
    assert "OpenAI needs a key." in errors(preset="openai")["api_key"]
    assert errors(preset="ollama") == {}


def test_blank_secrets_keep_what_is_stored(owner: User, make_provider: MakeProvider) -> None:
    """And nothing was changed, so the routes keep what they learned."""
    provider = make_provider(
        api_key=SECRET, gateway_api_key="sk-gateway-1234", extra_headers={"X-Team": "blue"}
    )
    provider.routes.update(proven=True)
    form = ProviderForm(values(name="Renamed", base_url=provider.base_url), instance=provider)
    assert form.is_valid(), form.errors
    form.store(owner)
    stored = Provider.objects.get()
    assert (stored.name, stored.slug) == ("Renamed", "acme")
    assert (stored.api_key, stored.gateway_api_key) == (SECRET, "sk-gateway-1234")
    assert connection(stored).headers == {"X-Team": "blue"}
    assert not form.has_new_connection
    assert stored.routes.filter(proven=True).count() == 2


def test_secrets_can_be_removed(owner: User, make_provider: MakeProvider) -> None:
    """In so many words, not by leaving the field empty."""
    provider = make_provider(
        api_key=SECRET, gateway_api_key="sk-gateway-1234", extra_headers={"X-Team": "blue"}
    )
    removed = {"remove_key": "on", "remove_headers": "on", "remove_gateway_key": "on"}
    form = ProviderForm(values(base_url=provider.base_url, **removed), instance=provider)
    assert form.is_valid()
    form.store(owner)
    stored = Provider.objects.get()
    assert (stored.api_key, stored.gateway_api_key, connection(stored).headers) == ("", "", {})
    assert stored.key_set_at is None


def test_a_new_key_makes_every_route_start_anew(owner: User, make_provider: MakeProvider) -> None:
    """What failed with the old one may work with this one."""
    provider = make_provider(api_key=SECRET, health_status="failing")
    provider.routes.update(state="open", last_kind="auth")
    form = ProviderForm(
        values(base_url=provider.base_url, api_key="sk-other-key-12345"), instance=provider
    )
    assert form.is_valid()
    form.store(owner)
    stored = Provider.objects.get()
    assert stored.health_status == "unknown"
    assert set(stored.routes.values_list("state", flat=True)) == {"closed"}


def test_another_gateway_is_another_route(owner: User, make_provider: MakeProvider) -> None:
    """The row of the former endpoint goes."""
    provider = make_provider()
    form = ProviderForm(
        values(base_url=provider.base_url, gateway_endpoint="http://litellm:4000"),
        instance=provider,
    )
    assert form.is_valid()
    form.store(owner)
    assert set(provider.routes.values_list("endpoint", flat=True)) == {"", "http://litellm:4000"}


def test_secrets_are_in_no_html(make_provider: MakeProvider) -> None:
    """Stored or typed: neither comes back, not even in a form that is shown again."""
    provider = make_provider(
        api_key=SECRET, gateway_api_key=SECRET, extra_headers={"X-Team": SECRET}
    )
    typed = "sk-typed-9876543210"
    bound = ProviderForm(
        values(
            name="",
            api_key=typed,
            gateway_api_key=typed,
            extra_headers=f"Authorization: {typed}",
        ),
        instance=provider,
    )
    html = f"{ProviderForm(instance=provider)}{bound}"
    assert SECRET not in html
    assert typed not in html
    assert "…wxyz" in html
    assert "X-Team" in html
    assert bound.has_blanked_secrets()


@pytest.mark.parametrize(
    ("path", "preset"),
    [("/api/coding/paas/v4", "zai-coding"), ("/api/paas/v4", "zai")],
)
def test_zais_preset_goes_with_its_address(db: None, path: str, preset: str) -> None:
    """What the plan forbids must hold once the address was fixed."""
    form = ProviderForm(values(preset="zai", base_url=f"https://api.z.ai{path}", api_key=SECRET))
    assert form.is_valid()
    assert form.instance.preset == preset


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda preset: preset.slug)
def test_a_preset_fills_the_form(db: None, preset: presets.Preset) -> None:
    """Only the key, or the address of something unknown, is left to type."""
    form = ProviderForm.for_preset(preset)
    assert form["base_url"].value() == preset.base_url
    assert form["routing_method"].value() == preset.routing_method
    assert form.fields["api_key"].required == preset.needs_key


def test_a_test_takes_the_stored_key_where_none_was_typed(make_provider: MakeProvider) -> None:
    """And the typed one where there is one."""
    provider = make_provider(base_url="https://api.example.com/v1", api_key=SECRET)
    for typed, used in (("", SECRET), ("sk-typed-123456", "sk-typed-123456")):
        form = ProviderForm(values(api_key=typed), instance=provider)
        assert form.is_valid()
        assert form.connection().api_key == used
        assert used not in repr(form.connection())


def test_a_model_is_added_by_hand_once(make_provider: MakeProvider) -> None:
    """One that is listed already is refused."""
    provider = make_provider()
    form = AddModelForm({"model_id": "own"}, provider=provider)
    assert form.is_valid()
    assert form.store().source == "manual"
    assert not AddModelForm({"model_id": "own"}, provider=provider).is_valid()


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"base_url": "https://evil.example/v1"}, {"api_key", "extra_headers"}),
        ({"base_url": "http://api.example.com/v1"}, {"api_key", "extra_headers"}),
        ({"base_url": "https://api.example.com:8443/v1"}, {"api_key", "extra_headers"}),
        ({"gateway_endpoint": "https://evil.example"}, {"gateway_api_key"}),
        ({"base_url": "https://API.example.com:443/other/v1"}, set()),
        ({"gateway_endpoint": ""}, set()),
        (
            {
                "base_url": "https://new.example/v1",
                "api_key": "sk-typed-anew-0123456789",
                "remove_headers": "on",
            },
            set(),
        ),
    ],
)
def test_a_stored_secret_stays_with_the_server_it_was_typed_for(
    make_provider: MakeProvider, changed: dict[str, object], refused: set[str]
) -> None:
    """Neither saving nor testing sends it to an address that somebody typed since."""
    provider = make_provider(
        base_url="https://api.example.com/v1",
        api_key=SECRET,
        extra_headers={"X-Team": "blue"},
        gateway_endpoint="https://litellm.example",
        gateway_api_key=SECRET,
    )
    address = {"gateway_endpoint": "https://litellm.example"}
    form = ProviderForm(values(**(address | changed)), instance=provider)
    assert set(form.errors) == refused


def test_what_limits_calls_and_who_stands_in_is_stored(
    owner: User, make_provider: MakeProvider
) -> None:
    """And removed again; a provider is never its own fallback."""
    provider, other = make_provider(), make_provider("Spare")
    typed = values(
        name="Acme",
        base_url=provider.base_url,
        alternatives=[other.pk],
        concurrency="3",
        chat_probe="on",
        chat_probe_cap="0.20",
        reasoning_tags="keep",
    )
    form = ProviderForm(typed, instance=provider)
    assert form.is_valid(), form.errors
    form.store(owner)
    stored = Provider.objects.get(pk=provider.pk)
    assert list(stored.alternatives.all()) == [other]
    assert (stored.concurrency, stored.chat_probe) == (3, True)
    assert (stored.reasoning_tags, stored.splits_reasoning) == ("keep", False)
    assert stored.chat_probe_cap == Decimal("0.20")
    assert not form.has_new_connection
    own = ProviderForm(values(alternatives=[provider.pk]), instance=provider)
    assert "alternatives" in own.errors
    form = ProviderForm(values(base_url=provider.base_url), instance=stored)
    assert form.is_valid()
    form.store(owner)
    assert not stored.alternatives.exists()


@pytest.mark.parametrize(("field", "value"), [("concurrency", "0"), ("chat_probe_cap", "-1")])
def test_limits_that_make_no_sense_are_refused(db: None, field: str, value: str) -> None:
    """Beside their field."""
    assert list(errors(**{field: value})) == [field]


def test_terms_that_forbid_chats_are_kept(owner: User) -> None:
    """Whatever the browser sends."""
    typed = values(
        preset="zai-coding", base_url="https://api.z.ai/api/coding/paas/v4", chat_probe="on"
    )
    form = ProviderForm(typed | {"api_key": SECRET})
    assert form.is_valid(), form.errors
    assert not form.store(owner).chat_probe


ZAI = {"preset": "zai-coding", "base_url": "https://api.z.ai/api/coding/paas/v4"}


def test_a_key_of_the_environment_is_offered_and_never_shown(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is on the form; with the box ticked its value is stored."""
    preset = presets.get("zai-coding")
    assert "environment_key" not in ProviderForm.for_preset(preset).fields
    monkeypatch.setenv("ZAI_API_KEY", SECRET)
    html = ProviderForm.for_preset(preset).as_p()
    assert "Use ZAI_API_KEY" in html
    assert SECRET not in html
    form = ProviderForm(values(environment_key="on", **ZAI))
    assert form.is_valid(), form.errors
    assert form.store(owner).api_key == SECRET
    assert SECRET not in form.as_p()


def test_a_key_of_the_environment_may_stand_in_a_file(
    db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As container secrets do; a file that is not there is no key."""
    file = tmp_path / "key"
    monkeypatch.setenv("ZAI_API_KEY_FILE", str(file))
    assert "environment_key" not in ProviderForm(values(**ZAI)).fields
    file.write_text(f"{SECRET}\n")
    form = ProviderForm(values(environment_key="on", **ZAI))
    assert form.is_valid()
    assert form.connection().api_key == SECRET


@pytest.mark.parametrize(
    "changed", [{"base_url": "https://evil.example/v1"}, {"api_key": "sk-another-key-0123"}]
)
def test_a_key_of_the_environment_goes_to_its_vendor_alone(
    db: None, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    """Nor is it clear which of two keys is meant."""
    monkeypatch.setenv("ZAI_API_KEY", SECRET)
    form = ProviderForm(values(**ZAI | changed, environment_key="on"))
    assert list(form.errors) == ["environment_key"]
    assert SECRET not in str(form.errors)


def test_no_other_variable_can_be_asked_for(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of nobody has no variable."""
    monkeypatch.setenv("ZAI_API_KEY", SECRET)
    for preset in ("custom", "openai", "ZAI_API_KEY", ""):
        assert "environment_key" not in ProviderForm(values(preset=preset)).fields


def test_the_headers_of_a_vendor_have_fields_of_their_own(owner: User) -> None:
    """Filled ones are stored beside those that were typed, and win over the same name."""
    form = ProviderForm(
        values(
            preset="openrouter",
            api_key=SECRET,
            header_0="https://me.example",
            extra_headers="http-referer: https://old.example\nX-Team: blue",
        )
    )
    assert form.is_valid(), form.errors
    stored = connection(form.store(owner)).headers
    assert stored == {"HTTP-Referer": "https://me.example", "X-Team": "blue"}
    assert "https://me.example" not in ProviderForm(instance=form.instance).as_p()
    assert "header_1" in errors(preset="openrouter", api_key=SECRET, header_1="ü")


def test_a_stored_key_reports_who_brought_it_and_when_it_was_used(
    owner: User, make_provider: MakeProvider
) -> None:
    """Its last four, its day, and how long ago anything went out with it."""
    form = ProviderForm(values(api_key=SECRET))
    assert form.is_valid()
    provider = form.store(owner)
    shown = ProviderForm(instance=provider).fields["api_key"].help_text
    assert f"…{SECRET[-4:]} is stored, added by {owner} on" in shown
    assert "not used yet" in shown
    Attempt.objects.create(
        provider=provider, request_id=uuid4(), method="direct", purpose="chat", outcome="ok"
    )
    assert "last used just now" in ProviderForm(instance=provider).fields["api_key"].help_text


def test_who_may_stand_in_is_found_by_typing_where_there_are_many(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """The checkboxes themselves are plain; Enter in the filter saves nothing."""
    first = make_provider()
    page = reverse("providers:detail", args=[first.slug])
    for n in range(9):
        assert "Find a provider" not in owner_client.get(page).content.decode()
        make_provider(f"Spare-{n}")
    html = owner_client.get(page).content.decode()
    assert 'form="none" data-filter="#id_alternatives > div"' in html
    assert html.count('name="alternatives"') == 9


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("", {}), ('{"temperature": 0.2}', {"temperature": 0.2}), ("[1]", None), ("{", None)],
)
def test_parameters_are_an_object_or_nothing(
    typed: str, stored: dict[str, object] | None, owner: User
) -> None:
    """What is none is said at its field."""
    form = ProviderForm(values(parameters=typed))
    assert form.is_valid() is (stored is not None)
    if stored is None:
        assert form.errors["parameters"] == [
            'Enter an object in JSON, such as {"temperature": 0.2}.'
        ]
    else:
        assert form.store(owner).parameters == stored


ADVANCED = {
    "routing_method": "direct",
    "prefer_direct": "",
    "fallback_enabled": "",
    "provider_type": "legacy",
    "gateway_endpoint": "http://litellm:4000",
    "kind": "anthropic",
    "gateway_api_key": SECRET,
    "extra_headers": "X-Team: blue",
    "concurrency": "3",
    "health_check_interval": "90",
    "chat_probe": "on",
    "chat_probe_cap": "0.20",
    "enabled": "",
    "parameters": '{"temperature": 0.2}',
    "reasoning_tags": "keep",
}


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda preset: preset.slug)
def test_advanced_is_closed_while_every_value_is_the_default(
    db: None, preset: presets.Preset
) -> None:
    """For a new form of each vendor; its advanced fields all state their default."""
    form = ProviderForm.for_preset(preset)
    assert not form.is_advanced_open()
    assert form["parameters"].value() == ""
    stated = {*ADVANCED, "alternatives", *(field.name for field in form.header_fields)}
    if not preset.probe_chat_allowed:
        stated.remove("chat_probe")
    silent = [name for name in stated if "Default: " not in str(form.fields[name].help_text)]
    assert silent == []


def test_advanced_stays_closed_for_an_error_in_a_basic_field(db: None) -> None:
    """What was sent by the browser equals the defaults as well."""
    form = ProviderForm(values(name="", base_url="nonsense"))
    assert set(form.errors) == {"name", "base_url"}
    assert not form.is_advanced_open()


@pytest.mark.parametrize("name", ADVANCED)
def test_advanced_opens_for_a_changed_value(owner: User, name: str) -> None:
    """As typed, and as stored."""
    form = ProviderForm(values(**{name: ADVANCED[name]}))
    assert form.is_advanced_open()
    assert form.is_valid(), form.errors
    stored = Provider.objects.get(pk=form.store(owner).pk)
    assert ProviderForm(instance=stored).is_advanced_open()


def test_advanced_opens_for_a_fallback_provider(make_provider: MakeProvider) -> None:
    """A relation, compared by its rows."""
    provider, other = make_provider(base_url="https://api.example.com/v1"), make_provider("Other")
    assert not ProviderForm(instance=provider).is_advanced_open()
    provider.alternatives.add(other)
    assert ProviderForm(instance=provider).is_advanced_open()
    assert ProviderForm(values(alternatives=[other.pk]), instance=provider).is_advanced_open()


@pytest.mark.parametrize(
    ("name", "value"),
    [("concurrency", "0"), ("extra_headers", "x"), ("gateway_endpoint", "nonsense")],
)
def test_advanced_opens_for_an_error(owner_client: Client, name: str, value: str) -> None:
    """The marked field is in sight."""
    response = owner_client.post(reverse("providers:new"), values(**{name: value}))
    assert response.status_code == 422
    assert '<details class="fold" id="advanced" open>' in response.content.decode()


def test_help_texts_are_escaped(owner_client: Client, make_provider: MakeProvider) -> None:
    """They name parameters that come from imported files."""
    provider = make_provider(litellm_provider="azure", litellm_params={"<b>key": "x"})
    html = owner_client.get(reverse("providers:detail", args=[provider.slug])).content.decode()
    assert "&lt;b&gt;key" in html
    assert "<b>key" not in html
    assert "&lt;think&gt;" in html
