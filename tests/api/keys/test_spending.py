"""Budgets at the door, over a running web process: what counts, who is refused, and how."""

from datetime import UTC, datetime
from decimal import Decimal

import anthropic
import openai
import pytest
from django.db.models import Sum

from api.models import ClientKey
from providers.infra import replicas
from providers.models import Attempt, KeySpend, LanguageModel, Provider
from tests import fakes
from tests.api.conftest import Door
from tests.api.keys.conftest import HELLO, post
from tests.e2e.site import Site, wait_for_writes
from tests.polling import wait_until


@pytest.fixture
def priced(door: Door, acme: Provider) -> Provider:
    """A provider whose every token costs a cent, from the moment when the process knows."""
    LanguageModel.objects.update(input_price=10_000, output_price=10_000)
    replicas.publish("providers")
    wait_until(lambda: call(door) > 0)
    return acme


def call(door: Door) -> Decimal:
    """A request that succeeds; what the key has cost by then, once it is written."""
    count = Attempt.objects.count()
    door.client().chat.completions.create(**HELLO)  # type: ignore[call-overload]
    wait_until(lambda: Attempt.objects.count() > count)
    return spent(door)


def spent(door: Door) -> Decimal:
    rows = KeySpend.objects.filter(client_key=door.key.pk)
    return rows.aggregate(Sum("cost", default=0))["cost__sum"] or Decimal()


def set_budget(door: Door, amount: Decimal, **fields: str) -> None:
    ClientKey.objects.filter(pk=door.key.pk).update(budget=amount, **fields)
    replicas.publish("keys")


def is_refused(url: str, secret: str) -> bool:
    return post(url, secret).status_code == 429


def test_failures_and_fallbacks_count(door: Door, priced: Provider, fake: fakes.Upstream) -> None:
    """An answer that broke off, and one of the second route: each attempt once."""
    fake.script("cut-40")
    stream = door.client().chat.completions.create(**HELLO, stream=True)  # type: ignore[call-overload]
    with pytest.raises(openai.APIError):
        list(stream)
    fake.script("500", "echo")
    door.client().chat.completions.create(**HELLO)  # type: ignore[call-overload]
    wait_until(lambda: Attempt.objects.filter(position__gt=1, outcome="ok", cost__gt=0).exists())
    attempts = Attempt.objects.filter(client_key=door.key.pk)
    assert attempts.exclude(outcome="ok").filter(cost__gt=0).exists()
    assert spent(door) == attempts.aggregate(Sum("cost"))["cost__sum"]


def test_a_spent_budget_is_429_until_it_renews(door: Door, priced: Provider) -> None:
    """At every door, in its own format, before any provider is called; lists stay readable."""
    set_budget(door, spent(door), budget_period="day")
    wait_until(lambda: is_refused(door.site.url, door.secret))
    count = Attempt.objects.count()
    with pytest.raises(openai.RateLimitError) as refused:
        door.client().chat.completions.create(**HELLO)  # type: ignore[call-overload]
    assert refused.value.code == "budget_exceeded"
    now = datetime.now(UTC)
    until_midnight = 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)
    assert abs(int(refused.value.response.headers["retry-after"]) - until_midnight) % 86_400 <= 5
    client = anthropic.Anthropic(base_url=door.site.url, api_key=door.secret, max_retries=0)
    with pytest.raises(anthropic.RateLimitError) as also:
        client.messages.create(max_tokens=9, **HELLO)  # type: ignore[call-overload]
    assert also.value.type == "rate_limit_error"
    assert Attempt.objects.count() == count
    assert door.client().models.list().data


def test_a_process_counts_its_own_calls_at_once(door: Door, priced: Provider) -> None:
    """The call that spends the budget is the last one, with no moment in between."""
    set_budget(door, Decimal(0))
    wait_until(lambda: is_refused(door.site.url, door.secret))
    wait_for_writes()
    set_budget(door, spent(door) + Decimal("0.0001"))
    wait_until(lambda: not is_refused(door.site.url, door.secret))
    assert is_refused(door.site.url, door.secret)


def test_a_budget_that_only_warns_refuses_nothing(door: Door, priced: Provider) -> None:
    """Whatever was spent."""
    set_budget(door, Decimal(0))
    wait_until(lambda: is_refused(door.site.url, door.secret))
    set_budget(door, Decimal(0), budget_action="warn")
    wait_until(lambda: not is_refused(door.site.url, door.secret))


def test_another_process_sees_the_costs(door: Door, priced: Provider, other_web: Site) -> None:
    """Those of calls that it did not serve."""
    set_budget(door, spent(door) + Decimal("0.01"))
    wait_until(lambda: is_refused(door.site.url, door.secret))
    wait_until(lambda: is_refused(other_web.url, door.secret))
