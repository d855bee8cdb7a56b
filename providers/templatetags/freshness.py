"""Filters for ages, durations, token counts and prices."""

import math
from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone

from providers.diagnosis import wording

register = template.Library()


@register.filter
def ago(moment: datetime | None) -> str:
    """`12 s ago`; `never` for None."""
    return wording.format_age(timezone.now(), moment)


@register.filter
def seconds_until(moment: datetime) -> int:
    """Whole seconds from now, rounded up; 0 if the moment has passed."""
    return max(0, math.ceil((moment - timezone.now()).total_seconds()))


@register.filter
def lasting(milliseconds: float | None) -> str:
    """`610 ms`, `1.2 s`; a dash if unknown."""
    return wording.format_duration(milliseconds)


@register.filter
def tokens(count: int | None) -> str:
    """`200k`, `1M`; empty if unknown."""
    return wording.format_tokens(count)


@register.filter
def dollars(amount: Decimal | None) -> str:
    """`$0.0021`; empty if unknown."""
    return wording.format_usd(amount)
