"""Failures stay where they belong: one model, one key, one prompt; everybody else is served.

Real routes: the provider's own API, and the gateway process in front of the same upstream.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django.fixtures import Settings

from providers.clients import http
from providers.domain.errors import ErrorKind, PlanFailed
from providers.models import Attempt, Breaker, Provider, Purpose, Route
from providers.policy.breaker import State
from providers.router import route_table
from providers.router.router import stream
from tests import fakes
from tests.faults.asking import QUESTION, RouteSetup, make_call
from tests.polling import until

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(slots=True, kw_only=True)
class Tried:
    """How one request ended: its error, None where it was answered."""

    error: PlanFailed | None = None

    @property
    def kind(self) -> ErrorKind | None:
        return self.error.kind if self.error else None


@asynccontextmanager
async def open_board() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await route_table.close()
        await http.close()


async def ask(provider: Provider, model: str) -> Tried:
    try:
        async for _ in stream(make_call(provider, model), QUESTION):
            pass
    except PlanFailed as failed:
        return Tried(error=failed)
    return Tried()


async def in_turn(provider: Provider, models: Sequence[str], times: int) -> dict[str, list[Tried]]:
    """Every model asked in turn, so many times each."""
    found: dict[str, list[Tried]] = {model: [] for model in models}
    for _ in range(times):
        for model in models:
            found[model].append(await ask(provider, model))
    return found


def served(tried: Sequence[Tried]) -> int:
    return sum(each.error is None for each in tried)


def chats(fake: fakes.Upstream, model: str = "") -> list[fakes.Record]:
    """Chats that reached the upstream."""
    return [
        record
        for record in fake.requests
        if record.path.endswith("/chat/completions") and model in ("", record.model)
    ]


async def until_checked(fake: fakes.Upstream) -> None:
    """Waits for the key check, and for what it found to be written."""
    await until(lambda: any(r.path.endswith("/models") for r in fake.requests))
    await until(lambda: not route_table.current().queue, 5)
    await route_table.current().flush()


@pytest.fixture(params=["direct", "both"])
def provider(
    request: pytest.FixtureRequest,
    make_provider: MakeProvider,
    fake: fakes.Upstream,
    direct: RouteSetup,
    settings: Settings,
) -> Provider:
    """Direct alone, and direct with the gateway process behind it."""
    fields = dict(direct.fields)
    if request.param == "both":
        process = request.getfixturevalue("process")
        fields = {k: v for k, v in process.fields.items() if k in ("base_url", "api_key")}
    return make_provider(**fields)


async def test_a_model_that_always_fails_takes_nothing_from_another(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """Twelve requests each, in turn: the good model is served every time."""
    async with open_board():
        answers = await in_turn(provider, ("500", "sixty"), 12)
        await route_table.current().flush()
    assert served(answers["sixty"]) == 12
    assert served(answers["500"]) == 0
    assert len(chats(fake, "500")) < 24
    states = [route.state async for route in Route.objects.filter(provider=provider)]
    assert set(states) == {State.CLOSED}
    row = await Breaker.objects.aget(route__method="direct")
    assert (row.model_id, row.state) == ("500", State.OPEN)
    await provider.arefresh_from_db()
    assert provider.health_status == "degraded"
    assert provider.health_reason.startswith("500 fails")


async def test_two_models_that_fail_open_the_route(
    provider: Provider, fake: fakes.Upstream, settings: Settings
) -> None:
    """A third one is not sent over it, but for the one call of the last resort."""
    settings.ROUTING_RULES = replace(settings.ROUTING_RULES, rests=(60,), last_resort_every=1000)
    async with open_board():
        await in_turn(provider, ("500", "empty"), 4)
        await route_table.current().flush()
        route = await provider.routes.aget(method="direct")
        assert route.state == State.OPEN
        await ask(provider, "html")
        refused = await ask(provider, "sixty")
        await route_table.current().flush()
    assert refused.kind == ErrorKind.OVERLOADED
    assert chats(fake, "sixty") == []


async def test_a_forbidden_model_and_a_moderated_prompt_leave_the_others_alone(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """Two 403s for a model and one for a prompt: every other request is answered."""
    async with open_board():
        for model in ("403", "403", "403-moderated"):
            assert (await ask(provider, model)).kind == ErrorKind.PERMISSION
        await until_checked(fake)
        assert served([await ask(provider, "sixty") for _ in range(3)]) == 3
        assert (await ask(provider, "403")).kind == ErrorKind.PERMISSION
    keys = Breaker.objects.filter(route=None).exclude(state=State.CLOSED)
    assert not await keys.aexists()
    assert not await Breaker.objects.filter(model_id="403-moderated").aexists()


async def test_a_wrong_key_is_disabled_once_its_list_is_refused(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """After the answer, by one check; nothing more goes out with it until it is edited."""
    fake.key = "another"
    async with open_board():
        assert (await ask(provider, "sixty")).kind == ErrorKind.AUTH
        await until_checked(fake)
        sent = len(fake.requests)
        refused = await ask(provider, "long")
        assert refused.kind == ErrorKind.AUTH
        assert "disabled" in refused.error.message  # type: ignore[union-attr]
        assert len(fake.requests) == sent
        checks = [r for r in fake.requests if r.path.endswith("/models")]
        assert len(checks) == 1
        row = await Breaker.objects.aget(route=None, state=State.OPEN)
        assert row.retry_at is None
        assert fakes.KEY not in str(vars(row))
        fake.key = fakes.KEY
        await sync_to_async(provider.forget_learned)()
        await route_table.current()._routes.read()
        assert (await ask(provider, "long")).kind is None


@pytest.mark.parametrize("listing", ["401", "403"])
async def test_a_key_that_may_chat_but_not_list_models_is_not_disabled(
    provider: Provider, fake: fakes.Upstream, listing: str
) -> None:
    """Two models that it may not use are refused, and every other one is answered."""
    fake.script(models=listing)
    async with open_board():
        assert served([await ask(provider, "sixty")]) == 1
        for model in ("403", "403-moderated", "403"):
            assert (await ask(provider, model)).kind == ErrorKind.PERMISSION
        await until_checked(fake)
        assert served([await ask(provider, "sixty") for _ in range(3)]) == 3
    assert not await Breaker.objects.filter(route=None).exclude(state=State.CLOSED).aexists()


async def test_a_key_for_which_everything_is_forbidden_is_disabled(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """A chat and the list, and nothing ever went well with it."""
    fake.script("403", models="403")
    async with open_board():
        assert (await ask(provider, "sixty")).kind == ErrorKind.PERMISSION
        await until_checked(fake)
        sent = len(fake.requests)
        assert (await ask(provider, "long")).kind == ErrorKind.AUTH
        assert len(fake.requests) == sent


async def test_one_check_however_many_are_refused_at_once(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """And none again within the minute."""
    async with open_board():
        await asyncio.gather(*(ask(provider, "403") for _ in range(4)))
        await until_checked(fake)
        await ask(provider, "403")
        await route_table.current().flush()
    assert len([r for r in fake.requests if r.path.endswith("/models")]) == 1
    probe = await Attempt.objects.aget(purpose=Purpose.PROBE)
    assert (probe.outcome, probe.reason) == ("ok", "direct: key check after a refused chat")


async def test_a_key_in_its_cooldown_is_used_over_no_other_route(
    provider: Provider, fake: fakes.Upstream
) -> None:
    """The gateway carries the same key, and nothing goes out by last resort."""
    async with open_board():
        first = await ask(provider, "429-long")
        assert first.kind == ErrorKind.RATE_LIMIT
        later = [await ask(provider, "sixty") for _ in range(5)]
        await route_table.current().flush()
    assert len(chats(fake)) == 1
    assert {each.kind for each in later} == {ErrorKind.OVERLOADED}
    waits = [each.error.retry_after for each in later if each.error]
    assert all(wait and wait > 3500 for wait in waits)
    assert set(await sync_to_async(lambda: [r.state for r in provider.routes.all()])()) == {
        State.CLOSED
    }
