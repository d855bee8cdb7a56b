"""Bulk statements: many rows in one, each by its own values."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone

from providers.models import (
    Attempt,
    KeySpend,
    Provider,
    Purpose,
    Route,
    add_key_costs,
    append_once,
    rewrite,
)
from providers.models.bulk import Row

type MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db


def attempt_row(provider: Provider) -> Row:
    return {
        "uuid": uuid4(),
        "request_id": uuid4(),
        "position": 1,
        "provider_id": provider.pk,
        "method": "direct",
        "endpoint": "",
        "model_id": "m",
        "purpose": Purpose.CHAT.value,
        "outcome": "ok",
        "error_code": "",
        "error_message": 'it\'s "here" %s',
        "reason": "",
        "duration_ms": 5,
        "usage_estimated": False,
        "cost": "0.00012500",
        "started_at": timezone.now(),
    }


def test_rewrites_rows_with_their_own_values_and_types(make_provider: MakeProvider) -> None:
    """The worked example of the module; columns that are not named stay as they are."""
    first, second = make_provider().routes.order_by("pk")
    opened_at = timezone.now()
    rewrite(
        Route,
        [
            {"id": first.pk, "state": "open", "epoch": 3, "opened_at": opened_at},
            {"id": second.pk, "state": "closed", "epoch": 8, "opened_at": None},
        ],
    )
    columns = ("state", "epoch", "opened_at", "method")
    assert list(Route.objects.order_by("pk").values_list(*columns)) == [
        ("open", 3, opened_at, first.method),
        ("closed", 8, None, second.method),
    ]


def test_appends_a_row_once(make_provider: MakeProvider) -> None:
    """A writer that cannot know whether its commit succeeded writes again."""
    provider = make_provider()
    one, other = attempt_row(provider), attempt_row(provider)
    assert append_once(Attempt, [one]) == {one["uuid"]}
    assert append_once(Attempt, [one, other]) == {other["uuid"]}
    assert set(Attempt.objects.values_list("uuid", flat=True)) == {one["uuid"], other["uuid"]}
    stored = Attempt.objects.get(uuid=one["uuid"])
    assert (stored.error_message, str(stored.cost)) == ('it\'s "here" %s', "0.00012500")


def test_costs_are_added_to_the_day_of_their_key() -> None:
    """To the last digit, whether the day has a row or not."""
    first, second = date(2026, 12, 31), date(2027, 1, 1)
    add_key_costs({7: {first: Decimal("0.00000001")}})
    add_key_costs({7: {second: Decimal(2), first: Decimal("1.5")}, 8: {first: Decimal(3)}})
    assert list(KeySpend.objects.order_by("pk").values_list("client_key", "day", "cost")) == [
        (7, first, Decimal("1.50000001")),
        (7, second, Decimal(2)),
        (8, first, Decimal(3)),
    ]


def test_writes_nothing_without_rows() -> None:
    """An empty batch is no statement."""
    add_key_costs({})
    rewrite(Route, [])
    assert append_once(Attempt, []) == set()
