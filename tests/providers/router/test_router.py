"""One request over its planned routes, on real sockets: fallback before the first token only."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from providers.clients import http
from providers.domain.errors import ErrorKind, PlanFailed
from providers.domain.tuning import RULES
from providers.domain.types import (
    ChatMessage,
    ChatRequest,
    Completed,
    Method,
    RouteTaken,
    StreamEvent,
    TextDelta,
)
from providers.forms import ProviderForm
from providers.infra import metrics, replicas
from providers.models import Attempt, Provider, Purpose, Route
from providers.policy.breaker import State
from providers.router import route_table, router
from providers.router.call import Call
from tests import fakes
from tests.polling import until

MakeProvider = Callable[..., Provider]
ASKED = ChatRequest(messages=(ChatMessage(role="user", content="Hello there"),))
pytestmark = pytest.mark.django_db(transaction=True)


def call(provider: Provider, model_id: str = "echo") -> Call:
    return Call(
        provider_id=provider.pk, model_id=model_id, purpose=Purpose.CHAT, request_id=uuid.uuid4()
    )


async def answered(asked: Call, request: ChatRequest = ASKED) -> list[StreamEvent]:
    try:
        async with aclosing(router.stream(asked, request)) as events:
            return [event async for event in events]
    finally:
        await route_table.close()
        await http.close()


def text(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def taken(events: list[StreamEvent]) -> RouteTaken:
    return next(event for event in events if isinstance(event, RouteTaken))


async def behind_proxy(
    make_provider: MakeProvider, direct: str, gateway: str, **fields: object
) -> Provider:
    """A provider whose two routes lead to two addresses."""
    return await sync_to_async(make_provider)(
        base_url=direct,
        gateway_endpoint=gateway,
        api_key=fakes.KEY,
        gateway_api_key=fakes.KEY,
        **fields,
    )


async def test_the_preferred_route_answers(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """One attempt, its usage and its time to first token kept."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    events = await answered(call(provider))
    assert text(events) == "Hello there"
    assert (taken(events).method, taken(events).fallback) == (Method.DIRECT, False)
    assert isinstance(events[-1], Completed)
    attempt = await Attempt.objects.aget()
    assert (attempt.method, attempt.outcome) == ("direct", "ok")
    assert attempt.ttft_ms is not None
    assert attempt.output_tokens


async def test_a_changed_method_holds_from_the_next_request_on(
    make_provider: MakeProvider, fake: fakes.Upstream, owner: User
) -> None:
    """The form is saved between two requests of one process that keeps its copy of the rows."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    try:
        for method in (Method.DIRECT, Method.GATEWAY, Method.DIRECT):
            await sync_to_async(choose)(provider, method.value, owner)
            async with asyncio.timeout(replicas.CHECK_SECONDS * 4):
                while (await one(provider)).method != method:
                    pass  # the news is on its way
    finally:
        await route_table.close()
        await http.close()


def choose(provider: Provider, method: str, owner: User) -> None:
    """As an operator does, on the page."""
    stored = Provider.objects.get(pk=provider.pk)
    typed = {bound.name: bound.value() for bound in ProviderForm(instance=stored)}
    form = ProviderForm(typed | {"routing_method": method}, instance=stored)
    assert form.is_valid(), form.errors
    form.store(owner)


async def one(provider: Provider) -> RouteTaken:
    async with aclosing(router.stream(call(provider), ASKED)) as events:
        return taken([event async for event in events])


@pytest.mark.parametrize(
    "behaviour", ["reset", "500", "html", "garbage", "error-in-200", "empty", "truncated-at-once"]
)
async def test_a_failure_before_the_first_token_is_answered_by_the_other_route(
    make_provider: MakeProvider, fake: fakes.Upstream, behaviour: str
) -> None:
    """The reader sees one answer; both attempts are recorded."""
    with fakes.Upstream() as broken:
        broken.script(behaviour)
        provider = await behind_proxy(make_provider, broken.url, fake.url)
        events = await answered(call(provider))
    assert text(events) == "Hello there"
    assert taken(events).fallback
    assert taken(events).reason.startswith("gateway: direct failed (")
    outcomes = [(a.method, a.outcome) async for a in Attempt.objects.order_by("pk")]
    assert outcomes[-1] == ("gateway", "ok")
    assert outcomes[0][0] == "direct"
    assert outcomes[0][1] != "ok"


@pytest.mark.parametrize("behaviour", ["eof-40", "truncated-40"])
async def test_a_whole_answer_that_has_no_end_is_answered_by_the_other_route(
    make_provider: MakeProvider, fake: fakes.Upstream, behaviour: str
) -> None:
    """The caller has seen nothing of it, whatever words were in it."""
    with fakes.Upstream() as broken:
        broken.script(behaviour)
        provider = await behind_proxy(make_provider, broken.url, fake.url)
        events = await answered(call(provider), replace(ASKED, non_streaming=True))
    assert text(events) == "Hello there"
    assert taken(events).fallback
    outcomes = [(a.method, a.outcome) async for a in Attempt.objects.order_by("pk")]
    assert outcomes == [("direct", "provider"), ("gateway", "ok")]


async def test_one_json_falls_back_when_no_token_comes(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """By the clock of a stream, not after the minutes that an answer in one piece may take."""
    settings.TIMEOUT_FIRST_TOKEN = 0.3
    with fakes.Upstream() as silent:
        silent.script("stall-headers")
        provider = await behind_proxy(make_provider, silent.url, fake.url)
        events = await answered(call(provider), replace(ASKED, non_streaming=True))
    assert text(events) == "Hello there"
    outcomes = [(a.method, a.error_code) async for a in Attempt.objects.order_by("pk")]
    assert outcomes == [("direct", "first_token_timeout"), ("gateway", "")]


async def test_the_further_models_of_an_alias_are_tried_in_order(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Each at its own provider, under the name that it has there."""
    with fakes.Upstream() as broken:
        broken.script("500")
        one_way = {"routing_method": "direct", "fallback_enabled": False, "api_key": fakes.KEY}
        first = await sync_to_async(make_provider)("First", base_url=broken.url, **one_way)
        second = await sync_to_async(make_provider)("Second", base_url=broken.url, **one_way)
        third = await sync_to_async(make_provider)("Third", base_url=fake.url, **one_way)
        further = ((second.pk, "m"), (third.pk, "m"))
        events = await answered(replace(call(first), fallbacks=further))
    assert text(events) == "Hello there"
    assert taken(events).provider_slug == "third"
    asked = [a.provider_id async for a in Attempt.objects.order_by("pk")]
    assert asked == [first.pk, second.pk, third.pk]


async def test_a_refused_connection_falls_back_within_a_second(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """And the same with the gateway down, direct being the second choice."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    provider = await behind_proxy(make_provider, nowhere, fake.url)
    async with asyncio.timeout(8):
        events = await answered(call(provider))
    assert text(events) == "Hello there"
    other = await behind_proxy(
        make_provider, fake.url, nowhere, name="Other", slug="other", prefer_direct=False
    )
    async with asyncio.timeout(8):
        events = await answered(call(other))
    assert (taken(events).method, taken(events).fallback) == (Method.DIRECT, True)


async def test_when_both_fail_the_error_lists_both_attempts(make_provider: MakeProvider) -> None:
    """What failed on each route, for the card that explains it."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    provider = await behind_proxy(make_provider, nowhere, nowhere)
    with pytest.raises(PlanFailed) as caught:
        await answered(call(provider))
    assert [a.method for a in caught.value.attempts] == [Method.DIRECT, Method.GATEWAY]
    assert [a.outcome for a in caught.value.attempts] == ["network", "gateway"]


async def test_after_the_first_token_there_is_no_switch(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The text so far is kept, the break is reported."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    events = await answered(call(provider, "cut-mid"))
    completed = events[-1]
    assert text(events).startswith("One")
    assert isinstance(completed, Completed)
    assert completed.error is not None
    assert len(completed.attempts) == 1


async def test_a_truncated_stream_is_no_good_end(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """[DONE] without a finish reason."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    completed = (await answered(call(provider, "truncated")))[-1]
    assert isinstance(completed, Completed)
    assert completed.error is not None
    assert completed.error.code == "truncated"


async def test_a_slow_route_heals_under_steady_traffic(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """One trial at a time, however long its first token takes: a second one would void the first
    one's result, and the next request that may pass would void the second one's."""
    settings.ROUTING_RULES = replace(RULES, rests=(0.2,), last_resort_every=0.2)
    provider = await behind_proxy(
        make_provider, fake.url, fake.url, routing_method="direct", fallback_enabled=False
    )
    past = timezone.now()
    await Route.objects.filter(provider=provider).aupdate(
        state=State.OPEN, opened_at=past, retry_at=past, last_kind="provider"
    )

    async def one() -> None:
        with suppress(PlanFailed):
            async with aclosing(router.stream(call(provider, "late-600"), ASKED)) as events:
                [_ async for _ in events]

    def is_closed() -> bool:
        routes = route_table.current().routes(provider.pk)
        return any(r.method == Method.DIRECT and r.breaker.state == State.CLOSED for r in routes)

    asking: list[asyncio.Task[None]] = []

    def closes_with_one_more() -> bool:
        asking.append(asyncio.create_task(one()))
        return is_closed()

    try:
        await until(closes_with_one_more)
    finally:
        await asyncio.gather(*asking)
        await route_table.close()
        await http.close()


async def test_a_half_open_probe_and_the_retry_budget_are_exported_to_prometheus(
    make_provider: MakeProvider, fake: fakes.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From real calls: half-open while the trial runs, closed after an edit, the budget."""
    # The tests before this one have used up the names that a process keeps.
    monkeypatch.setattr(metrics, "_names", metrics.LabelNames())
    provider = await behind_proxy(
        make_provider, fake.url, fake.url, name="Counted", slug="counted", routing_method="direct"
    )
    labels = 'method="direct",provider="counted"'
    past = timezone.now()
    direct = Route.objects.filter(provider=provider, method="direct")
    await direct.aupdate(state=State.OPEN, opened_at=past, retry_at=past, last_kind="provider")
    begun = asyncio.create_task(answered(call(provider, "late-600")))
    moved = 'breaker_transitions_total{method="direct",provider="counted",state="half_open"} 1.0'
    # They are counted a moment later, in one go.
    await until(lambda: moved in exposition(), 20)
    assert f"opencode_web_retry_budget {RULES.budget_floor:.1f}" in exposition()
    await begun
    await direct.aupdate(state=State.OPEN)
    await sync_to_async(provider.forget_learned)()
    assert f"opencode_web_breaker_state{{{labels}}} 0.0" in exposition()


def exposition() -> str:
    """What Prometheus would read now."""
    return metrics.render(settings.METRICS_FOLDER).decode()


async def test_what_waited_for_a_place_does_not_wait_again(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """The queue has one end: afterwards it is somebody else's turn, or nobody's."""
    settings.ROUTING_RULES = replace(RULES, queue_patience=0.2)
    provider = await behind_proxy(
        make_provider, fake.url, fake.url, routing_method="direct", concurrency=1
    )
    long = asyncio.create_task(answered(call(provider, "slow-20-100")))
    await until(lambda: fake.requests)
    with pytest.raises(PlanFailed) as caught:
        async with aclosing(router.stream(call(provider, "slow-20-100"), ASKED)) as events:
            [_ async for _ in events]
    assert caught.value.code == "too_many_at_once"
    assert len(caught.value.attempts) == 1
    assert not long.done()
    await long


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [("401", ErrorKind.AUTH), ("402", ErrorKind.QUOTA), ("429-ms", ErrorKind.RATE_LIMIT)],
)
async def test_the_accounts_own_limits_are_not_carried_to_a_route_with_the_same_key(
    make_provider: MakeProvider, fake: fakes.Upstream, behaviour: str, kind: ErrorKind
) -> None:
    """Our gateway process would show the same key to the same door."""
    provider = await sync_to_async(make_provider)(base_url=fake.url, api_key=fakes.KEY)
    fake.script(behaviour)
    with pytest.raises(PlanFailed) as caught:
        await answered(call(provider))
    assert caught.value.kind == kind
    # A limit that ends within moments is waited for, on the same route.
    expected = RULES.throttles if kind == ErrorKind.RATE_LIMIT else 1
    assert [a.method for a in caught.value.attempts] == [Method.DIRECT] * expected


async def test_a_request_error_is_the_callers_and_moves_nothing(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """No other route is tried and no breaker counts it."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    fake.script("400")
    with pytest.raises(PlanFailed):
        await answered(call(provider))
    route = await Route.objects.aget(provider=provider, method="direct")
    assert (route.state, route.consecutive_failures) == (State.CLOSED, 0)


async def test_stopping_closes_the_upstreams_connection_within_a_second(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The attempt is recorded as stopped, and is no failure."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    async with aclosing(router.stream(call(provider, "slow-1000-20"), ASKED)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    async with asyncio.timeout(8):
        await until(lambda: fake.requests[-1].disconnected_at)
    await route_table.close()
    await http.close()
    attempt = await Attempt.objects.aget()
    assert attempt.outcome == "stopped"
    route = await Route.objects.aget(attempts=attempt)
    assert route.consecutive_failures == 0


async def test_failures_open_the_breaker_and_the_next_call_goes_around_it(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The reason then says since when, and health is degraded."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    provider = await behind_proxy(make_provider, nowhere, fake.url)
    for _ in range(2):
        await answered(call(provider))
    route = await Route.objects.aget(provider=provider, method="direct")
    assert route.state == State.OPEN
    events = await answered(call(provider))
    assert "is tried again at" in taken(events).reason or "worked" in taken(events).reason
    assert taken(events).fallback
    assert await Attempt.objects.filter(method="direct").acount() == 2
    provider = await Provider.objects.aget(pk=provider.pk)
    assert provider.health_status == "degraded"
    assert await Route.objects.filter(method="gateway", learned_at__isnull=False).acount() == 1


async def test_missing_usage_is_estimated_and_flagged(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """About four characters a token."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    completed = (await answered(call(provider, "no-usage")))[-1]
    assert isinstance(completed, Completed)
    assert completed.usage.estimated
    assert completed.usage.output_tokens > 0


async def test_cost_follows_from_the_models_prices(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """USD per million tokens."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    await provider.language_models.filter(model_id="m").aupdate(
        model_id="echo", input_price=2, output_price=8
    )
    completed = (await answered(call(provider)))[-1]
    assert isinstance(completed, Completed)
    usage = completed.usage
    expected = (2 * usage.input_tokens + 8 * usage.output_tokens) / 1e6
    assert completed.cost is not None
    assert float(completed.cost) == pytest.approx(expected)


async def test_a_provider_that_is_gone_is_a_clear_error() -> None:
    """Not a crash."""
    gone = Call(provider_id=99999, model_id="m", purpose=Purpose.CHAT, request_id=uuid.uuid4())
    with pytest.raises(PlanFailed) as caught:
        await answered(gone)
    assert "removed or switched off" in caught.value.message


async def test_an_earlier_answer_stands_in_where_every_route_has_failed(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """Only where it is switched on, only for the same caller, and it says how old it is."""
    provider = await behind_proxy(make_provider, fake.url, fake.url, fallback_enabled=False)
    asked = replace(call(provider), user_id=None, client_key=7)
    fake.script("echo", "500")
    assert text(await answered(asked)) == "Hello there"
    with pytest.raises(PlanFailed):
        await answered(asked)
    settings.EMERGENCY_ANSWERS = True
    fake.script("echo", "500")
    await answered(asked)
    events = await answered(asked)
    assert text(events) == "Hello there"
    assert taken(events).is_cached
    assert taken(events).reason == "every route failed; this is a cached answer from 1 min ago"
    with pytest.raises(PlanFailed):
        await answered(replace(asked, client_key=8))


async def test_another_provider_stands_in_where_the_operator_allows_it(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Its key is its own; the answer names who gave it."""
    acme = await sync_to_async(make_provider)(base_url=fake.url, api_key="wrong", model_id="echo")
    other = await behind_proxy(
        make_provider, fake.url, fake.url, name="Other", slug="other", model_id="vendor/echo"
    )
    with pytest.raises(PlanFailed) as caught:
        await answered(call(acme))
    assert caught.value.kind == ErrorKind.AUTH
    await sync_to_async(acme.forget_learned)()
    await acme.alternatives.aadd(other)
    events = await answered(call(acme))
    assert text(events) == "Hello there"
    assert (taken(events).provider_slug, taken(events).model) == ("other", "vendor/echo")
    assert taken(events).fallback
    chats = Attempt.objects.exclude(purpose=Purpose.PROBE).order_by("pk")
    kept = [(a.provider_id, a.outcome) async for a in chats][-2:]
    assert kept == [(acme.pk, "auth"), (other.pk, "ok")]


async def test_a_503_says_why_every_route_is_in_a_cooldown_and_until_when(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """One request a second still goes out; the others are recorded without a route."""
    provider = await behind_proxy(make_provider, fake.url, fake.url)
    await Route.objects.filter(provider=provider).aupdate(
        state=State.OPEN, retry_at="2099-01-01T00:00:00Z", last_kind="network"
    )
    events: list[StreamEvent] = []
    try:
        async with aclosing(router.stream(call(provider), ASKED)) as passed:
            events = [event async for event in passed]
        with pytest.raises(PlanFailed) as caught:
            async with aclosing(router.stream(call(provider), ASKED)) as refused:
                [event async for event in refused]
    finally:
        await route_table.close()
        await http.close()
    assert text(events) == "Hello there"
    assert "every route is in a cooldown" in taken(events).reason
    assert caught.value.code == "routes_resting"
    assert caught.value.retry_after
    last = await Attempt.objects.order_by("-pk").afirst()
    assert last is not None
    assert (last.method, last.route_id, last.outcome) == ("", None, "overloaded")


async def test_one_bad_answer_of_an_only_route_is_asked_again(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """Once, a moment later; the reader sees one answer."""
    provider = await behind_proxy(make_provider, fake.url, fake.url, fallback_enabled=False)
    fake.script("500", "echo")
    events = await answered(call(provider))
    assert text(events) == "Hello there"
    assert taken(events).attempts == 2
    outcomes = [(a.position, a.outcome) async for a in Attempt.objects.order_by("pk")]
    assert outcomes == [(1, "provider"), (2, "ok")]


async def test_calls_at_once_with_one_key_are_limited(
    make_provider: MakeProvider, fake: fakes.Upstream
) -> None:
    """The others wait for their turn instead of drawing a 429."""
    provider = await behind_proxy(make_provider, fake.url, fake.url, concurrency=1)

    async def one() -> list[StreamEvent]:
        async with aclosing(router.stream(call(provider, "slow-3-20"), ASKED)) as events:
            return [event async for event in events]

    try:
        await asyncio.gather(*(one() for _ in range(4)))
    finally:
        await route_table.close()
        await http.close()
    starts = sorted(record.started for record in fake.requests)
    assert all(later - earlier >= 0.04 for earlier, later in pairwise(starts))


async def test_a_trial_that_found_no_place_is_free_for_the_next_caller(
    make_provider: MakeProvider, fake: fakes.Upstream, settings: Settings
) -> None:
    """It never went out, so it proved nothing; its lease must not keep the others out."""
    settings.ROUTING_RULES = replace(RULES, queue_patience=0.05)
    provider = await behind_proxy(
        make_provider, fake.url, fake.url, concurrency=1, fallback_enabled=False
    )
    direct = Route.objects.filter(provider=provider, method="direct")
    async with aclosing(router.stream(call(provider, "slow-50-40"), ASKED)) as busy:
        await anext(busy)
        await direct.aupdate(state=State.OPEN, retry_at="2026-01-01T00:00:00Z", epoch=7)
        known = route_table.current()
        known._routes.refresh_soon()
        await until(lambda: known.routes(provider.pk)[0].breaker.epoch == 7)
        with pytest.raises(PlanFailed) as caught:
            async with aclosing(router.stream(call(provider), ASKED)) as events:
                await anext(events)
    await route_table.close()
    await http.close()
    assert caught.value.code == "too_many_at_once"
    route = await direct.aget()
    assert (route.state, route.retry_at is not None) == (State.OPEN, True)
    assert route.retry_at is not None
    assert route.retry_at <= timezone.now()
