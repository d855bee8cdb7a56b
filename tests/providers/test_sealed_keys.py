"""A stored key that cannot be decrypted: nothing is sent without it, and the start says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import django.db
import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from providers.catalog import discovery
from providers.clients import direct, gateway
from providers.domain.errors import CallError, ErrorKind
from providers.domain.sealed import is_sealed
from providers.domain.types import ChatMessage, ChatRequest, Method, Target
from providers.infra import database
from providers.management.commands import check_keys
from providers.models import Gateway, Provider, connection
from providers.router import snapshot
from tests import fakes

MakeProvider = Callable[..., Provider]
SECRETS = ["api_key", "extra_headers", "gateway_api_key"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def lose_keys(settings: Settings) -> Callable[[], None]:
    def lose() -> None:
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    return lose


def secrets(column: str, value: str = fakes.KEY) -> dict[str, object]:
    return {column: {"X-Team": value} if column == "extra_headers" else value}


async def refused(target: Target) -> list[CallError]:
    """What a list of models and a chat over a target fail with."""
    client = direct if target.method == Method.DIRECT else gateway
    found: list[CallError] = []
    with pytest.raises(CallError) as listed:
        await client.list_models(target)
    found.append(listed.value)
    request = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),))
    with pytest.raises(CallError) as chatted:
        async for _ in client.stream(target, request):
            pass
    return [*found, chatted.value]


@pytest.mark.parametrize(
    ("column", "method", "endpoint"),
    [
        ("api_key", Method.DIRECT, None),
        ("extra_headers", Method.DIRECT, None),
        ("api_key", Method.GATEWAY, ""),
        ("extra_headers", Method.GATEWAY, ""),
        ("gateway_api_key", Method.GATEWAY, None),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_no_request_goes_out_without_its_secret(
    column: str,
    method: Method,
    endpoint: str | None,
    kind: str,
    make_provider: MakeProvider,
    lose_keys: Callable[[], None],
    fake: fakes.Upstream,
    settings: Settings,
) -> None:
    """Over either method, and with the instance's own endpoint and key beside it."""
    settings.GATEWAY_URL, settings.GATEWAY_TOKEN = fake.url, fakes.KEY
    settings.LITELLM_ENDPOINT, settings.LITELLM_API_KEY = fake.url, "sk-instance"
    fields = {"base_url": fake.url, "gateway_endpoint": fake.url, "kind": kind}
    provider = make_provider(**fields, **secrets(column))
    lose_keys()
    provider = Provider.objects.get(pk=provider.pk)
    target = connection.target(snapshot.connection(provider), method, "echo", endpoint)
    for error in async_to_sync(refused)(target):
        assert (error.kind, error.code) == (ErrorKind.UNREADABLE, "key_unreadable")
        assert not error.sent
    assert fake.requests == []


def test_a_further_gateways_key_is_not_replaced_by_none(
    make_provider: MakeProvider, lose_keys: Callable[[], None], fake: fakes.Upstream
) -> None:
    Gateway.objects.create(name="Spare", url=fake.url, api_key=fakes.KEY)
    lose_keys()
    others = {each.url: each.api_key for each in Gateway.objects.all()}
    reached = snapshot.connection(make_provider(), others)
    target = connection.target(reached, Method.GATEWAY, "m", fake.url)
    assert is_sealed(target.api_key)


def test_what_needs_no_lost_secret_still_goes_out(
    make_provider: MakeProvider, lose_keys: Callable[[], None]
) -> None:
    """A proxy's own key is readable though the provider's is not."""
    provider = make_provider(api_key=fakes.KEY, gateway_endpoint="http://proxy.example:4000")
    lose_keys()
    provider = Provider.objects.get(pk=provider.pk)
    reached = replace(snapshot.connection(provider), gateway_api_key="sk-proxy")
    direct.require_readable(connection.target(reached, Method.GATEWAY, "m"))
    with pytest.raises(CallError):
        direct.require_readable(connection.target(reached, Method.DIRECT, "m"))


@pytest.fixture
def provider(
    transactional_db: None,
    make_provider: MakeProvider,
    lose_keys: Callable[[], None],
    fake: fakes.Upstream,
) -> Provider:
    """One whose key is lost."""
    made = make_provider(base_url=fake.url, api_key=fakes.KEY, routing_method="direct")
    lose_keys()
    return made


async def test_a_refresh_of_the_models_says_so(provider: Provider, fake: fakes.Upstream) -> None:
    await discovery.refresh(provider.pk)
    stored = await database.run(Provider.objects.get, pk=provider.pk)
    assert "cannot be decrypted" in stored.models_error
    assert fake.requests == []


@pytest.mark.parametrize("column", SECRETS)
def test_the_check_counts_what_cannot_be_decrypted(
    column: str, make_provider: MakeProvider, lose_keys: Callable[[], None], settings: Settings
) -> None:
    """And is content where every value can, also under an older key."""
    make_provider(**secrets(column))
    call_command("check_keys")
    old = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *old]
    call_command("check_keys")
    lose_keys()
    with pytest.raises(CommandError, match="1 stored secrets") as failed:
        call_command("check_keys")
    assert failed.value.returncode == 3
    assert fakes.KEY not in str(failed.value)
    with pytest.raises(CommandError, match="ENCRYPTION_KEYS"):
        call_command("check_keys", "--at-start")
    settings.ACCEPT_LOST_KEYS = True
    call_command("check_keys", "--at-start")
    with pytest.raises(CommandError):
        call_command("check_keys")


def test_a_start_does_not_wait_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise django.db.OperationalError

    monkeypatch.setattr(check_keys, "_count_unreadable", fail)
    call_command("check_keys", "--at-start")
    with pytest.raises(django.db.OperationalError):
        call_command("check_keys")


def test_each_process_that_uses_stored_keys_checks_them_before_it_starts() -> None:
    """Those of the Procfile; `./dev up` checks once for all."""
    lines = (Path(__file__).parents[2] / "Procfile").read_text().splitlines()
    commands = dict(line.split(": ", 1) for line in lines)
    checked = {
        name
        for name, command in commands.items()
        if command.startswith("python manage.py check_keys --at-start && ")
    }
    assert checked == {"web", "runner", "worker"}
