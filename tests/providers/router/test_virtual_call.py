"""Requests to a virtual model, on real sockets: who answers, why, and who answers next."""

import uuid
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from providers.clients import http
from providers.domain.errors import PlanFailed
from providers.domain.types import ChatMessage, ChatRequest, RouteTaken
from providers.models import Attempt, LanguageModel, Provider, Purpose, VirtualMember, VirtualModel
from providers.router import route_table, router, snapshot
from providers.router.call import Call
from tests import fakes

MakeProvider = Callable[..., Provider]
HELLO = ChatRequest(messages=(ChatMessage(role="user", content="Hello there"),))
pytestmark = pytest.mark.django_db(transaction=True)


type Test = Callable[..., Coroutine[Any, Any, None]]


def on_one_table(test: Test) -> Test:
    """The requests of a test share one process's memory, which is closed after it."""

    @wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            await route_table.close()
            await http.close()

    return run


def add_model(
    make_provider: MakeProvider, url: str, name: str, model_id: str = "echo", **facts: Any
) -> LanguageModel:
    """A provider without a gateway, with one model; a key of its own."""
    provider = make_provider(
        name, model_id, base_url=url, api_key=fakes.KEY, fallback_enabled=False
    )
    provider.language_models.update(**facts)
    return provider.language_models.get()


def make_virtual(*models: LanguageModel, **fields: Any) -> VirtualModel:
    virtual = VirtualModel.objects.create(name="fast", **fields)
    for position, model in enumerate(models):
        VirtualMember.objects.create(virtual_model=virtual, model=model, position=position)
    return virtual


async def ask(name: str = "fast", request: ChatRequest = HELLO, session: str = "") -> RouteTaken:
    """The route that answers a request by name, as the API resolves it."""
    (served,) = (await route_table.current().ready_for(name)).find_models(name)
    call = Call(
        provider_id=served.provider_id,
        model_id=served.model_id,
        purpose=Purpose.API,
        request_id=uuid.uuid4(),
        user_id=None,
        client_key=7,
        virtual=served.virtual,
        session=session,
    )
    async with aclosing(router.stream(call, request)) as events:
        return next(e for e in [event async for event in events] if isinstance(e, RouteTaken))


@sync_to_async
def two_members(
    make_provider: MakeProvider, first: str, second: str, **fields: Any
) -> tuple[LanguageModel, LanguageModel]:
    models = (
        add_model(make_provider, first, "Acme", **fields.pop("first_facts", {})),
        add_model(make_provider, second, "Beta"),
    )
    make_virtual(*models, **fields)
    return models


@on_one_table
async def test_the_first_member_answers_and_is_named(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The attempt belongs to the member, and its reason names the virtual model."""
    acme, _ = await two_members(make_provider, fake.url, fake.url)
    taken = await ask()
    assert (taken.member, taken.fallback) == ("acme/echo", False)
    assert taken.reason == "direct: preferred; fast is answered by acme/echo: first in order"
    await route_table.current().flush()
    attempt = await Attempt.objects.aget()
    assert (attempt.provider_id, attempt.model_id) == (acme.provider_id, "echo")
    assert attempt.reason == taken.reason


@on_one_table
async def test_the_next_member_answers_where_the_first_one_fails(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Unseen, but said, and both attempts are recorded."""
    await two_members(make_provider, "http://127.0.0.1:9/v1", fake.url)
    taken = await ask()
    assert (taken.member, taken.fallback) == ("beta/echo", True)
    assert taken.reason.startswith("direct: beta/echo answers for fast; acme/echo: direct failed")
    await route_table.current().flush()
    rows = [row async for row in Attempt.objects.order_by("started_at").select_related("provider")]
    assert [row.provider.slug for row in rows][-1] == "beta"
    assert {row.provider.slug for row in rows} == {"acme", "beta"}
    assert len({row.request_id for row in rows}) == 1


@on_one_table
async def test_a_member_that_is_too_small_is_skipped_with_the_reason(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """It is by design, so no fallback; it is said all the same."""
    await two_members(make_provider, fake.url, fake.url, first_facts={"context": 2})
    taken = await ask()
    assert (taken.member, taken.fallback) == ("beta/echo", False)
    assert "acme/echo skipped: its context of 2 tokens is too small for about 3" in taken.reason


@on_one_table
async def test_a_member_whose_breaker_is_open_is_skipped(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Two failed connects open it; the third request goes straight to the second member."""
    await two_members(make_provider, "http://127.0.0.1:9/v1", fake.url)
    for _ in range(2):
        await ask()
    taken = await ask()
    assert (taken.member, taken.attempts, taken.fallback) == ("beta/echo", 1, True)
    assert "acme/echo skipped: direct failed" in taken.reason


@on_one_table
@pytest.mark.parametrize(("failing", "helps"), [("zai-1211", True), ("500", True), ("402", False)])
async def test_two_models_of_one_provider_are_two_members(
    make_provider: MakeProvider, fake: fakes.Upstream, failing: str, helps: bool
) -> None:
    """Another model helps where the first one is unknown or fails; not where the balance of the
    key that both have is used up."""

    @sync_to_async
    def store() -> None:
        model = add_model(make_provider, fake.url, "Acme", failing)
        other = LanguageModel.objects.create(provider=model.provider, model_id="echo", name="echo")
        make_virtual(model, other)

    await store()
    if helps:
        assert (await ask()).member == "acme/echo"
    else:
        with pytest.raises(PlanFailed):
            await ask()


@on_one_table
async def test_a_request_that_no_member_can_take_is_refused_without_a_call(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """With each reason, and a row in the log of attempts."""

    @sync_to_async
    def store() -> None:
        blind: dict[str, Any] = {"vision": False, "sources": {"vision": "manual"}}
        make_virtual(add_model(make_provider, fake.url, "Acme", **blind))

    await store()
    picture = ({"type": "image_url", "image_url": {"url": "data:,"}},)
    request = ChatRequest(messages=(ChatMessage(role="user", content=picture),))
    with pytest.raises(PlanFailed) as failed:
        await ask(request=request)
    assert (failed.value.code, failed.value.status) == ("no_member_fits", 400)
    assert "acme/echo: it reads no pictures" in failed.value.message
    await route_table.current().flush()
    assert (await Attempt.objects.aget()).error_code == "no_member_fits"


@on_one_table
async def test_a_conversation_stays_where_it_was_answered(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Each of many conversations, though the next new one is drawn by weight."""
    await two_members(make_provider, fake.url, fake.url, strategy="weighted")
    firsts = {name: (await ask(session=name)).member for name in map(str, range(12))}
    assert set(firsts.values()) == {"acme/echo", "beta/echo"}
    for name, member in firsts.items():
        taken = await ask(session=name)
        assert taken.member == member
        assert "it answered this conversation last" in taken.reason


@on_one_table
async def test_only_members_in_use_are_served(make_provider: MakeProvider) -> None:
    """A member that is switched off, or whose model or provider is; a model without members."""

    @sync_to_async
    def store() -> tuple[str, ...]:
        models = [add_model(make_provider, "http://127.0.0.1:9/v1", n) for n in ("A", "B", "C")]
        virtual = make_virtual(*models)
        virtual.members.filter(model=models[0]).update(enabled=False)
        LanguageModel.objects.filter(pk=models[1].pk).update(enabled=False)
        VirtualModel.objects.create(name="empty")
        (served,) = snapshot.load().virtual_models
        assert served.virtual
        return tuple(member.name for member in served.virtual.members)

    assert await store() == ("c/echo",)


@on_one_table
async def test_a_virtual_model_has_what_its_members_have_together(
    make_provider: MakeProvider,
) -> None:
    """The largest context, any ability, and a price only where it is the same everywhere."""

    @sync_to_async
    def load() -> Any:
        url, known = "http://127.0.0.1:9/v1", {"tools": "manual", "vision": "manual"}
        price: dict[str, Any] = {"input_price": 1, "output_price": 2}
        make_virtual(
            add_model(make_provider, url, "A", context=8, tools=True, sources=known, **price),
            add_model(make_provider, url, "B", context=16, sources=known, **price),
        )
        return snapshot.load().virtual_models[0]

    served = await load()
    assert (served.context, served.tools, served.vision, served.json_output) == (
        16,
        True,
        False,
        None,
    )
    assert served.prices.output == 2
