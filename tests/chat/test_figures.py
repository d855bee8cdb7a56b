"""Figures as people read them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from chat.templatetags.figures import age, dollars, seconds


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, ""), (7, "7 ms"), (1240, "1.2 s"), (61_000, "61.0 s")]
)
def test_seconds(milliseconds: int | None, text: str) -> None:
    """One decimal; milliseconds where a second's tenth says nothing."""
    assert seconds(milliseconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, ""), (Decimal(0), "$0"), (Decimal("0.0021"), "$0.0021"), (Decimal("1.239"), "$1.24")],
)
def test_dollars(amount: Decimal | None, text: str) -> None:
    """Fractions of a cent are shown, not rounded away."""
    assert dollars(amount) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        ({"seconds": 5}, "now"),
        ({"minutes": 3}, "3 min"),
        ({"hours": 5}, "5 h"),
        ({"days": 9}, "9 d"),
    ],
)
def test_age(ago: dict[str, int], text: str) -> None:
    """As short as it can be said."""
    assert age(timezone.now() - timedelta(**ago)) == text
