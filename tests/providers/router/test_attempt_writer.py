"""Where a call goes, and with which key; and what it leaves in the rows."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from providers.domain.errors import ErrorKind
from providers.domain.types import AttemptRecord, Kind, Method, Usage
from providers.models import Attempt, KeySpend, Provider, Purpose
from providers.models import connection as connections
from providers.router import attempt_writer
from providers.router.results import Result, build_outcome

MakeProvider = Callable[..., Provider]

OURS, THEIRS = "http://litellm.example:4000", "http://other.example:4000"


@pytest.mark.parametrize(
    ("endpoint", "own_key", "where", "key"),
    [
        ("", "", OURS, "sk-instance"),
        (OURS, "", OURS, "sk-instance"),
        (THEIRS, "", THEIRS, ""),
        (THEIRS, "sk-theirs", THEIRS, "sk-theirs"),
    ],
)
def test_the_instances_key_goes_to_the_instances_endpoint_alone(
    settings: Settings, endpoint: str, own_key: str, where: str, key: str
) -> None:
    """An endpoint that somebody typed gets the key that was typed with it, or none."""
    settings.LITELLM_ENDPOINT, settings.LITELLM_API_KEY = OURS, "sk-instance"
    reached = connections.Connection(
        preset="custom",
        kind=Kind.OPENAI,
        base_url="http://provider.example/v1",
        gateway_endpoint=endpoint,
        gateway_api_key=own_key,
    )
    target = connections.target(reached, Method.GATEWAY, "m")
    assert (target.base_url, target.api_key) == (where, key)


def test_routes_that_are_as_they_should_be_cost_two_queries(
    make_provider: Callable[..., Provider], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """They are asked for before every call; only a changed endpoint writes."""
    provider = make_provider()
    with django_assert_num_queries(2):
        assert {route.method for route in provider.ensure_routes()} == {"direct", "gateway"}
    provider.gateway_endpoint = THEIRS
    assert {route.endpoint for route in provider.ensure_routes()} == {"", THEIRS}
    assert provider.routes.count() == 2


def test_many_results_take_as_many_statements_as_few(make_provider: MakeProvider) -> None:
    """Rows of many routes and providers move together, each by its own results."""
    counts = []
    for many in (2, 12):
        made = [make_provider(f"P{many}-{number}") for number in range(many)]
        kinds = [ErrorKind.NETWORK if number % 2 else None for number in range(many)]
        results = [make_result(*pair) for pair in zip(made, kinds, strict=True)]
        with CaptureQueriesContext(connection) as captured:
            attempt_writer.write_results(results)
        counts.append(len(captured))
        for provider, kind in zip(made, kinds, strict=True):
            provider.refresh_from_db()
            route = provider.routes.get(method="direct")
            state = (provider.health_status, route.last_outcome, route.last_error)
            failed = ("degraded", "network", "network error")
            assert state == (failed if kind else ("healthy", "ok", ""))
    assert counts[0] == counts[1]


def test_results_written_again_are_written_once(make_provider: MakeProvider) -> None:
    """A connection that breaks at commit leaves the writer in doubt, and it tries again."""
    provider = make_provider()
    first, second = (
        make_result(provider, ErrorKind.NETWORK),
        make_result(provider, ErrorKind.NETWORK),
    )
    attempt_writer.write_results([first])
    attempt_writer.write_results([first, second])
    attempt_writer.write_results([first, second])
    assert set(Attempt.objects.values_list("uuid", flat=True)) == {first.uuid, second.uuid}
    provider.refresh_from_db()
    assert provider.consecutive_failures == 2
    assert provider.routes.get(method="direct").consecutive_failures == 2


def test_the_cost_of_a_key_counts_once(make_provider: MakeProvider) -> None:
    """Also that of a failure, and where a result is written again; other calls have no key."""
    provider = make_provider()
    results = [make_result(provider, kind) for kind in (None, ErrorKind.NETWORK, None)]
    paid = [
        replace(each, attempt=replace(each.attempt, cost=Decimal("0.25")), client_key=key)
        for each, key in zip(results, (7, 7, None), strict=True)
    ]
    attempt_writer.write_results(paid[:1])
    attempt_writer.write_results(paid)
    spend = KeySpend.objects.get()
    assert (spend.client_key, spend.cost) == (7, Decimal("0.5"))
    assert spend.day == results[0].attempt.started_at.date()


def test_a_changed_copy_of_a_result_is_another_attempt(make_provider: MakeProvider) -> None:
    """As of the further chats of a model's test."""
    result = make_result(make_provider(), None)
    attempt_writer.write_results([result, replace(result, request_id=uuid4())])
    assert Attempt.objects.count() == 2


def make_result(provider: Provider, kind: ErrorKind | None) -> Result:
    state = provider.routes.get(method="direct").as_state()
    attempt = AttemptRecord(
        route_id=state.route_id,
        method=Method.DIRECT,
        endpoint="",
        outcome=kind or "ok",
        reason="direct: preferred",
        started_at=timezone.now(),
        duration_ms=5,
        error_message='it\'s "not"\0 there' if kind else "",
    )
    return Result(
        provider_id=provider.pk,
        model_id="m",
        attempt=attempt,
        purpose=Purpose.CHAT,
        request_id=uuid4(),
        outcome=build_outcome(attempt, state, "m", Purpose.CHAT),
    )


def test_the_parts_of_a_calls_tokens_are_kept(make_provider: MakeProvider) -> None:
    """What was cached, written to a cache, and spent on reasoning."""
    provider = make_provider()
    used = Usage(
        input_tokens=1000,
        output_tokens=100,
        cached_tokens=900,
        cache_write_tokens=90,
        reasoning_tokens=40,
    )
    attempt = AttemptRecord(
        route_id=0,
        method=None,
        endpoint="",
        outcome="ok",
        reason="",
        started_at=timezone.now(),
        duration_ms=1,
        usage=used,
    )
    result = Result(
        provider_id=provider.pk,
        model_id="m",
        attempt=attempt,
        purpose=Purpose.API,
        request_id=uuid4(),
        outcome=None,
    )
    attempt_writer.write_results([result])
    row = Attempt.objects.get()
    assert (row.cached_tokens, row.cache_write_tokens, row.reasoning_tokens) == (900, 90, 40)
