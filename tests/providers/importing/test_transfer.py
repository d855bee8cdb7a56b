"""Import, export and opting in, as operators do it: on the pages and by the commands."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from providers.catalog import discovery
from providers.domain.types import DiscoveredModel
from providers.models import AuditEvent, LanguageModel, Provider

GOLDEN = Path(__file__).parent / "golden"
MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db
SECRET = "zai-secret-0123456789"


def upload(client: Client, name: str = "opencode.json", **more: str) -> str:
    files = {"source_file": SimpleUploadedFile(name, (GOLDEN / name).read_bytes())}
    if name == "opencode.json":
        files["auth_file"] = SimpleUploadedFile("auth.json", (GOLDEN / "auth.json").read_bytes())
    answer = client.post("/settings/import/", {**files, **more}, follow=True)
    return answer.content.decode()


def test_a_preview_stores_nothing_and_shows_no_secret(owner_client: Client) -> None:
    """It says what would be created and skipped, and asks for the key that is only named."""
    page = upload(owner_client)
    assert "3 created, 2 skipped" in page
    assert 'name="fill-env-RELAY_KEY"' in page
    assert SECRET not in page
    assert not Provider.objects.exists()


def test_the_yes_stores_all_as_legacy_and_a_second_time_changes_nothing(
    owner_client: Client,
) -> None:
    """With the key that was typed in the preview, and an event for each without any secret."""
    upload(owner_client)
    owner_client.post("/settings/import/preview/", {"fill-env-RELAY_KEY": "typed-0123456789"})
    relay, zai = Provider.objects.get(slug="relay"), Provider.objects.get(slug="zai-coding-plan")
    assert (relay.api_key, zai.api_key) == ("typed-0123456789", SECRET)
    assert {each.provider_type for each in Provider.objects.all()} == {"legacy"}
    assert dict(relay.extra_headers or {}) == {"X-Team": "a"}  # type: ignore[arg-type]
    assert list(relay.language_models.order_by("enabled").values_list("enabled", flat=True)) == [
        False,
        True,
    ]
    assert AuditEvent.objects.filter(verb="imported").count() == 3
    assert SECRET not in str(list(AuditEvent.objects.values()))
    assert "3 unchanged, 2 skipped" in upload(owner_client)
    assert "Import providers</button>" not in upload(owner_client)


def test_all_that_a_file_only_names_can_be_filled_in(owner_client: Client) -> None:
    """A key for a server at home, a header; later too, where nothing is stored yet; and what is
    named twice is asked once."""
    options = {
        "baseURL": "http://127.0.0.1:9/v1",
        "apiKey": "{env:HOME_KEY}",
        "headers": {"X-Team": "a", "X-Token": "{file:~/tok}", "X-Same": "{env:HOME_KEY}"},
    }
    far = {"options": {"baseURL": "{env:HOST}/v1"}}
    file = json.dumps({"provider": {"home": {"options": options, "models": {"m": {}}}, "far": far}})

    def uploaded() -> str:
        sent = {"source_file": SimpleUploadedFile("opencode.json", file.encode())}
        return owner_client.post("/settings/import/", sent, follow=True).content.decode()

    page = uploaded()
    assert page.count('name="fill-env-HOME_KEY"') == 1
    assert 'name="fill-file-~/tok"' in page
    assert "Fill in its base URL; it is not stored without one." in page
    assert 'name="fill-env-HOST"' in page
    preview = "/settings/import/preview/"
    owner_client.post(preview, {"fill-env-HOME_KEY": "home-0123456789"})
    home = Provider.objects.get()
    assert home.api_key == "home-0123456789"
    assert dict(home.extra_headers) == {"X-Team": "a", "X-Same": "home-0123456789"}  # type: ignore[arg-type]

    Provider.objects.update(enabled=False)
    page = uploaded()
    assert "Stored already, except for the values to fill in." in page
    assert 'name="fill-env-HOME_KEY"' not in page
    owner_client.post(preview, {"fill-file-~/tok": "Bearer of it"})
    home.refresh_from_db()
    assert dict(home.extra_headers) == {  # type: ignore[arg-type]
        "X-Team": "a",
        "X-Same": "home-0123456789",
        "X-Token": "Bearer of it",
    }
    assert home.api_key == "home-0123456789"
    assert not home.enabled
    assert "Everything is stored already." in uploaded()


def test_a_bad_key_is_said_at_its_field_and_nothing_is_stored(owner_client: Client) -> None:
    upload(owner_client)
    answer = owner_client.post("/settings/import/preview/", {"fill-env-RELAY_KEY": "not a key"})
    assert answer.status_code == 422
    assert "A key has no spaces" in answer.content.decode()
    assert not Provider.objects.exists()


def test_a_preview_that_is_gone_asks_for_the_file_again(owner_client: Client) -> None:
    owner_client.post("/settings/import/preview/")
    answer = owner_client.get("/settings/import/preview/", follow=True)
    assert "Upload the file again" in answer.content.decode()


def test_a_bad_file_is_refused_at_its_field(owner_client: Client) -> None:
    """What was pasted is not shown again: it may hold keys."""
    answer = owner_client.post("/settings/import/", {"source": '{"provider": "sk-secret"}'})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "provider: an object is expected here." in page
    assert "sk-secret" not in page


def test_a_key_never_goes_to_another_server(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """A provider of the same name elsewhere is left alone."""
    make_provider("Relay", base_url="https://elsewhere.example/v1", api_key="kept-0123456789")
    assert "Rename one of them" in upload(owner_client)
    owner_client.post("/settings/import/preview/", {"fill-env-RELAY_KEY": "typed-0123456789"})
    assert Provider.objects.get(slug="relay").api_key == "kept-0123456789"


def test_legacy_providers_are_opted_in_and_go_back(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """One by one, or all; each page says so."""
    for name in ("Acme", "Beta", "Gamma"):
        make_provider(name, provider_type="legacy")
    assert "Opt in all" in owner_client.get("/settings/legacy/").content.decode()
    page = owner_client.post("/settings/legacy/acme/opt-in/", follow=True).content.decode()
    assert "Switch back to legacy" in page
    assert Provider.objects.get(slug="beta").provider_type == "legacy"
    owner_client.post("/settings/legacy/opt-in/")
    assert not Provider.objects.filter(provider_type="legacy").exists()
    page = owner_client.post("/settings/legacy/beta/opt-out/", follow=True).content.decode()
    assert "Opt in to routing" in page


@pytest.mark.parametrize("page", ["import/", "import/preview/", "export/", "legacy/"])
def test_only_operators_come_here(stranger_client: Client, page: str) -> None:
    assert stranger_client.get(f"/settings/{page}").status_code == 403


@pytest.mark.parametrize(("way", "holds"), [("own", "{env:ACME_API_KEY}"), ("opencode", '"npm"')])
def test_a_plain_export_has_no_secret(
    owner_client: Client, make_provider: MakeProvider, way: str, holds: str
) -> None:
    make_provider(api_key="secret-0123456789", extra_headers={"X-Team": "secret-too"})
    answer = owner_client.post("/settings/export/", {"way": way})
    assert "attachment" in answer["Content-Disposition"]
    assert holds in answer.content.decode()
    assert "secret" not in answer.content.decode()


def test_a_sealed_export_brings_everything_back(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """The passphrase is asked for twice on the way out and once on the way in."""
    make_provider(api_key="secret-0123456789", provider_type="hybrid", prefer_direct=False)
    typed = {"way": "sealed", "passphrase": "correct horse battery"}
    assert owner_client.post("/settings/export/", typed).status_code == 422
    again = typed | {"again": typed["passphrase"], "password": "a-long-pass-phrase"}
    sealed = owner_client.post("/settings/export/", again).content
    assert b"secret" not in sealed
    Provider.objects.all().delete()
    answer = owner_client.post("/settings/import/", {"source": sealed.decode()})
    assert "passphrase is needed" in answer.content.decode()
    bring = {"source": sealed.decode(), "passphrase": typed["passphrase"]}
    assert (
        "1 created" in owner_client.post("/settings/import/", bring, follow=True).content.decode()
    )
    owner_client.post("/settings/import/preview/")
    acme = Provider.objects.get()
    assert (acme.api_key, acme.provider_type) == ("secret-0123456789", "hybrid")
    assert (acme.prefer_direct, acme.language_models.get().model_id) == (False, "m")


def test_the_command_looks_up_what_the_file_names(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its environment and beside the file; a dry run shows the plan and stores nothing."""
    monkeypatch.setenv("ACME_KEY", "from-the-environment")
    (tmp_path / "key.txt").write_text("from-the-disk\n")
    options = {"baseURL": "https://a.example/v1"}
    shown = {
        "acme": {"options": options | {"apiKey": "{env:ACME_KEY}"}},
        "beta": {"options": options | {"apiKey": "{file:key.txt}"}},
    }
    file = tmp_path / "opencode.json"
    file.write_text(json.dumps({"provider": shown}))
    out = StringIO()
    call_command("import_providers", file, dry_run=True, stdout=out)
    assert "created    acme" in out.getvalue()
    assert "from-the" not in out.getvalue()
    assert not Provider.objects.exists()
    call_command("import_providers", file, stdout=out)
    assert Provider.objects.get(slug="acme").api_key == "from-the-environment"
    assert Provider.objects.get(slug="beta").api_key == "from-the-disk"
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_providers", tmp_path / "nothing.json")
    exported = StringIO()
    call_command("export_providers", stdout=exported)
    assert "{env:ACME_API_KEY}" in exported.getvalue()
    assert "from-the" not in exported.getvalue()


def test_a_file_twice_changes_nothing_though_discovery_ran_between(
    owner_client: Client,
) -> None:
    """The provider states what a model is; the file, whether it is used does."""
    upload(owner_client)
    owner_client.post("/settings/import/preview/", {"fill-env-RELAY_KEY": "typed-0123456789"})
    relay = Provider.objects.get(slug="relay")
    now = timezone.now() + timedelta(seconds=1)
    known = discovery.OfflineFacts.load("")
    listed = [
        DiscoveredModel(model_id=row.model_id, name="Another name", context=77)
        for row in relay.language_models.all()
    ]
    discovery.store_models(relay, discovery.Listing(models=listed), known, now)
    assert "3 unchanged, 2 skipped" in upload(owner_client)
    relay.language_models.update(enabled=True)
    assert "Changes 1 model." in upload(owner_client)
    owner_client.post("/settings/import/preview/")
    assert set(relay.language_models.values_list("context", "enabled")) == {(77, True), (77, False)}
    assert "3 unchanged, 2 skipped" in upload(owner_client)


def test_aliases_come_back(owner_client: Client, make_provider: MakeProvider) -> None:
    """But for one that another model has meanwhile, which is said."""
    for name in ("Acme", "Beta"):
        make_provider(name).language_models.update(alias=f"{name.lower()}-best")
    document = owner_client.post("/settings/export/", {"way": "own"}).content.decode()
    Provider.objects.all().delete()
    make_provider("Gamma").language_models.update(alias="beta-best")
    bring = {"source": document}
    page = owner_client.post("/settings/import/", bring, follow=True).content.decode()
    assert "beta-best is the alias of another model and is not imported." in page
    owner_client.post("/settings/import/preview/")
    found = LanguageModel.objects.order_by("provider__slug")
    assert list(found.values_list("provider__slug", "alias")) == [
        ("acme", "acme-best"),
        ("beta", ""),
        ("gamma", "beta-best"),
    ]
    page = owner_client.post("/settings/import/", bring, follow=True).content.decode()
    assert "2 unchanged" in page


def test_how_far_a_whitelist_reaches_is_said(owner_client: Client) -> None:
    """Models that are found later are in use; those it refuses by name stay switched off."""
    shown = {"baseURL": "https://a.example/v1"}
    file = {"provider": {"acme": {"options": shown, "whitelist": ["one"], "blacklist": ["two"]}}}
    source = {"source": json.dumps(file)}
    page = owner_client.post("/settings/import/", source, follow=True).content.decode()
    assert "Its whitelist applies to the models in the file" in page
    owner_client.post("/settings/import/preview/")
    acme = Provider.objects.get()
    listed = [DiscoveredModel(model_id=name) for name in ("one", "two", "three")]
    found = discovery.Listing(models=listed)
    discovery.store_models(acme, found, discovery.OfflineFacts.load(""), timezone.now())
    served = acme.language_models.filter(enabled=True).order_by("model_id")
    assert list(served.values_list("model_id", flat=True)) == ["one", "three"]


def test_a_litellm_config_through_the_page(owner_client: Client) -> None:
    """What it loses is said; blanks and variables are fields; what is typed wrong is kept."""
    source = (GOLDEN / "litellm" / "placeholders.yaml").read_text() + "router_settings: {x: 1}\n"
    page = owner_client.post("/settings/import/", {"source": source}, follow=True).content.decode()
    assert "Ignored: 1 setting in the file" in page
    assert "router_settings" in page
    for name in (
        "blank-&lt;HOST&gt;",
        "blank-YOUR_RESOURCE",
        "env-ACCOUNT_ID",
        "env-VLLM_BASE_URL",
    ):
        assert f'name="fill-{name}"' in page
    preview = "/settings/import/preview/"
    typed = {"fill-env-VLLM_BASE_URL": "ftp://nowhere", "fill-blank-<HOST>": "box"}
    answer = owner_client.post(preview, typed)
    assert answer.status_code == 422
    assert 'value="ftp://nowhere"' in answer.content.decode()
    assert not Provider.objects.exists()
    typed |= {"fill-env-VLLM_BASE_URL": "http://vllm:8000/v1"}
    owner_client.post(preview, typed)
    stored = dict(Provider.objects.values_list("base_url", "slug"))
    assert set(stored) == {"http://box:8000/v1", "http://vllm:8000/v1"}


def test_what_litellm_alone_speaks_to_has_a_page(owner_client: Client) -> None:
    """Without an address; its parameters are named, and their values never shown."""
    source = (GOLDEN / "litellm" / "bedrock.yaml").read_text()
    owner_client.post("/settings/import/", {"source": source})
    owner_client.post(
        "/settings/import/preview/",
        {"fill-env-AWS_ACCESS_KEY_ID": "AKIA-secret", "fill-env-AWS_SECRET_ACCESS_KEY": "s3cret"},
    )
    bedrock = Provider.objects.get(slug="bedrock")
    assert bedrock.provider_type == "gateway-required"
    assert bedrock.litellm_params["aws_secret_access_key"] == "s3cret"  # type: ignore[index]
    page = owner_client.get("/providers/bedrock/").content.decode()
    assert "aws_secret_access_key" in page
    assert "s3cret" not in page
    form = {"name": "Bedrock US", "preset": "custom", "kind": "openai", "base_url": ""}
    form |= {"provider_type": "gateway-required", "routing_method": "auto", "enabled": "on"}
    form |= {"health_check_interval": "60"}
    assert owner_client.post("/providers/bedrock/", form).status_code == 302
    bedrock.refresh_from_db()
    assert (bedrock.name, bedrock.base_url) == ("Bedrock US", "")
    assert bedrock.litellm_params["aws_region_name"] == "us-west-2"  # type: ignore[index]
    assert owner_client.get("/providers/").status_code == 200


def test_the_command_says_what_is_ignored_and_takes_values(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    rows = (
        "[{model_name: m, litellm_params: {model: openai/x, api_base: 'http://<HOST>/v1', rpm: 9}}]"
    )
    file.write_text(f"model_list: {rows}\n")
    out = StringIO()
    call_command("import_providers", str(file), "--dry-run", stdout=out)
    assert "ignored: model_list.litellm_params.rpm" in out.getvalue()
    assert "Missing: address: <HOST>." in out.getvalue()
    call_command("import_providers", str(file), "--set", "<HOST>=box", stdout=StringIO())
    assert Provider.objects.get().base_url == "http://box/v1"
