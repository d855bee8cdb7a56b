"""Figures as the pages say them: how long ago, how long, how many, how much."""

import math
from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone

from providers.diagnosis import wording

register = template.Library()


@register.filter
def ago(moment: datetime | None) -> str:
    """`12 s ago`; `never` for a moment that has not come."""
    return wording.format_age(timezone.now(), moment)


@register.filter
def seconds_until(moment: datetime) -> int:
    """Whole seconds from now, rounded up; 0 for a moment that has passed."""
    return max(0, math.ceil((moment - timezone.now()).total_seconds()))


@register.filter
def lasting(milliseconds: float | None) -> str:
    """`610 ms`, `1.2 s`; a dash where it is not known."""
    return wording.format_duration(milliseconds)


@register.filter
def tokens(count: int | None) -> str:
    """`200k`, `1M`; empty where it is not known."""
    return wording.format_tokens(count)


@register.filter
def dollars(amount: Decimal | None) -> str:
    """`$0.0021`; empty where it is not known."""
    return wording.format_usd(amount)
