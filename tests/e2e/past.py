"""Requests that were made before, as rows: good, stopped, failed, rescued, and not sent at all."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.utils import timezone

from providers.models import Attempt, Provider

MODELS = ("glm-4.7", "glm-4.5-air", "a-model/with-quite-a-long-name-indeed")
OUTCOMES = ("ok", "ok", "stopped", "ok", "rate_limit", "ok", "auth", "ok", "ok")
LATE = "The provider did not begin to answer within 10 s."
ALL_COOLING_DOWN = (
    "All routes to this provider are temporarily unavailable: direct failed 5 times, last network"
    " error 40 s ago; direct"
    " is tried again at 12:01:30."
)


def requests(provider: Provider, other: Provider) -> tuple[UUID, UUID]:
    """Thirty of them; the ids of one that fell back twice and of one that no route was free for."""
    rows = [_plain(provider, number) for number in range(28)]
    rescued, resting = _rescued(provider, other), _resting(provider)
    Attempt.objects.bulk_create([*rows, *rescued, resting])
    return rescued[0].request_id, resting.request_id


def _attempt(provider: Provider, ago: float, **fields: object) -> Attempt:
    usual: dict[str, object] = {
        "request_id": uuid4(),
        "method": "direct",
        "model_id": MODELS[0],
        "purpose": "api",
        "outcome": "ok",
        "reason": "direct: preferred",
        "started_at": timezone.now() - timedelta(seconds=ago),
    }
    return Attempt(provider=provider, **(usual | fields))


def _answered() -> dict[str, object]:
    figures = {"ttft_ms": 640, "duration_ms": 4210, "input_tokens": 12_840, "output_tokens": 911}
    return figures | {"cost": Decimal("0.0187")}


def _plain(provider: Provider, number: int) -> Attempt:
    return _attempt(
        provider,
        300 + 97 * number,
        **_answered(),
        model_id=MODELS[number % 3],
        outcome=OUTCOMES[number % 9],
        purpose=("api", "chat")[number % 2],
        usage_estimated=number % 5 == 0,
    )


def _rescued(provider: Provider, other: Provider) -> list[Attempt]:
    whole = {"request_id": uuid4()}
    late = {"outcome": "timeout", "error_code": "first_token", "error_message": LATE}
    limited = {"outcome": "rate_limit", "status": 429, "error_code": "1302"}
    said = {"error_message": "Rate limit reached for requests", "method": "gateway"}
    reason = f"gateway: direct failed ({LATE.rstrip('.')})"
    return [
        _attempt(provider, 290, **whole, **late, duration_ms=10_004),
        _attempt(
            provider, 279.9, **whole, **limited, **said, duration_ms=320, position=2, reason=reason
        ),
        _attempt(
            other,
            279,
            **whole,
            **_answered(),
            position=3,
            reason="direct: gateway failed (Rate limit reached for requests)",
        ),
    ]


def _resting(provider: Provider) -> Attempt:
    refused = {"outcome": "overloaded", "error_code": "routes_resting", "method": ""}
    return _attempt(
        provider,
        280,
        **refused,
        reason=ALL_COOLING_DOWN,
        error_message=ALL_COOLING_DOWN,
        duration_ms=1,
    )
