"""What the calls of client keys used, in memory: all tokens, and the costs beyond the rows."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from providers.domain.types import AttemptRecord, Method, Usage
from providers.models import Purpose
from providers.router.key_usage import KeyUsage
from providers.router.results import Result


def result(key: int | None, cost: str, day: int = 1, outcome: str = "ok") -> Result:
    attempt = AttemptRecord(
        route_id=1,
        method=Method.DIRECT,
        endpoint="",
        outcome=outcome,
        reason="",
        started_at=datetime(2026, 12, day, 23, 59, tzinfo=UTC),
        duration_ms=5,
        usage=Usage(input_tokens=10, output_tokens=5),
        cost=Decimal(cost),
    )
    return Result(
        provider_id=1,
        model_id="m",
        attempt=attempt,
        purpose=Purpose.API,
        request_id=uuid4(),
        outcome=None,
        client_key=key,
    )


def test_every_call_of_a_key_counts_on_the_day_it_started() -> None:
    """Failed ones too; calls without a key belong to nobody."""
    usage = KeyUsage()
    for each in (result(7, "1"), result(7, "2", outcome="network"), result(7, "4", day=2)):
        usage.add(each)
    usage.add(result(None, "8"))
    assert usage.tokens(7) == 45
    assert usage.costs(7) == {date(2026, 12, 1): 3, date(2026, 12, 2): 4}
    assert usage.costs(8) == {}


def test_after_a_reading_only_unwritten_costs_are_left() -> None:
    """The rows hold the others; tokens are counted on."""
    usage, written, unwritten = KeyUsage(), result(7, "1"), result(7, "2")
    usage.add(written)
    usage.add(unwritten)
    usage.restart_costs([unwritten])
    assert usage.costs(7) == {date(2026, 12, 1): 2}
    usage.add(result(7, "4"))
    assert usage.costs(7) == {date(2026, 12, 1): 6}
    assert usage.tokens(7) == 45
